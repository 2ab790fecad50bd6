// The answer: what a stranger knows of a task, and which method is best for it.

const FEW = [1, 2, 4, 8, 16];
const SHOWN = 6; // rows of a ranking

/** What tells a level from the others, in addresses too: 16 for few-shot with 16 images. */
const level = ({ setting, shots }) => (setting !== "few-shot" ? [setting, shots || []].flat().join("-") : String(shots));
const images = (shots) => `${shots} labelled ${shots === 1 ? "image" : "images"} per class`;
const shortName = (row) => row.label.split(", sees ")[0];

/** Levels that were measured, and in between the usual numbers of labelled images. */
function levels() {
  const found = new Map(page.board.columns.map((column) => [level(column), column]));
  const measured = [...found.values()].map(({ setting, shots }) => ({ setting, shots, measured: true }));
  const few = measured.filter((one) => one.setting === "few-shot" && one.shots);
  const between = few.length ? FEW.filter((s) => !few.some((one) => one.shots === s)) : [];
  return [...measured, ...between.map((shots) => ({ setting: "few-shot", shots, measured: false }))]
    .sort((a, b) => b.setting.localeCompare(a.setting, "en") || a.shots - b.shots);
}

function levelName({ setting, shots, measured }) {
  const name = setting === "few-shot" && shots ? images(shots)
    : setting === "name-only" ? `class names alone${shots ? `, ${shots} made images per class` : ""}` : "no labelled images";
  return measured ? name : `${name} (not measured)`;
}

/** The measured levels that answer for a level: itself, or the next smaller and the next larger. */
function nearest(key) {
  const all = levels();
  const wanted = all.find((one) => level(one) === key) || all[0];
  if (wanted.measured) return [wanted];
  const few = all.filter((one) => one.measured && one.setting === wanted.setting && one.shots);
  return [few.filter((one) => one.shots < wanted.shots).at(-1), few.find((one) => one.shots > wanted.shots)].filter(Boolean);
}

/** The answer of a section that differs by regime and by what chose the settings, at a level. */
function answerOf(group, seen, at) {
  const { board } = page;
  return (board.answers || []).filter((one) => {
    const section = board.sections[one.section];
    return level(one) === level(at) && section.group === group && section.seen === seen;
  }).map(judged).find(bestOf);
}

const bestOf = (answer) => answer.rows.find((one) => one.ranked && one.row !== page.board.zeroShot);

/** An answer by the number that is chosen: the same rows and columns, the best first. Intervals over
 * test images are those of top-1 accuracy alone. */
function judged(one) {
  if (!page.metric.rows) return one;
  const { zeroShot } = page.board;
  const mean = (row) => {
    const cells = one.columns.map((c) => page.rows[row.row].cells[c]);
    return cells.some((cell) => !cell || cell.mean === undefined) ? null : cells.reduce((sum, cell) => sum + cell.mean, 0) / cells.length;
  };
  const found = one.rows.map((row) => ({ row: row.row, ranked: row.ranked, seconds: row.seconds, value: mean(row) }));
  const rows = found.filter((row) => row.value !== null)
    .sort((a, b) => b.ranked - a.ranked || (a.value === b.value ? 0 : better(a.value, b.value) ? -1 : 1));
  const zero = rows.find((row) => row.row === zeroShot);
  return {
    ...one,
    without: found.filter((row) => row.value === null).map((row) => row.row),
    rows: rows.map(({ value, ...row }, i) => ({
      ...row,
      accuracy: [value],
      ...(zero && row.row !== zeroShot ? { overZeroShot: [value - zero.value] } : {}),
      ...(i ? { behind: [value - rows[0].value] } : {}),
    })),
  };
}

/** Whether a value of the chosen number is better than another. */
const better = (value, other) => (page.metric.lower ? value < other : value > other);

/** The chosen number in words: what it is, a value of it, and a difference. */
const metricName = (metric = page.metric) => metric.heading.split(" in ")[0];
const unit = () => page.metric.heading.match(/ in (%|points|nats)/)[1];
const figure = (value) => `${fixed(value, page.metric.digits)}\u00a0${unit()}`;
const steps = () => (unit() === "nats" ? "nats" : "points");

