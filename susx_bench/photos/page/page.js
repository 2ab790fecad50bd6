"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const [FILE, THUMB, LABEL, P, SECOND, Q, STATUS, TRUTH, LINK, MARGIN] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const CHUNK = 120;
const judged = data.truth;
// In a benchmark, an image of a class that the method was not told of.
const isUnknown = (item) => judged && item[TRUTH] < 0;
const byId = (id) => document.getElementById(id);
const photos = byId("photos"), dialog = byId("details");
const key = `susx-classify ${data.id}`;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
/** A command and a button that copies it; where the browser refuses, the command is selected. */
function copied(command) {
  const code = make("code", {}, command);
  const button = make("button", { type: "button", class: "copy", onclick: async () => {
    try {
      await navigator.clipboard.writeText(command);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected: press Ctrl+C";
    }
  } }, "Copy");
  return [code, " ", button];
}
const percent = (p) => (p === null ? "" : p > 0.995 && p < 1 ? ">99 %" : `${Math.round(100 * p)} %`);

// What a person said: place of the photograph to class.
const given = new Map();
data.items.forEach((item, place) => { if (item[STATUS] === 2) given.set(place, item[LABEL]); });
const marks = new Map(given);
try {
  const kept = JSON.parse(localStorage.getItem(key) ?? "[]");
  for (const [place, label] of kept) {
    if (place in data.items && label in data.classes) marks.set(place, label);
  }
} catch { /* without storage marks live as long as the page */ }

function keep() {
  try { localStorage.setItem(key, JSON.stringify([...marks])); } catch { /* as above */ }
  const fresh = [...marks].filter(([place, label]) => given.get(place) !== label).length;
  byId("save").disabled = marks.size === 0;
  byId("marked").textContent = fresh ? `${count(fresh, "new label")}` : "";
}

function mark(place, label) {
  if (label === null) marks.delete(place); else marks.set(place, label);
  keep();
  for (const card of photos.querySelectorAll(`[data-place="${place}"]`)) dress(card, place);
}

