"use strict";
// The page of the leaderboards. Every text goes in as text and never as HTML: names of methods,
// datasets and classes come from plugins. Records are read when the first one is asked for.

const page = { board: null, records: null, baseline: null, sort: null, filters: {}, view: null };
const $ = (id) => document.getElementById(id);

/** An element: attributes (classes as `class`), then children, which are nodes or texts. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** A number as the tables beside the page print it: a tie goes to the even digit, as in Python. */
function fixed(value, digits = 1) {
  const halves = value * 2 * 10 ** digits;
  if (Math.abs(halves - Math.round(halves)) > 1e-6 || Math.round(halves) % 2 === 0) return value.toFixed(digits);
  const exact = Math.abs(value).toFixed(60);
  const end = exact.indexOf(".") + 1 + digits;
  const tie = /^50*$/.test(exact.slice(end)) && Number(exact[end - 1]) % 2 === 0;
  return tie ? (value < 0 ? "-" : "") + exact.slice(0, end) : value.toFixed(digits);
}
const signed = (value, digits = 1) => {
  const text = fixed(value, digits);
  return Number(text) === 0 ? fixed(0, digits) : value > 0 ? `+${text}` : text.replace("-", "−");
};
const distinct = (values) => [...new Set(values)];
const read = (what) => JSON.parse($(what).textContent);

// ---------------------------------------------------------------- which leaderboard

