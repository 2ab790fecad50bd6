"use strict";
// The page of the leaderboards. Every text goes in as text and never as HTML: names of methods,
// datasets and classes come from plugins. Data are read when they are first asked for.

const page = { board: null, baseline: null, sort: null, filters: {}, view: null };
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

const UNRANKED = "†‡‖¶"; // marks of numbers that are compared with no other, as in the tables

/** Those of some marks that say why a number is not ranked, or else the others. */
const marksOf = (marks, unranked) => [...marks].filter((mark) => UNRANKED.includes(mark) === unranked).join("");

/** Why a row is not ranked on some columns: the marks. */
const unrankedOn = (row, columns) =>
  marksOf(distinct([...row.marks, ...columns.flatMap((c) => [...((row.cells[c] && row.cells[c].marks) || "")])]), true);

/** What marks mean, as the notes say it. */
const meaning = (marks) => distinct([...marks]).flatMap((mark) => page.board.notes.filter((note) => note.startsWith(`${mark} `))).join(" ");

// ---------------------------------------------------------------- data

const held = new Map();

/** What a file of data beside the page calls. */
function hold(what, value) {
  held.set(what, value);
}

/** Data that stand in the page, or else in a file beside it. */
async function read(what) {
  if (!held.has(what) && $(what)) hold(what, JSON.parse($(what).textContent));
  if (!held.has(what)) {
    await new Promise((done) => {
      const script = make("script", { src: `data/${encodeURIComponent(what)}.js` });
      script.onload = script.onerror = done;
      document.head.append(script);
    });
  }
  return held.get(what);
}

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

async function open() {
  const { name: wanted, state } = asked();
  const names = all.map((board) => board.name);
  const name = names.includes(wanted) ? wanted : page.board ? page.board.name : names[0];
  if (!name || (page.board && page.board.name === name)) return; // also a jump within the page
  page.wanted = name;
  const board = await read(`board-${name}`);
  if (page.wanted !== name) return; // another one was asked for meanwhile
  if (!board) {
    $("title").textContent = `data/board-${name}.js does not lie beside this page.`;
    return;
  }
  Object.assign(page, { board, baseline: null, sort: null, filters: {} });
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
  $("pictures").replaceChildren(...(figures.length ? [make("h3", {}, "More pictures"), ...figures] : []));
}