// A cell that a spreadsheet shows and does not run; classify reads it back.
const FORMULA = /^'*[=+\-@\uff1d\uff0b\uff0d\uff20]/u;
function cell(text) {
  const plain = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
function csv() {
  const lines = [...marks].sort((a, b) => a[0] - b[0])
    .map(([place, label]) => `${cell(data.items[place][FILE])},${cell(data.classes[label])}`);
  return `file,class\n${lines.join("\n")}\n`;
}
function save() {
  const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  make("a", { href: url, download: "labels.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
  byId("status").replaceChildren(
    `Saved ${count(marks.size, "label")} as labels.csv, where this browser puts downloads. Give its path and classify again: `, ...copied(data.again));
}

// Which photographs, in which order.
const bounds = () => Number(byId("below").value) || 0;
const isUnsure = (item) => item[P] !== null && item[P] < bounds();
const sure = (place) => data.items[place][P] ?? data.items[place][MARGIN] ?? 2;
const rising = (a, b) => sure(a) - sure(b) || a - b;

function chosen() {
  const words = byId("search").value.trim().toLowerCase();
  const only = byId("class").value;
  return data.items.map((_, place) => place).filter((place) => {
    const item = data.items[place];
    const label = marks.get(place) ?? item[LABEL];
    if (only !== "" && Number(only) !== label && !(judged && Number(only) === item[TRUTH])) return false;
    const text = `${item[FILE]} ${data.classes[label]} ${judged ? data.classes[item[TRUTH]] ?? "" : ""}`;
    return words === "" || text.toLowerCase().includes(words);
  });
}

function sections(places) {
  const show = byId("show").value;
  const unknown = (place) => isUnknown(data.items[place]);
  const right = (place) => data.items[place][LABEL] === data.items[place][TRUTH];
  const wrong = (place) => !right(place) && !unknown(place);
  if (show === "unknown") return [["Of an unknown class, the surest first", places.filter(unknown).sort((a, b) => rising(b, a))]];
  if (show === "wrong") return [["Wrong, the surest first", places.filter(wrong).sort((a, b) => rising(b, a))]];
  if (show === "right") return [["Right, the least sure first", places.filter(right).sort(rising)]];
  if (show === "pairs") {
    const pairs = new Map();
    for (const place of places.filter(wrong)) {
      const name = `${data.classes[data.items[place][TRUTH]]} taken for ${data.classes[data.items[place][LABEL]]}`;
      pairs.set(name, [...(pairs.get(name) ?? []), place]);
    }
    return [...pairs].sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1))
      .map(([name, each]) => [name, each.sort((a, b) => rising(b, a))]);
  }
  if (show === "marked") return [["Labelled by you", places.filter((p) => marks.has(p))]];
  if (show === "least") return [["The least sure first", places.sort(rising)]];
  if (show === "name") return [["By name", places]];
  const unsure = places.filter((p) => !marks.has(p) && isUnsure(data.items[p])).sort(rising);
  const apart = new Set(unsure), of = data.classes.map(() => []);
  for (const p of places) if (!apart.has(p)) of[marks.get(p) ?? data.items[p][LABEL]].push(p);
  return [["Unsure", unsure], ...of.map((each, label) => [data.classes[label], each.sort(rising)])]
    .filter(([, each]) => each.length);
}

function dress(card, place) {
  const item = data.items[place], label = marks.get(place);
  const unknown = isUnknown(item), wrong = judged && !unknown && item[LABEL] !== item[TRUTH];
  card.className = `card${label !== undefined ? " marked" : ""}${wrong ? " wrong" : ""}`;
  const [answer, next] = [card.querySelector(".answer"), card.querySelector(".next")];
  const name = data.classes[item[LABEL]];
  const say = (called, beside) => answer.replaceChildren(make("b", {}, called), ` ${beside}`);
  if (label !== undefined) {
    say(data.classes[label], "✓");
    next.textContent = label === item[LABEL] ? "labelled by you" : `was ${name}`;
  } else {
    say(name, percent(item[P]));
    next.textContent = judged ? (unknown ? "of an unknown class" : wrong ? `is ${data.classes[item[TRUTH]]}` : "right")
      : item[SECOND] < 0 ? " " : `or ${data.classes[item[SECOND]]} ${percent(item[Q])}`;
  }
  card.title = `${item[FILE]}\n${answer.textContent}\n${next.textContent}`;
}

function cardOf(place) {
  const item = data.items[place];
  const card = make("button", { type: "button", "data-place": place, onclick: () => open(place) },
    make("img", { src: item[THUMB] || null, alt: "", loading: "lazy", decoding: "async" }),
    make("span", { class: "answer" }), make("span", { class: "next" }),
    make("span", { class: "file" }, make("bdi", {}, item[FILE])));
  dress(card, place);
  return card;
}

function draw() {
  const places = chosen(), total = places.length;
  const parts = sections(places);
  const nodes = parts.map(([name, each]) => {
    const grid = make("div", { class: "grid" });
    const section = make("section", {},
      make("h2", {}, `${name} `, make("small", {}, count(each.length, "photograph"))), grid);
    const more = make("button", { type: "button", class: "more" });
    const extend = () => {
      const start = grid.childElementCount;
      grid.append(...each.slice(start, start + CHUNK).map(cardOf));
      const left = each.length - grid.childElementCount;
      more.textContent = `Show ${Math.min(left, CHUNK)} more of ${count(left, "photograph")}`;
      if (left <= 0) more.remove();
      if (start) grid.children[start]?.focus();
    };
    more.addEventListener("click", extend);
    section.append(more);
    extend();
    return section;
  });
  photos.replaceChildren(...nodes);
  const shown = parts.reduce((sum, [, each]) => sum + each.length, 0);
  byId("status").textContent = shown ? `${count(shown, "photograph")}${total < data.items.length || shown < total ? ` of ${data.items.length.toLocaleString("en")}` : ""}`
    : "No photograph is like that.";
}

// One photograph, and its class.
function open(place) {
  const item = data.items[place];
  const choose = (label) => { mark(place, label); dialog.close(); go(place, 1); };
  const first = [...new Set([item[LABEL], item[SECOND], ...data.classes.keys()])].filter((l) => l >= 0);
  const list = make("div", { class: "choices" });
  const filter = make("input", { type: "search", placeholder: "which class is it?", "aria-label": "Find a class", autocomplete: "off" });
  const fill = () => {
    const words = filter.value.trim().toLowerCase();
    const found = first.filter((label) => data.classes[label].toLowerCase().includes(words));
    list.replaceChildren(...found.slice(0, 200).map((label) => make("button",
      { type: "button", "aria-pressed": String(marks.get(place) === label), onclick: () => choose(label) },
      data.classes[label] + (label === item[LABEL] && item[P] !== null ? ` · ${percent(item[P])}` : label === item[SECOND] ? ` · ${percent(item[Q])}` : ""))));
    if (!found.length) list.replaceChildren(make("p", { class: "quiet" }, "No class is called so."));
  };
  filter.addEventListener("input", fill);
  filter.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); list.querySelector("button")?.click(); }
    if (event.key === "ArrowDown") { event.preventDefault(); list.querySelector("button")?.focus(); }
  });
  fill();
  const right = judged
    ? [make("p", {}, `Taken for ${data.classes[item[LABEL]]}${item[P] === null ? "" : ` (${percent(item[P])})`}.`),
      make("p", {}, isUnknown(item) ? "Of a class that the method was not told of." : `Labelled ${data.classes[item[TRUTH]]}.`)]
    : [filter, list];
  dialog.replaceChildren(
    make("h2", { id: "details-title" }, make("bdi", {}, item[FILE])),
    make("div", { class: "both" }, make("div", {}, make("img", { src: item[THUMB] || null, alt: "" }),
      ...(item[LINK] ? [make("p", {}, make("a", { href: item[LINK], target: "_blank", rel: "noopener" }, "Open the photograph"))] : [])),
      make("div", {}, ...right)),
    make("div", { class: "row" },
      ...(judged ? [] : [make("button", { type: "button", onclick: () => choose(null) }, "Take the label back")]),
      make("button", { type: "button", onclick: () => dialog.close() }, "Close")));
  dialog.returnValue = String(place);
  dialog.showModal();
  if (!judged && matchMedia("(pointer: fine)").matches) filter.focus();
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => photos.querySelector(`[data-place="${dialog.returnValue}"]`)?.focus());

