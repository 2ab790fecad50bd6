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

/** The address of a view: the leaderboard's name, then what is chosen and filtered. */
function asked() {
  const [name, ...rest] = location.hash.slice(1).split("?");
  return { name: decodeURIComponent(name), state: new URLSearchParams(rest.join("?")) };
}

function remember() {
  const state = new URLSearchParams();
  for (const form of ["chooser", "controls"]) {
    for (const [key, text] of new FormData($(form))) if (text) state.set(key, text);
  }
  const query = String(state);
  const hash = `#${encodeURIComponent(page.board.name)}${query ? `?${query}` : ""}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

/** Put what an address says into the forms. */
function recall(state) {
  for (const form of ["chooser", "controls"]) {
    for (const field of $(form).elements) {
      const text = state.get(field.name);
      if (text === null || !field.name) continue;
      if (field.tagName !== "SELECT" || [...field.options].some((o) => o.value === text)) field.value = text;
    }
  }
}

function open() {
  const { name: wanted, state } = asked();
  const names = all.map((board) => board.name);
  const name = names.includes(wanted) ? wanted : page.board ? page.board.name : names[0];
  if (!name || (page.board && page.board.name === name)) return; // also a jump within the page
  Object.assign(page, { board: read(`board-${name}`), records: null, baseline: null, sort: null, filters: {} });
  const board = page.board;
  document.title = `${board.title} · susx-bench`;
  for (const link of $("suites").children) {
    if (link.dataset.name === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  $("title").textContent = board.title;
  const short = board.text.length < 240; // what is long is told below, the answer comes first
  $("lede").replaceChildren(...(short ? prose(board.text) : []));
  $("text").replaceChildren(...(short ? [] : prose(board.text)));
  $("facts").textContent = board.facts;
  $("notes").replaceChildren(...board.notes.map((note) => make("li", {}, note)));
  page.unfolded = new Set();
  chooser();
  controls();
  recall(state);
  if (String(state)) filter();
  else show();
  answer();
  pictures();
}

/** Paragraphs; what stands between backticks is code. */
function prose(text) {
  return text.split(/\n\s*\n/).filter((part) => part.trim()).map((part) => {
    const pieces = part.trim().split("`");
    return make("p", {}, ...pieces.map((piece, i) => (i % 2 ? make("code", {}, piece) : piece)));
  });
}

// ---------------------------------------------------------------- the answer

/** What a stranger knows of a task: labels per class, and which labels may choose a setting. */
function chooser() {
  const { board } = page;
  const shots = distinct(board.columns.map((column) => column.shots)).filter(Boolean).sort((a, b) => a - b);
  const size = (seen) => board.rows.filter((row) => board.sections.some((part) => part.label === row.section && part.seen === seen))
    .reduce((sum, row) => sum + row.cells.filter((cell) => cell?.rank !== undefined).length, 0);
  // What most was measured under is answered first.
  const seen = distinct(board.sections.map((section) => section.seen)).map((text) => [text, size(text)])
    .sort((a, b) => b[1] - a[1]).filter(([, cells], i) => cells || !i).map(([text]) => text);
  page.seen = seen[0];
  const option = (value, text) => make("option", { value }, text);
  const parts = [];
  if (shots.length) {
    parts.push(make("label", {}, "Labelled images per class", make("input", {
      type: "number", name: "labels", min: 1, max: 100000, inputmode: "numeric", placeholder: "any",
    })));
  }
  if (seen.length > 1) {
    parts.push(make("label", {}, "What may choose the settings",
      make("select", { name: "seen" }, ...seen.map((text) => option(text, text)))));
  }
  $("chooser").replaceChildren(...parts);
  $("chooser").hidden = !parts.length;
}

/** Columns nearest to a number of labels: those of the next smaller and the next larger one. */
function near(labels) {
  const { columns } = page.board;
  const all = columns.map((_, c) => c);
  if (!labels) return all;
  const shots = distinct(columns.map((column) => column.shots)).filter(Boolean);
  const kept = [Math.max(...shots.filter((s) => s <= labels)), Math.min(...shots.filter((s) => s >= labels))];
  return all.filter((c) => kept.includes(columns[c].shots) || !columns[c].shots);
}