function open() {
  const asked = decodeURIComponent(location.hash.slice(1));
  const names = all.map((board) => board.name);
  const name = names.includes(asked) ? asked : page.board ? page.board.name : names[0];
  if (!name || (page.board && page.board.name === name)) return; // also a jump within the page
  Object.assign(page, { board: read(`board-${name}`), records: null, baseline: null, sort: null, filters: {} });
  const board = page.board;
  document.title = `${board.title} · susx-bench`;
  for (const link of $("suites").children) {
    if (link.dataset.name === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  $("title").textContent = board.title;
  $("text").replaceChildren(...prose(board.text));
  $("facts").textContent = board.facts;
  $("notes").replaceChildren(...board.notes.map((note) => make("li", {}, note)));
  controls();
  show();
  pictures();
}

/** Paragraphs; what stands between backticks is code. */
function prose(text) {
  return text.split(/\n\s*\n/).filter((part) => part.trim()).map((part) => {
    const pieces = part.trim().split("`");
    return make("p", {}, ...pieces.map((piece, i) => (i % 2 ? make("code", {}, piece) : piece)));
  });
}

// ---------------------------------------------------------------- filters

const FACETS = [
  ["setting", "Setting", "columns"],
  ["encoder", "Encoder", "columns"],
  ["support", "Support", "columns"],
  ["prompts", "Prompts", "columns"],
  ["shots", "Shots", "columns"],
  ["dataset", "Dataset", "columns"],
  ["tuning", "Tuned on", "rows"],
  ["section", "Compared within", "rows"],
];

function controls() {
  const { board } = page;
  const search = make("input", { type: "search", name: "words", autocomplete: "off", placeholder: "method, dataset, …" });
  const parts = [make("label", {}, "Find", search)];
  for (const [key, label, of] of FACETS) {
    const values = distinct(board[of].map((item) => item[key])).filter((v) => v !== "–" && v !== "none" && v !== 0);
    if (values.length < 2) continue;
    if (key === "shots") values.sort((a, b) => a - b);
    const options = values.map((value) => make("option", { value }, String(value)));
    parts.push(make("label", {}, label, make("select", { name: key }, make("option", { value: "" }, "all"), ...options)));
  }
  const rows = board.rows.map((row, i) => make("option", { value: i }, rowName(row)));
  parts.push(make("label", {}, "Differences from",
    make("select", { name: "baseline" }, make("option", { value: "" }, "none"), ...rows)));
  parts.push(make("button", { type: "reset" }, "Reset"));
  $("controls").replaceChildren(...parts);
}

function rowName(row) {
  return row.label + (row.tunable ? ` · ${row.tuning}` : "") + (row.marks ? ` ${row.marks}` : "");
}

function filter() {
  const given = new FormData($("controls"));
  page.filters = Object.fromEntries(given);
  page.baseline = given.get("baseline") ? Number(given.get("baseline")) : null;
  show();
}

/** Rows and columns to show: those with a cell that every filter and every word lets through. */
function chosen() {
  const { board, filters } = page;
  const passes = (item, of) => FACETS.every(([key, , where]) =>
    where !== of || !filters[key] || String(item[key]) === filters[key]
    // What has nothing to choose or to look at stands beside every tuning, support and shots.
    || item[key] === "–" || item[key] === "none" || (key === "shots" && item[key] === 0));
  const words = (filters.words || "").toLowerCase().split(/\s+/).filter(Boolean);
  const inRow = board.rows.map((row) => `${rowName(row)} ${row.section}`.toLowerCase());
  const inColumn = board.columns.map((c) => `${c.label} ${c.dataset} ${c.encoder} ${c.setting} ${c.support}`.toLowerCase());
  let rows = board.rows.map((_, i) => i).filter((i) => passes(board.rows[i], "rows"));
  let columns = board.columns.map((_, i) => i).filter((i) => passes(board.columns[i], "columns"));
  if (words.length) {
    const hits = (texts, i) => words.map((word) => texts[i].includes(word));
    const rowHits = new Map(rows.map((i) => [i, hits(inRow, i)]));
    const columnHits = new Map(columns.map((i) => [i, hits(inColumn, i)]));
    const match = (r, c) => words.every((_, w) => rowHits.get(r)[w] || columnHits.get(c)[w]);
    const all = [rows, columns];
    rows = all[0].filter((r) => all[1].some((c) => match(r, c)));
    columns = all[1].filter((c) => all[0].some((r) => match(r, c)));
  }
  return { rows, columns };
}

// ---------------------------------------------------------------- the table

/** What the columns of the table are: names first, then for each group its mean and its numbers. */
function layout(columns) {
  const { board } = page;
  const plan = [{ kind: "name", head: "method" }, { kind: "tuning", head: "tuned on" }];
  if (board.rows.some((row) => row.rank !== null)) plan.push({ kind: "rank", head: "average rank" });
  const spans = [];
  for (const [place, group] of board.groups.entries()) {
    const here = group.columns.filter((c) => columns.includes(c));
    if (!here.length) continue;
    const start = plan.length;
    if (here.length > 1) {
      const average = here.length === group.columns.length ? place : undefined;
      plan.push({ kind: "mean", head: `mean of ${here.length}`, columns: here, average });
    }
    for (const c of here) {
      const column = board.columns[c];
      const label = several() ? column.dataset : column.label;
      plan.push({ kind: "cell", head: label + column.marks, column: c });
    }
    spans.push({ label: group.label, width: plan.length - start });
  }
  return { plan, spans };
}

/** Whether columns stand below what they have in common: with one dataset each they do not. */
function several() {
  const { groups, columns } = page.board;
  const once = (group) => distinct(group.columns.map((c) => columns[c].dataset)).length === group.columns.length;
  return groups.every((group) => group.label && once(group)) && groups.some((group) => group.columns.length > 1)
    && distinct(groups.map((group) => group.label)).length === groups.length;
}

/** The number that stands in a row of the table, or null: what is sorted by. */
function value(row, item) {
  const { board, baseline } = page;
  if (item.kind === "rank") return board.rows[row].rank;
  const of = (r) => {
    if (item.average !== undefined) return board.rows[r].averages[item.average];
    const means = (item.columns || [item.column]).map((c) => board.rows[r].cells[c]);
    return means.includes(null) ? null : means.reduce((sum, cell) => sum + cell.mean, 0) / means.length;
  };
  const mine = of(row);
  if (baseline === null || mine === null) return mine;
  const theirs = of(baseline);
  return theirs === null ? null : mine - theirs;
}

function show() {
  const { board } = page;
  const { rows, columns } = chosen();
  const { plan, spans } = layout(columns);
  if (page.sort && !plan.some((item) => same(item, page.sort.item))) page.sort = null;
  const table = make("table", { role: "grid", "aria-label": board.title, "aria-describedby": "status" });
  const head = make("thead");
  const grouped = several();
  if (grouped) {
    const before = plan.length - spans.reduce((sum, span) => sum + span.width, 0);
    const cells = spans.map((span) => make("th", { colspan: span.width, scope: "colgroup" },
      make("span", { class: "group" }, span.label)));
    head.append(make("tr", { class: "groups" }, make("th", { class: "name" }),
      before > 1 ? make("th", { colspan: before - 1 }) : "", ...cells));
  }
  const titles = plan.map((item, i) => make("th", {
    scope: "col", class: `sortable ${item.kind}`, tabindex: -1, "data-sort": i, "aria-sort": "none",
  }, item.head));
  head.append(make("tr", {}, ...titles));
  const body = make("tbody");
  const found = new Map(rows.map((r) => [r, tableRow(r, plan)]));
  const parts = distinct(rows.map((r) => board.rows[r].section));
  const heads = new Map(parts.map((part) => [part, make("tr", { class: "section" },
    make("th", { colspan: plan.length, scope: "rowgroup" }, make("span", {}, part)))]));
  table.append(head, body);
  page.view = { plan, rows, body, titles, found, heads };
  arrange();
  $("table").replaceChildren(rows.length && columns.length ? table : make("p", { class: "hint" }, "Nothing fits these filters."));
  titles[0].tabIndex = 0;
  const compared = page.baseline === null ? "" : `; points more than ${rowName(board.rows[page.baseline])}`;
  $("status").textContent = `${rows.length} of ${board.rows.length} rows, ${columns.length} of ${board.columns.length} columns, from ${board.records} ${board.records === 1 ? "record" : "records"}${compared}`;
}

function same(one, other) {
  return one.kind === other.kind && one.head === other.head && one.column === other.column
    && String(one.columns) === String(other.columns);
}

function tableRow(r, plan) {
  const { board, baseline } = page;
  const row = board.rows[r];
  const line = document.createElement("tr");
  if (r === baseline) line.className = "base";
  for (const item of plan) {
    if (item.kind === "name") {
      line.append(make("th", { scope: "row", class: "name", tabindex: -1, title: row.label }, row.label,
        row.marks.replace(/[†‡¶]/g, "") ? ` ${row.marks.replace(/[†‡¶]/g, "")}` : ""));
    } else if (item.kind === "tuning") {
      const daggers = row.marks.replace(/[^†‡¶]/g, "");
      line.append(make("td", { class: "tuning", tabindex: -1 }, row.tuning + (daggers ? ` ${daggers}` : "")));
    } else if (item.kind === "rank") {
      line.append(make("td", { tabindex: -1 }, row.rank === null ? "" : fixed(row.rank, 2)));
    } else line.append(numberCell(r, item));
  }
  return line;
}

function numberCell(r, item) {
  const number = value(r, item);
  const element = make("td", { class: item.kind, tabindex: -1 });
  const cell = item.kind === "cell" ? page.board.rows[r].cells[item.column] : null;
  if (item.kind === "cell" && cell) {
    element.dataset.row = r;
    element.dataset.column = item.column;
    element.setAttribute("aria-haspopup", "dialog");
  } else if (item.kind === "cell") element.className = "blank";
  if (number === null) return element;
  if (page.baseline !== null) {
    element.append(signed(number));
    if (Math.abs(number) >= 0.05) {
      element.classList.add(number > 0 ? "up" : "down");
      element.style.setProperty("--much", Math.min(0.5, 0.06 + Math.abs(number) / 25).toFixed(2));
    }
    return element;
  }
  element.append(cell ? make("span", { class: ["", "first", "second"][cell.place || 0] || null }, fixed(number)) : fixed(number));
  if (cell) {
    const rest = cell.spread !== undefined ? ` ±${fixed(cell.spread)}` : ` [${fixed(cell.low)}, ${fixed(cell.high)}]`;
    const sure = cell.pHolm !== undefined && cell.pHolm < 0.05 ? (cell.gain > 0 ? " ▲" : " ▼") : "";
    element.append(make("small", {}, rest + (cell.marks ? ` ${cell.marks}` : "") + sure));
  }
  return element;
}

/** Put the rows of each section into the order asked for; blanks stand last whichever way. What has
 * not seen the same is not sorted into one list. */
function arrange() {
  const { plan, rows, body, titles, found, heads } = page.view;
  const { board, sort } = page;
  let order = rows;
  if (sort) {
    const item = plan.find((other) => same(other, sort.item));
    const text = item.kind === "name" || item.kind === "tuning";
    const keys = new Map(rows.map((r) => [r, text
      ? (item.kind === "name" ? board.rows[r].label : board.rows[r].tuning) : value(r, item)]));
    const way = sort.down ? -1 : 1;
    order = [...rows].sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return way * (text ? x.localeCompare(y, "en") : x - y) || a - b;
    });
  }
  titles.forEach((title, i) => {
    const here = sort && same(plan[i], sort.item);
    title.setAttribute("aria-sort", here ? (sort.down ? "descending" : "ascending") : "none");
  });
  const whole = board.rows.every((row) => row.section === board.rows[0].section);
  for (const [part, line] of heads) {
    if (!whole) body.append(line);
    body.append(...order.filter((r) => board.rows[r].section === part).map((r) => found.get(r)));
  }
}

