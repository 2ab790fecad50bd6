// One number, and the records it comes from.

function record(place, { fields, versions, records }) {
  const found = Object.fromEntries(fields.map((field, i) => [field, records[place][i]]));
  return { ...found, versions: versions[found.versions] };
}

/** Where the page of a record's images is made, from the folder of this page. */
const gallery = (path) => `galleries/${path.split("/").at(-1).replace(/\.json$/, "")}`;

const quoted = (text) => (/^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function pairs(entries) {
  return make("dl", {}, ...entries.filter(([, text]) => text !== null && text !== undefined && text !== "")
    .flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
}

async function details(r, c, from) {
  const { board } = page;
  const records = await read(`records-${board.name}`);
  if (board !== page.board) return;
  const [row, column] = [board.rows[r], board.columns[c]];
  const cell = row.cells[c];
  const runs = records ? cell.records.map((place) => record(place, records)) : [];
  const several = cell.records.length > 1;
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
    ["95 % interval", `${fixed(cell.low, 2)} to ${fixed(cell.high, 2)}` + (several ? `, over ${cell.records.length} runs` : ", Wilson")],
    ...(cell.alike || []).map((told) => ["same draws", told]),
    ["mean over classes", `${fixed(cell.perClass, 2)} %`],
    ...(board.metrics || []).filter((one) => one.rows && one.name !== "mean_per_class").map((one) => {
      const other = one.rows[r][2][c];
      return [one.heading.replace(/ in (%|points|nats).*$/, ""), other && `${fixed(other[0], one.digits + 1)} ${one.heading.match(/ in (%|points|nats)/)[1]}`];
    }),
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
      make("span", { class: "quiet" }, several ? ` ± ${fixed(cell.spread, 2)} over ${cell.records.length} runs` : ` of ${column.n_test.toLocaleString("en")} test images`)),
    facts,
    ...runs.map((run) => runDetails(run, several)),
    ...(records ? [] : [make("p", {}, `data/records-${board.name}.js does not lie beside this page.`)]),
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
    ...(run.protocol === "bundle" ? [] : [ // of features there are no images to look at
      make("p", { class: "quiet" }, "A page of its mistakes, image by image, from the folder of this page:"),
      make("pre", { tabindex: 0, "aria-label": "Command that shows its mistakes" }, `susx-bench records show ${quoted(run.path)} --out ${quoted(gallery(run.path))}`),
      make("p", { class: "quiet" }, "Once it is made: ", make("a", { href: `${gallery(run.path).split("/").map(encodeURIComponent).join("/")}/index.html` }, "its mistakes, image by image")),
    ]),
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