/** The rows of a section with a number on some columns, the best first, as the table sorts them. */
function ranked(section, columns) {
  const { board } = page;
  const rows = board.rows.map((row, r) => r).filter((r) => board.rows[r].section === section.label);
  const sizes = new Map(columns.map((c) => [c, rows.filter((r) => board.rows[r].cells[c]?.rank !== undefined).length]));
  const merit = (r) => {
    const here = columns.filter((c) => board.rows[r].cells[c]?.rank !== undefined);
    if (2 * here.length < columns.length || !here.length) return null;
    return here.reduce((sum, c) => sum + (board.rows[r].cells[c].rank - 1) / Math.max(sizes.get(c) - 1, 1), 0) / here.length;
  };
  return rows.map((r) => [r, merit(r)]).filter(([, m]) => m !== null).sort((a, b) => a[1] - b[1] || a[0] - b[0]).map(([r]) => r);
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Mean of a row, of another, and their difference, on the columns that both have. */
function against(r, other, columns) {
  const { rows } = page.board;
  const both = columns.filter((c) => rows[r].cells[c] && rows[other].cells[c]);
  if (!both.length) return null;
  const [mine, theirs] = [r, other].map((i) => mean(both.map((c) => rows[i].cells[c].mean)));
  return { count: both.length, mine, theirs, gain: mine - theirs };
}

function named(row) {
  const paper = page.board.papers[row.method];
  const name = row.label.split(", sees ")[0];
  return paper ? make("a", { href: paper, rel: "noreferrer", title: "The paper" }, name) : name;
}

function answer() {
  const { board } = page;
  const given = Object.fromEntries(new FormData($("chooser")));
  const labels = Number(given.labels) || 0;
  const columns = near(labels);
  const seen = given.seen || page.seen;
  const cards = board.sections.filter((section) => section.seen === seen).map((section) => card(section, columns)).filter(Boolean);
  const shots = distinct(columns.map((c) => board.columns[c].shots)).filter(Boolean).sort((a, b) => a - b);
  const at = labels && !shots.includes(labels) ? `Nothing was measured at ${labels}; nearest: S = ${shots.join(" and ")}. ` : "";
  const over = columns.length === 1 ? `on ${board.columns[columns[0]].label}` : `means over ${columns.length} columns`;
  $("answers").replaceChildren(
    make("h3", {}, labels ? `Best by average rank with ${labels} labelled ${labels === 1 ? "image" : "images"} per class` : "Best method by average rank", make("small", {}, ` ${seen}`)),
    make("p", { class: "quiet" }, `${at}Top-1 accuracy in %, ${over}.`),
    ...(cards.length ? cards : [make("p", {}, "Nothing was measured that may be compared here.")]));
  commands(seen, columns);
}

/** What is best in one section, by how much and how surely. */
function card(section, columns) {
  const { board } = page;
  const order = ranked(section, columns).filter((r) => r !== board.zeroShot);
  if (!order.length) return null;
  const best = order[0];
  const row = board.rows[best];
  const here = columns.filter((c) => row.cells[c]?.rank !== undefined);
  const zero = board.zeroShot === null ? null : against(best, board.zeroShot, here);
  const lines = [];
  if (zero) {
    const part = zero.count < columns.length ? `, on the ${zero.count} of ${columns.length} columns where it is ranked` : "";
    const way = zero.gain < 0 ? "below" : "above";
    lines.push(`${fixed(Math.abs(zero.gain))} points ${way} zero-shot (${fixed(zero.theirs)})${part}`);
  }
  if (here.length === 1) {
    const cell = row.cells[here[0]];
    lines.push(`95 % interval ${fixed(cell.low)} to ${fixed(cell.high)}`);
  }
  const tested = here.filter((c) => row.cells[c].pHolm !== undefined);
  if (tested.length && row.baseline !== null) {
    const sure = tested.filter((c) => row.cells[c].pHolm < 0.05 && row.cells[c].gain > 0).length;
    lines.push(`surely better than ${board.rows[row.baseline].label.split(", sees ")[0]} on ${sure} of ${tested.length} (p < 0.05 after Holm)`);
  }
  const second = order.find((r) => board.rows[r].label !== row.label);
  const behind = second === undefined ? null : against(best, second, here.filter((c) => board.rows[second].cells[c]?.rank !== undefined));
  if (behind) lines.push(`second by average rank: ${board.rows[second].label.split(", sees ")[0]}, its mean ${signed(-behind.gain)}`);
  const other = board.rows.map((_, r) => r).filter((r) => board.rows[r].section === section.label && /¶/.test(board.rows[r].marks + board.rows[r].cells.map((c) => c?.marks || "").join("")) && !order.includes(r))
    .map((r) => [r, against(r, best, columns)]).filter(([, a]) => a && a.gain > 0 && 2 * a.count > columns.length).sort((a, b) => b[1].gain - a[1].gain)[0];
  if (other) lines.push(`${board.rows[other[0]].label.split(", sees ")[0]} ¶ has ${signed(other[1].gain)}, by constants chosen with an eye on these datasets: no independent evidence`);
  return make("article", {},
    make("h4", {}, section.group),
    make("p", {}, make("strong", {}, named(row)), row.tunable ? ` · ${row.tuning} ` : " ",
      make("span", { class: "big" }, fixed(mean(here.map((c) => row.cells[c].mean))))),
    make("ul", {}, ...lines.map((line) => make("li", {}, line))));
}

function commands(seen, columns) {
  const { board } = page;
  const section = board.sections.find((part) => part.seen === seen && ranked(part, columns).some((r) => r !== board.zeroShot));
  const best = section && ranked(section, columns).find((r) => r !== board.zeroShot);
  const row = board.rows[best ?? 0];
  const tune = row.tunable ? ` --tune ${row.tuning}` : "";
  const { setting } = board.columns[0];
  const run = `susx-bench run --method ${row.method} --setting ${setting}${tune}`;
  $("commands").replaceChildren(
    make("p", {}, "Photographs in a folder per class:"),
    make("pre", { tabindex: 0 }, `${run} --dataset ./PHOTOS --encoder ViT-B-32:openai`),
    make("p", {}, "Features that you have, in one safetensors file:"),
    make("pre", { tabindex: 0 }, `${run} --features mine.safetensors`),
    make("p", { class: "quiet" }, "A click on a number below shows the command that measures it again."));
}

// ---------------------------------------------------------------- what is shown, as CSV

function csv() {
  const { board } = page;
  const { rows, columns } = chosen();
  const quote = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const safe = (text) => quote(/^[=+@\uff1d\uff0b\uff20-]/.test(text) ? `'${text}` : text);
  const head = ["method", "tuned on", "section", "column", "accuracy", "low", "high", "rank", "marks"];
  const lines = rows.flatMap((r) => columns.filter((c) => board.rows[r].cells[c]).map((c) => {
    const [row, cell] = [board.rows[r], board.rows[r].cells[c]];
    return [row.label, row.tuning, row.section, board.columns[c].label, cell.mean.toFixed(4), cell.low.toFixed(4),
      cell.high.toFixed(4), cell.rank === undefined ? "" : String(cell.rank), row.marks + (cell.marks || "")].map(safe).join(",");
  }));
  const link = make("a", { download: `${board.name}.csv`, href: URL.createObjectURL(new Blob([`${head.join(",")}\n${lines.join("\n")}\n`], { type: "text/csv" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
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
  const save = make("button", { type: "button" }, "CSV of what is shown");
  save.addEventListener("click", csv);
  parts.push(save);
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
  remember();
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
    const here = order.filter((r) => board.rows[r].section === part);
    body.append(...here.map((r) => found.get(r)));
    fold(part, here);
  }
}

/** One line per method: its other tunings are unfolded on demand. */
function fold(part, rows) {
  const { board } = page;
  const { found } = page.view;
  for (const label of distinct(rows.map((r) => board.rows[r].label))) {
    const mine = rows.filter((r) => board.rows[r].label === label);
    const key = `${part}\n${label}`;
    const open = page.unfolded.has(key);
    mine.forEach((r, i) => {
      const line = found.get(r);
      line.hidden = i > 0 && !open;
      line.querySelector("button.fold")?.remove();
    });
    if (mine.length < 2) continue;
    const button = make("button", { type: "button", class: "fold", "aria-expanded": String(open), tabindex: -1 },
      open ? "− tunings" : `+ ${mine.length - 1} ${mine.length === 2 ? "tuning" : "tunings"}`);
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      if (!page.unfolded.delete(key)) page.unfolded.add(key);
      arrange();
    });
    found.get(mine[0]).firstElementChild.append(button);
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
    const button = cell.querySelector("button.fold");
    if (button) button.click();
    if (button || act(cell)) event.preventDefault();
    return;
  }
  const lines = [page.view.titles[0].parentElement, ...page.view.body.querySelectorAll("tr:not(.section):not([hidden])")];
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
  const ends = (end) => board.pictures.findIndex((picture) => picture.name.startsWith(`${board.name}-${end}`));
  const shots = ends("shots"); // of many panels it is too wide to stand beside the answer
  const wide = shots >= 0 && board.pictures[shots].width > 760;
  const lead = [wide ? -1 : shots, ends("time"), shots, ends("gain")].map((i) => figures[i]).find(Boolean);
  $("picture").replaceChildren(...(lead ? [lead] : []));
  const rest = figures.filter((figure) => figure !== lead);
  $("pictures").replaceChildren(...(rest.length ? [make("h3", {}, "More pictures"), ...rest] : []));
}

// ---------------------------------------------------------------- begin

const all = read("boards");
$("suites").append(...all.map(({ name, title }) =>
  make("a", { href: `#${encodeURIComponent(name)}`, "data-name": name, title }, name.replaceAll("-", " "))));
$("suites").hidden = all.length < 2;
$("chooser").addEventListener("input", () => { answer(); remember(); });
$("chooser").addEventListener("submit", (event) => event.preventDefault());
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