function sortBy(i) {
  const item = page.view.plan[i];
  const best = !["name", "tuning", "rank"].includes(item.kind); // the best first: accuracies fall
  const now = page.sort && same(page.sort.item, item) ? page.sort : null;
  if (!now) page.sort = { item, down: best };
  else page.sort = now.down === best ? { item, down: !best } : null;
  arrange();
}

// ---------------------------------------------------------------- mouse and keyboard in the table

function act(target) {
  const cell = target.closest("[data-sort], [data-row]");
  if (!cell) return false;
  if (cell.dataset.sort) sortBy(Number(cell.dataset.sort));
  else details(Number(cell.dataset.row), Number(cell.dataset.column), cell);
  return true;
}

function move(event) {
  const cell = event.target.closest("td, th[tabindex]");
  if (!cell) return;
  if (event.key === "Enter" || event.key === " ") {
    if (act(cell)) event.preventDefault();
    return;
  }
  const lines = [page.view.titles[0].parentElement, ...page.view.body.querySelectorAll("tr:not(.section)")];
  const line = lines.indexOf(cell.parentElement);
  const place = [...cell.parentElement.children].indexOf(cell);
  const last = cell.parentElement.children.length - 1;
  const to = {
    ArrowUp: [line - 1, place], ArrowDown: [line + 1, place],
    ArrowLeft: [line, place - 1], ArrowRight: [line, place + 1],
    Home: [event.ctrlKey ? 0 : line, 0], End: [event.ctrlKey ? lines.length - 1 : line, last],
    PageUp: [Math.max(0, line - 10), place], PageDown: [Math.min(lines.length - 1, line + 10), place],
  }[event.key];
  const next = to && lines[to[0]] && lines[to[0]].children[to[1]];
  if (!next) return;
  event.preventDefault();
  focusOn(next);
}