// The keyboard moves between cards as they lie.
const cards = () => [...photos.querySelectorAll(".card")];
function go(place, step) {
  const all = cards();
  const at = all.findIndex((card) => card.dataset.place === String(place));
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  if (next) { dialog.returnValue = next.dataset.place; next.focus(); }
}
function below(card, way) {
  const box = card.getBoundingClientRect();
  const rows = cards().map((other) => [other, other.getBoundingClientRect()])
    .filter(([, r]) => (way > 0 ? r.top > box.top + 5 : r.top < box.top - 5));
  const row = way > 0 ? Math.min(...rows.map(([, r]) => r.top)) : Math.max(...rows.map(([, r]) => r.top));
  const near = rows.filter(([, r]) => Math.abs(r.top - row) < 5)
    .sort((a, b) => Math.abs(a[1].left - box.left) - Math.abs(b[1].left - box.left))[0];
  near?.[0].focus();
}
document.addEventListener("keydown", (event) => {
  if (dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
  const card = document.activeElement?.closest?.(".card");
  const typing = ["INPUT", "SELECT"].includes(document.activeElement?.tagName);
  if (typing) { if (event.key === "Escape") document.activeElement.blur(); return; }
  const place = card && Number(card.dataset.place), item = card && data.items[place];
  const moves = { ArrowRight: () => go(place, 1), ArrowLeft: () => go(place, -1), ArrowDown: () => below(card, 1), ArrowUp: () => below(card, -1) };
  const keys = { "/": () => byId("search").focus() };
  if (card) Object.assign(keys, moves);
  else Object.assign(keys, { ArrowDown: () => cards()[0]?.focus(), ArrowRight: () => cards()[0]?.focus() });
  if (!judged) {
    keys.s = save;
    if (card) Object.assign(keys, {
      y: () => { mark(place, item[LABEL]); go(place, 1); },
      n: () => { if (item[SECOND] >= 0) { mark(place, item[SECOND]); go(place, 1); } },
      u: () => mark(place, null), Backspace: () => mark(place, null), Delete: () => mark(place, null),
    });
  }
  const act = keys[event.key];
  if (act) { event.preventDefault(); act(); }
});

// The page.
document.title = data.title;
byId("title").textContent = data.title;
byId("facts").replaceChildren(...data.facts.map((line) => make("li", {}, line)));
const options = judged
  ? [["wrong", "wrong, the surest first"], ["pairs", "wrong, by pair of classes"], ...(data.items.some(isUnknown) ? [["unknown", "of an unknown class, the surest first"]] : []), ["right", "right, least sure first"], ["least", "all, least sure first"]]
  : [["classes", "by class, unsure first"], ["least", "least sure first"], ["name", "by name"], ["marked", "labelled by you"]];
byId("show").replaceChildren(...options.map(([value, name]) => make("option", { value }, name)));
const amounts = data.classes.map(() => 0);
for (const item of data.items) if (!isUnknown(item)) amounts[judged ? item[TRUTH] : item[LABEL]] += 1;
byId("class").replaceChildren(make("option", { value: "" }, "all"),
  ...data.classes.map((name, label) => make("option", { value: label }, `${name} (${amounts[label]})`)));
byId("below").value = data.reject;
if (judged) { byId("saving").remove(); byId("below-label").remove(); }
else {
  byId("save").addEventListener("click", save);
  keep();
}
const keysHelp = judged
  ? [["← → ↑ ↓", "move"], ["Enter", "look closer"], ["/", "search"]]
  : [["← → ↑ ↓", "move"], ["y", "the answer is right"], ["n", "it is the second one"], ["Enter", "choose any class"], ["u", "take the label back"], ["/", "search"], ["s", "save"]];
byId("help").replaceChildren(
  make("p", {}, judged ? "Click a photograph to look closer. Keys: " : "Click a photograph to choose its class. Keys: ",
    ...keysHelp.flatMap(([k, what]) => [make("kbd", {}, k), ` ${what}   `])),
  ...(judged ? [] : [make("details", {}, make("summary", {}, "Then classify again"),
    make("p", {}, "Label right answers as well as wrong ones: labels of mistakes alone make every answer look worse than it is. Save labels.csv, and run:"),
    make("p", {}, ...copied(data.again)))]));
let waiting = 0;
for (const id of ["search", "class", "show", "below"]) {
  const control = byId(id);
  control?.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(draw, id === "search" ? 120 : 0); });
}
byId("controls").addEventListener("submit", (event) => event.preventDefault());
draw();