function chooser() {
  const { board } = page;
  const known = (board.answers || []).filter(bestOf);
  const count = (key, value) => known.filter((one) => board.sections[one.section][key] === value)
    .reduce((sum, one) => sum + one.rows.filter((row) => row.ranked).length * one.columns.length, 0);
  const byCount = (key) => distinct(known.map((one) => board.sections[one.section][key]))
    .sort((a, b) => count(key, b) - count(key, a));
  const groups = distinct(known.map((one) => board.sections[one.section].group));
  const seen = byCount("seen"); // what most was measured under is answered first
  const all = levels();
  const columns = (one) => board.columns.filter((column) => level(column) === level(one)).length;
  const usual = [...all].sort((a, b) => columns(b) - columns(a) || b.shots - a.shots)[0];
  const select = (name, label, options, chosen) => make("label", {}, label, make("select", { name },
    ...options.map(([value, text]) => make("option", { value, selected: value === chosen ? "" : null }, text))));
  const parts = [];
  const metrics = board.metrics || [];
  if (all.length > 1) parts.push(select("labels", "You have", all.map((one) => [level(one), levelName(one)]), level(usual)));
  if (groups.length > 1) parts.push(select("regime", "Kind of method", groups.map((one) => [one, one.replace(/^inductive$/, "inductive (each image alone)")]), groups[0]));
  if (seen.length > 1) parts.push(select("seen", "It may be tuned by", seen.map((one) => [one, one]), seen[0]));
  if (metrics.length > 1) {
    parts.push(select("metric", "Judged by", metrics.map((one, i) => [i ? one.name : "", metricName(one)]), ""));
  }
  page.usual = { labels: level(usual), regime: groups[0], seen: seen[0] };
  $("chooser").replaceChildren(...parts);
  $("chooser").hidden = !parts.length;
}

function named(row) {
  const paper = page.board.papers[row.method];
  return paper ? make("a", { href: paper, rel: "noreferrer", title: "The paper" }, shortName(row)) : shortName(row);
}

const between = ([, low, high], show = signed) => (low === undefined ? "" : `[${show(low)}, ${show(high)}]`);

function answer() {
  const given = { ...page.usual, ...Object.fromEntries(new FormData($("chooser"))) };
  const at = nearest(given.labels);
  const found = at.map((one) => answerOf(given.regime, given.seen, one)).filter(Boolean);
  const wanted = levels().find((one) => level(one) === given.labels);
  const { board } = page;
  const parts = [];
  if (!found.length) {
    parts.push(make("p", { class: "quiet" }, "Nothing was measured that may be compared here."), others(given, at));
  } else {
    parts.push(summary(found, wanted), ...found.map((one) => card(one, found.length > 1)), others(given, at));
  }
  $("answers").replaceChildren(...parts.filter(Boolean));
  commands(found[0], board);
}

/** The answer in one sentence. */
function summary(found, wanted) {
  const { board } = page;
  const names = distinct(found.map((one) => board.rows[bestOf(one).row].label));
  const sentences = found.map((one) => {
    const best = bestOf(one);
    const row = board.rows[best.row];
    const which = names.length > 1 ? [make("strong", {}, named(row)), " has "] : [];
    const gain = best.overZeroShot;
    const value = figure(best.accuracy[0]);
    const amount = gain && `${fixed(Math.abs(gain[0]), page.metric.digits)} ${steps()}`;
    const way = gain && (gain[0] < 0 ? "below" : "above");
    // Between two levels the gain comes first: their accuracies are of other datasets.
    const said = wanted && !wanted.measured
      ? gain ? [make("span", { class: "big" }, amount), ` ${way} zero-shot (${value} at ${one.shots})`]
        : [make("span", { class: "big" }, value), ` at ${one.shots}`]
      : [make("span", { class: "big" }, value), gain ? `, ${amount} ${way} zero-shot` : ""];
    return [...which, ...said];
  });
  const joined = sentences.flatMap((one, i) => (i ? ["; ", ...one] : one));
  const first = board.rows[bestOf(found[0]).row];
  const lead = names.length > 1 ? [] : [make("strong", {}, named(first)), first.tunable && found.length < 2 ? `, ${first.told}: ` : ": "];
  const missing = wanted && !wanted.measured ? make("p", { class: "quiet" },
    `Nothing was measured with ${wanted.shots} per class. The nearest, ${found.map((one) => one.shots).join(" and ")}, are shown${bothAt(found)}.`) : null;
  return make("div", { class: "summary" },
    make("h3", {}, `The best ${wanted ? `with ${levelName({ ...wanted, measured: true })}` : "method"}, by ${metricName()}`
      + (page.metric.lower ? " (lower is better)" : "")),
    make("p", {}, ...lead, ...joined, "."), missing);
}