/** The table is one stop of the tab key: only the cell last looked at can be reached by it. */
function focusOn(cell) {
  const old = $("table").querySelector("[tabindex='0']");
  if (old) old.tabIndex = -1;
  cell.tabIndex = 0;
  cell.focus();
  // Not below the columns that stand still.
  const box = $("table");
  const edge = cell.parentElement.firstElementChild;
  if (cell !== edge) {
    const hidden = edge.getBoundingClientRect().right - cell.getBoundingClientRect().left;
    if (hidden > 0) box.scrollLeft -= hidden;
  }
}

// ---------------------------------------------------------------- one number, and where it comes from

function record(place) {
  if (!page.records) page.records = read(`records-${page.board.name}`);
  const { fields, versions, records } = page.records;
  const found = Object.fromEntries(fields.map((field, i) => [field, records[place][i]]));
  return { ...found, versions: versions[found.versions] };
}

function pairs(entries) {
  return make("dl", {}, ...entries.filter(([, text]) => text !== null && text !== undefined && text !== "")
    .flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
}

function details(r, c, from) {
  const { board } = page;
  const [row, column] = [board.rows[r], board.columns[c]];
  const cell = row.cells[c];
  const runs = cell.records.map(record);
  const several = runs.length > 1;
  const close = make("button", { class: "close", type: "button" }, "Close");
  close.addEventListener("click", () => $("details").close());
  const base = row.baseline === null ? null : board.rows[row.baseline];
  const tests = base && cell.gain !== null && cell.gain !== undefined
    ? `${signed(cell.gain)} points` + (cell.p === undefined ? "" : `, p = ${cell.p}, after Holm's correction ${cell.pHolm}`)
    : null;
  let differs = null;
  if (page.baseline !== null && board.rows[page.baseline].cells[c] && page.baseline !== row.baseline) {
    differs = `${signed(cell.mean - board.rows[page.baseline].cells[c].mean)} points`;
  }
  const published = (cell.published || []).map((p) => [p.primary ? "published" : "published, a copy",
    `${p.accuracy} (${p.source}${p.note ? `; ${p.note}` : ""}): ours is ${signed(p.difference)}, theirs ${p.inside ? "inside" : "outside"} our interval`]);
  const facts = pairs([
    ["95 % interval", `${fixed(cell.low, 2)} to ${fixed(cell.high, 2)}` + (several ? `, over ${runs.length} runs` : ", Wilson")],
    ...(cell.alike || []).map((told) => ["same draws", told]),
    ["mean over classes", `${fixed(cell.perClass, 2)} %`],
    ...cell.tail === undefined ? [] : [["mean of the worst tenth", `${fixed(cell.tail, 2)} %`]],
    ["compared within", row.section],
    ["rank there", cell.rank === undefined ? "not ranked" : String(cell.rank)],
    [base ? `against ${rowName(base)}` : "", tests],
    [page.baseline === null ? "" : `against ${rowName(board.rows[page.baseline])}`, differs],
    ...published,
    ["regime", row.regime],
    ["sees for one answer", row.saw || "the image alone"],
    ["setting", `${column.setting}, support ${column.support}, prompts ${column.prompts}`],
  ].filter(([name]) => name));
  $("details").replaceChildren(
    close,
    make("h2", { id: "details-title" }, `${rowName(row)} on ${column.label}${column.marks}`),
    make("p", {}, make("span", { class: "big" }, `${fixed(cell.mean, 2)} %`),
      make("span", { class: "quiet" }, several ? ` ± ${fixed(cell.spread, 2)} over ${runs.length} runs` : ` of ${column.n_test.toLocaleString("en")} test images`)),
    facts,
    ...runs.map((run) => runDetails(run, several)),
  );
  $("details").onclose = () => focusOn(from);
  $("details").showModal();
  $("details").scrollTop = 0;
}

function runDetails(run, several) {
  const hparams = Object.entries(run.hparams).map(([name, number]) => `${name} ${+number.toPrecision(6)}`).join(", ");
  const searched = run.settings
    ? `best of ${run.settings.toLocaleString("en")} settings (${run.space}) on ${run.images.toLocaleString("en")} images`
      + (run.score === null ? "" : `: ${fixed(run.score, 2)} %`)
      + (run.near ? `; ${run.ties.toLocaleString("en")} tie, ${run.near.toLocaleString("en")} within half a point` : "")
    : null;
  const drawn = [run.seed ? `seed ${run.seed}` : "", run.order ? `order ${run.order}` : ""].filter(Boolean).join(", ");
  const title = drawn ? drawn[0].toUpperCase() + drawn.slice(1) : "The record";
  return make("details", { open: several ? null : "" },
    make("summary", {}, `${title}: ${fixed(run.accuracy, 2)} % (${run.correct.toLocaleString("en")} of ${run.n_test.toLocaleString("en")})`),
    make("pre", { tabindex: 0, "aria-label": "Command that measures it again" }, run.command),
    pairs([
      ["95 % interval", `${fixed(run.low, 2)} to ${fixed(run.high, 2)}, Wilson`],
      ["hyper-parameters", hparams || "none"],
      ["search", searched],
      ["note", run.note],
      ["seconds", ["encode", "fit", "search", "predict"].map((part) => `${part} ${+run[part].toPrecision(3)}`).join(", ")],
      ["device", run.device],
      ["started", run.started],
      ["versions", Object.entries(run.versions).map(([name, version]) => `${name} ${version}`).join(", ")],
      ["commit", run.git],
      ["method version", run.method_version],
      ["split", run.protocol],
      ["logit scale", String(run.logit_scale)],
      ["left out", run.skipped.length ? run.skipped.join(", ") : null],
      ...["input", "split", "support", "prompts", "weights", "predictions"].map((what) =>
        [`${what} sha256`, run[`${what}_sha256`] ? make("code", {}, run[`${what}_sha256`]) : null]),
      ["checksum", run.checksum ? make("code", {}, run.checksum) : null],
      ["file", make("a", { href: run.path.split("/").map(encodeURIComponent).join("/") }, run.path)],
    ]));
}

// ---------------------------------------------------------------- pictures

function pictures() {
  const { board } = page;
  const figures = board.pictures.map((picture) => {
    // The PNG is shown: large SVG would be drawn by the thread that also draws the table.
    const file = `pictures/${encodeURIComponent(picture.name)}`;
    return make("figure", { class: picture.width > 760 ? "wide" : null },
      make("a", { href: `${file}.svg` },
        make("img", { src: `${file}.png`, alt: `${picture.title}. ${picture.text}`, width: picture.width, height: picture.height, loading: "lazy" })),
      make("figcaption", {}, `${picture.text} `, make("a", { href: `${file}.svg` }, "SVG"), " ", make("a", { href: `${file}.png` }, "PNG")));
  });
  $("pictures").replaceChildren(...(figures.length ? [make("h3", {}, "Pictures"), ...figures] : []));
}

// ---------------------------------------------------------------- begin

const all = read("boards");
$("suites").append(...all.map(({ name, title }) =>
  make("a", { href: `#${encodeURIComponent(name)}`, "data-name": name }, title)));
$("suites").hidden = all.length < 2;
$("controls").addEventListener("input", filter);
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("controls").addEventListener("reset", () => setTimeout(filter));
$("table").addEventListener("click", (event) => act(event.target));
$("table").addEventListener("keydown", move);
$("details").addEventListener("click", (event) => {
  if (event.target === $("details")) $("details").close(); // beside it
});
addEventListener("hashchange", open);
open();
