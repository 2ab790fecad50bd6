// Filters, the table, and the keys that move in it.

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
  choose();
}

/** Take the number that answers and table show: top-1 accuracy, or another one of the same records. */
function choose() {
  const { board } = page;
  const metrics = board.metrics || [{ name: "accuracy", heading: "top-1 accuracy in %", digits: 1 }];
  const wanted = new FormData($("chooser")).get("metric");
  page.metric = metrics.find((one) => one.name === wanted) || metrics[0];
  const known = (value) => (value === null ? undefined : value);
  page.rows = !page.metric.rows ? board.rows : board.rows.map((row, r) => {
    const [rank, averages, cells] = page.metric.rows[r];
    return { ...row, rank, averages, cells: cells.map((numbers, c) => {
      if (!numbers) return null;
      const [mean, low, high, spread, place, which] = numbers.map(known);
      const { records, marks } = row.cells[c];
      return { records, marks, mean, low, high, spread, rank: place, place: which };
    }) };
  });
}

/** A number of the table, with the decimals that its kind has. */
const shown = (number) => fixed(number, page.metric.digits);

function rowName(row) {
  return row.label + (row.tunable ? ` · ${row.tuning}` : "") + (row.marks ? ` ${row.marks}` : "");
}

function filter() {
  const given = new FormData($("controls"));
  page.filters = Object.fromEntries(given);
  page.baseline = given.get("baseline") ? Number(given.get("baseline")) : null;
  choose();
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
  const { board, rows } = page;
  const plan = [{ kind: "name", head: "method" }, { kind: "tuning", head: "tuned on" }];
  if (rows.some((row) => row.rank !== null)) plan.push({ kind: "rank", head: "average rank" });
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
  const { rows, baseline } = page;
  if (item.kind === "rank") return rows[row].rank;
  const of = (r) => {
    if (item.average !== undefined) return rows[r].averages[item.average];
    const means = (item.columns || [item.column]).map((c) => rows[r].cells[c]);
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
    head.append(make("tr", { class: "groups" }, make("td", { class: "name" }),
      before > 1 ? make("td", { colspan: before - 1 }) : "", ...cells));
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
  const { heading, blank, rows: other } = page.metric;
  const points = /nats/.test(heading) ? "" : "points ";
  const compared = page.baseline === null ? "" : `; ${points}more than ${rowName(board.rows[page.baseline])}`;
  const what = other ? `: ${[heading, ...(blank || [])].join(". ").replace(/\.$/, "")}` : "";
  $("status").textContent = `${rows.length} of ${board.rows.length} rows, ${columns.length} of ${board.columns.length} columns, from ${board.records} ${board.records === 1 ? "record" : "records"}${compared}${what}`;
}

function same(one, other) {
  return one.kind === other.kind && one.head === other.head && one.column === other.column
    && String(one.columns) === String(other.columns);
}

function tableRow(r, plan) {
  const { rows, baseline } = page;
  const row = rows[r];
  const line = document.createElement("tr");
  if (r === baseline) line.className = "base";
  for (const item of plan) {
    if (item.kind === "name") {
      line.append(make("th", { scope: "row", class: "name", tabindex: -1, title: row.label }, row.label,
        marksOf(row.marks, false) ? ` ${marksOf(row.marks, false)}` : ""));
    } else if (item.kind === "tuning") {
      const daggers = marksOf(row.marks, true);
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
  const cell = item.kind === "cell" ? page.rows[r].cells[item.column] : null;
  if (item.kind === "cell" && cell) {
    element.dataset.row = r;
    element.dataset.column = item.column;
    element.setAttribute("aria-haspopup", "dialog");
  } else if (item.kind === "cell") element.className = "blank";
  if (number === null) return element;
  if (page.baseline !== null) {
    const { digits, lower } = page.metric;
    element.append(signed(number, digits));
    if (Math.abs(number) >= 0.5 * 10 ** -digits) {
      element.classList.add(number > 0 !== lower ? "up" : "down");
      element.style.setProperty("--much", Math.min(0.5, 0.06 + Math.abs(number) / 25).toFixed(2));
    }
    return element;
  }
  element.append(cell ? make("span", { class: ["", "first", "second"][cell.place || 0] || null }, shown(number)) : shown(number));
  if (cell) {
    const interval = cell.low === undefined ? "" : ` [${shown(cell.low)}, ${shown(cell.high)}]`;
    const rest = cell.spread !== undefined ? ` ±${shown(cell.spread)}` : interval;
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
  let order = page.metric.order ? page.metric.order.filter((r) => rows.includes(r)) : rows;
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
  const best = !["name", "tuning", "rank"].includes(item.kind) && !page.metric.lower; // the best first
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

// ---------------------------------------------------------------- what is shown, as CSV

function csv() {
  const { board, metric } = page;
  const { rows, columns } = chosen();
  const quote = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const safe = (text) => quote(/^[=+@\uff1d\uff0b\uff20-]/.test(text) ? `'${text}` : text);
  const head = ["method", "tuned on", "section", "column", metric.name, "low", "high", "rank", "marks"];
  const digits = (number) => (number === undefined ? "" : number.toFixed(4));
  const lines = rows.flatMap((r) => columns.filter((c) => page.rows[r].cells[c]).map((c) => {
    const [row, cell] = [page.rows[r], page.rows[r].cells[c]];
    return [row.label, row.tuning, row.section, board.columns[c].label, digits(cell.mean), digits(cell.low),
      digits(cell.high), cell.rank === undefined ? "" : String(cell.rank), row.marks + (cell.marks || "")].map(safe).join(",");
  }));
  const link = make("a", { download: `${board.name}.csv`, href: URL.createObjectURL(new Blob([`${head.join(",")}\n${lines.join("\n")}\n`], { type: "text/csv" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