/** What the best of two levels has on the first column of the same data, as the end of a sentence. */
function bothAt(found) {
  const { board } = page;
  if (found.length < 2) return "";
  const same = (c, d) => ["dataset", "encoder", "prompts"].every((key) => board.columns[c][key] === board.columns[d][key]);
  const [few, many] = found.map((one) => ({ one, row: board.rows[bestOf(one).row] }));
  const pairs = few.one.columns.flatMap((c) => many.one.columns.filter((d) => same(c, d)).map((d) => [c, d]));
  if (!pairs.length) return ", on other datasets";
  const [c, d] = pairs[0];
  const cellOf = (row, k) => page.rows[row].cells[k];
  const zero = board.zeroShot === null ? null : cellOf(board.zeroShot, c);
  const said = [[few, c], [many, d]].map(([{ one, row }, k]) => `${shortName(row)} ${figure(cellOf(bestOf(one).row, k).mean)} at ${one.shots}`);
  const others = few.one.columns.length > 1 || many.one.columns.length > 1 ? ", of which not all are on the same datasets" : "";
  return `${others}. On ${board.columns[c].dataset}, measured at both: ${zero ? `zero-shot ${figure(zero.mean)}, ` : ""}${said.join(", ")}`;
}

/** One level: the ranking over the columns that all of it has, and accuracy against seconds. */
function card(one, several) {
  const { board } = page;
  const zero = one.rows.find((row) => row.row === board.zeroShot);
  const best = bestOf(one);
  const seen = new Set();
  const ranking = one.rows.filter((row) => {
    const { label } = board.rows[row.row];
    const first = row.ranked && row !== zero && !seen.has(label);
    if (first) seen.add(label);
    return first;
  });
  const rows = ranking.filter((row, i) => i < SHOWN || board.rows[row.row].own);
  if (zero) rows.push(zero);
  const time = one.device !== "";
  const line = (row) => {
    const of = board.rows[row.row];
    const behind = row === best || !row.behind ? [row === best ? "the best" : ""]
      : [signed(row.behind[0], page.metric.digits), row.behind[2] >= 0 ? " ≈" : "", make("small", {}, ` ${between(row.behind)}`)];
    return make("tr", {},
      make("th", { scope: "row" }, named(of), of.tunable ? make("small", {}, ` ${of.tuning}`) : ""),
      make("td", {}, shown(row.accuracy[0]), make("small", {}, ` ${between(row.accuracy, fixed)}`)),
      make("td", {}, ...behind),
      time ? make("td", {}, seconds(row.seconds)) : "");
  };
  const table = make("table", { class: "ranking" },
    make("thead", {}, make("tr", {}, ...["method", heading(), `${steps()} to the best`, ...(time ? ["seconds"] : [])]
      .map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows.map(line)));
  const even = rows.some((row) => row !== best && row !== zero && row.behind && row.behind[2] >= 0);
  const more = ranking.length - rows.filter((row) => row !== zero).length;
  const brackets = page.metric.rows ? `Intervals over test images are kept of top-1 accuracy alone.`
    : `In brackets: 95 % intervals over test images.${even ? " ≈ is as good as the best within chance." : ""}`;
  const notes = [
    over(one),
    `${brackets}${more > 0 ? ` ${more} more below.` : ""}`,
    unranked(one, best),
    absent(one),
    without(one),
  ].filter(Boolean);
  const title = several ? make("h4", {}, levelName({ ...one, measured: true })) : null;
  return make("article", {}, title,
    make("div", { class: "scroll plain", tabindex: 0, role: "region", "aria-label": `Ranking, ${levelName({ ...one, measured: true })}` }, table),
    make("figure", { class: "chart" }, time ? chart(one) : make("p", { class: "quiet" }, "Measured on several machines: seconds are not compared.")),
    make("ul", { class: "quiet" }, ...notes.map((note) => make("li", {}, note))));
}

/** The head of a column of the chosen number. */
const heading = () => (page.metric.rows ? `${metricName()}, ${unit()}` : "accuracy, %");

/** Which rows have no such number. */
function without(one) {
  const names = distinct((one.without || []).map((r) => shortName(page.board.rows[r])));
  return names.length ? `No ${metricName()}: ${names.join(", ")}.` : "";
}

const seconds = (value) => (value === undefined ? "" : `${+value.toPrecision(2)} s`);

/** Which columns an answer is over. */
function over(one) {
  const { board } = page;
  const differ = ["encoder", "prompts", "support"].filter((key) => distinct(board.columns.map((column) => column[key])).length > 1);
  const names = one.columns.map((c) => ["dataset", ...differ].map((key) => board.columns[c][key]).filter(Boolean).join(", "));
  const all = one.columns.length === one.of;
  const many = names.length > 6 ? `${names.slice(0, 6).join("; ")}; and ${names.length - 6} more` : names.join("; ");
  if (names.length === 1 && all) return `On ${names[0]}.`;
  return `Mean over ${all ? `all ${one.of}` : `the ${names.length} of ${one.of}`} columns${all ? "" : " on which most methods may be compared"}: ${many}.`;
}

/** The best number that is not ranked, where it is better than all that are, and why it is not. */
function unranked(one, best) {
  const { board } = page;
  const found = one.rows.filter((row) => !row.ranked && row.row !== board.zeroShot && better(row.accuracy[0], best.accuracy[0]))
    .sort((a, b) => (better(a.accuracy[0], b.accuracy[0]) ? -1 : 1))[0];
  if (!found) return "";
  const marks = unrankedOn(board.rows[found.row], one.columns);
  return `${shortName(board.rows[found.row])} ${marks} has ${signed(found.accuracy[0] - best.accuracy[0], page.metric.digits)}${page.metric.rows ? "" : ` ${between(found.behind)}`}. ${meaning(marks)}`;
}

function absent(one) {
  const { board } = page;
  const here = new Set(one.rows.map((row) => board.rows[row.row].label));
  const names = distinct(one.leftOut.map((r) => board.rows[r].label).filter((label) => !here.has(label)))
    .map((label) => label.split(", sees ")[0]);
  return names.length ? `Not measured on all of them: ${names.join(", ")}.` : "";
}

/** What is best where images are seen in another way, as buttons that choose it. */
function others(given, at) {
  const { board } = page;
  const found = distinct(board.sections.map((section) => section.group)).filter((group) => group !== given.regime)
    .flatMap((group) => {
      const seen = [given.seen, ...distinct(board.sections.map((section) => section.seen))]
        .find((text) => at.some((one) => answerOf(group, text, one)));
      const one = seen === undefined ? undefined : at.map((each) => answerOf(group, seen, each)).filter(Boolean).at(-1);
      return one ? [{ group, seen, one, best: bestOf(one) }] : [];
    });
  if (!found.length) return null;
  return make("div", { class: "others" }, make("h4", {}, "Other kinds of methods"),
    make("ul", {}, ...found.map(({ group, seen, one, best }) => {
      const gain = best.overZeroShot;
      const button = make("button", { type: "button", class: "link" }, group);
      button.addEventListener("click", () => {
        recall(new URLSearchParams({ regime: group, seen }));
        answer();
        remember();
      });
      return make("li", {}, button, `: ${shortName(board.rows[best.row])} ${figure(best.accuracy[0])}`
        + (gain ? `, ${signed(gain[0], page.metric.digits)} ${gain[0] < 0 ? "from" : "over"} zero-shot` : "") + (at.length > 1 ? ` at ${one.shots}` : "")
        + (seen === given.seen ? "" : `, ${seen}`));
    })));
}

function commands(one, board) {
  const best = one && bestOf(one);
  const row = board.rows[best ? best.row : 0];
  const { setting, shots } = one || board.columns[0];
  const tune = row.tunable ? ` --tune ${row.tuning}` : "";
  const run = `susx-bench run --method ${row.method} --setting ${setting}${tune}`;
  const labelled = setting === "few-shot" && shots ? " --labelled LABELLED" : " --classes cat,dog,horse";
  const classify = ["inductive", "transductive"].includes(row.regime) && !/val|test|published/.test(row.tuning);
  $("commands").replaceChildren(
    ...(classify ? [
      make("p", {}, shots ? "Classify photographs; the labelled ones lie in a folder per class:" : "Classify photographs:"),
      make("pre", { tabindex: 0 }, `susx-bench classify PHOTOS${labelled} --method ${row.method} --encoder ViT-B-32:openai --page --out answers`),
    ] : []),
    make("p", {}, "Measure it on labelled photographs in a folder per class:"),
    make("pre", { tabindex: 0 }, `${run} --dataset ./PHOTOS --encoder ViT-B-32:openai`),
    make("p", {}, "Features that you have, in one safetensors file:"),
    make("pre", { tabindex: 0 }, `${run} --features mine.safetensors`),
    make("p", { class: "quiet" }, "A click on a number below shows the command that measures it again."));
}
