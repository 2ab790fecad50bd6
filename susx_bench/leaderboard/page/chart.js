// Accuracy against seconds, with the line of what nothing beats in both.

const SIZE = { width: 560, height: 330, left: 46, right: 16, top: 14, bottom: 44 };

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS($("blank").namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Places of ticks: 1, 2 and 5 times powers of ten where `log`, else round steps. */
function ticks(low, high, log) {
  const found = [];
  if (log) {
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      for (const digit of [1, 2, 5]) found.push(digit * 10 ** power);
    }
    const inside = found.filter((x) => x >= low && x <= high);
    return inside.length > 7 ? inside.filter((x) => /^1/.test(x.toExponential())) : inside;
  }
  const rough = (high - low) / 5;
  const step = [1, 2, 5, 10].map((digit) => digit * 10 ** Math.floor(Math.log10(rough))).find((one) => one >= rough);
  for (let y = Math.ceil(low / step) * step; y <= high + 1e-9; y += step) found.push(y);
  return found;
}

/** The worst value in the picture, more being better: what lies further below would flatten the others. */
function floor(values) {
  const ordered = [...values].sort((a, b) => a - b);
  const quartile = ordered[Math.floor(ordered.length / 4)];
  const reach = Math.max(ordered.at(-1) - quartile, 10 ** (1 - page.metric.digits));
  return ordered.find((value) => value >= quartile - reach);
}

function chart(one) {
  const { board } = page;
  const { width, height, left, right, top, bottom } = SIZE;
  const sign = page.metric.lower ? -1 : 1; // better is up
  const points = one.rows.filter((row) => row.seconds > 0).map((row) => ({
    ...row, of: board.rows[row.row], x: row.seconds, y: sign * row.accuracy[0], zero: row.row === board.zeroShot,
  }));
  if (points.length < 2) return "";
  const lowest = floor(points.map((point) => point.y));
  const shown = points.filter((point) => point.y >= lowest);
  const below = points.filter((point) => point.y < lowest);
  const front = [];
  for (const point of [...shown].sort((a, b) => a.x - b.x || b.y - a.y)) {
    if ((point.ranked || point.zero) && point.y > (front.at(-1)?.y ?? -Infinity)) front.push(point);
  }
  const xs = shown.map((point) => point.x);
  const ys = shown.map((point) => point.y);
  const [xLow, xHigh] = [Math.min(...xs) / 1.6, Math.max(...xs) * 1.9];
  const pad = Math.max((Math.max(...ys) - Math.min(...ys)) * 0.09, 0.3 / 10 ** (page.metric.digits - 1));
  const [yLow, yHigh] = [Math.min(...ys) - pad, Math.max(...ys) + pad];
  const at = {
    x: (value) => left + ((width - left - right) * Math.log(value / xLow)) / Math.log(xHigh / xLow),
    y: (value) => height - bottom - ((height - top - bottom) * (value - yLow)) / (yHigh - yLow),
  };
  const grid = [
    ...ticks(xLow, xHigh, true).flatMap((x) => [
      svg("line", { x1: at.x(x), x2: at.x(x), y1: top, y2: height - bottom, class: "grid" }),
      svg("text", { x: at.x(x), y: height - bottom + 16, "text-anchor": "middle" }, String(+x.toPrecision(2))),
    ]),
    ...ticks(yLow, yHigh, false).flatMap((y) => [
      svg("line", { x1: left, x2: width - right, y1: at.y(y), y2: at.y(y), class: "grid" }),
      svg("text", { x: left - 6, y: at.y(y) + 4, "text-anchor": "end" }, String(+(sign * y).toFixed(page.metric.digits))),
    ]),
    svg("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, `seconds per column, logarithmic · ${one.device}`),
    svg("text", { x: left + 4, y: top + 8 }, heading() + (page.metric.lower ? ", lower is better" : "")),
  ];
  const steps = front.map((point, i) => (i ? `H${at.x(point.x).toFixed(1)}V${at.y(point.y).toFixed(1)}` : `M${at.x(point.x).toFixed(1)} ${at.y(point.y).toFixed(1)}`)).join("");
  const line = svg("path", { d: `${steps}H${width - right}`, class: "front" });
  const best = bestOf(one);
  const said = (point) => figure(sign * point.y).replace("\u00a0", " ");
  const name = (point) => shortName(point.of) + (point.of.tunable ? ` · ${point.of.tuning}` : "") + (point.ranked || point.zero ? "" : ` ${unrankedOn(point.of, one.columns)}`);
  const hollow = shown.filter((point) => !point.ranked && !point.zero).map((point) => unrankedOn(point.of, one.columns)).join("");
  const dots = shown.map((point) => svg("circle", {
    cx: at.x(point.x), cy: at.y(point.y), r: point.row === best.row ? 6 : 4.5,
    class: [point.zero ? "zero" : point.ranked ? "ranked" : "hollow", front.includes(point) ? "on" : ""].join(" ").trim(),
  }, svg("title", {}, `${name(point)}: ${said(point)} in ${seconds(point.x)}`)));
  const labels = placed(shown, front, best, name, at);
  const what = page.metric.rows ? metricName() : "accuracy";
  const told = `${what[0].toUpperCase()}${what.slice(1)} against seconds. Nothing ranked is both faster and better than ${front.map(name).join(", ")}.`
    + (below.length ? ` Below the picture: ${below.map((point) => `${name(point)} with ${said(point)}`).join(", ")}.` : "")
    + (hollow ? ` Hollow: not ranked. ${meaning(hollow)}` : "");
  const fragment = document.createDocumentFragment();
  fragment.append(
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told }, ...grid, line, ...dots, ...labels),
    make("figcaption", {}, told));
  return fragment;
}

/** Names beside their points, those of the front first, as far as they do not lie on one another. */
function placed(shown, front, best, name, at) {
  const letter = matchMedia("(max-width: 36rem)").matches ? 8.4 : 6.3;
  const { width, right, left, top, height, bottom } = SIZE;
  const taken = shown.map((point) => [at.x(point.x) - 5, at.y(point.y) - 5, at.x(point.x) + 5, at.y(point.y) + 5]);
  const weight = (point) => (point.row === best.row ? 0 : point.of.own ? 1 : front.includes(point) ? 2 : point.zero ? 3 : point.ranked ? 5 : 4);
  const seen = new Set();
  const found = [];
  for (const point of [...shown].sort((a, b) => weight(a) - weight(b) || b.y - a.y)) {
    const text = name(point);
    const key = `${point.of.label}${point.ranked}`;
    if (weight(point) >= 4 && seen.has(key)) continue; // one name per method, but on the front
    const wide = letter * text.length;
    const [x, y] = [at.x(point.x), at.y(point.y)];
    const spots = [[x + 8, y + 4, "start"], [x - 8, y + 4, "end"], [x, y - 9, "middle"], [x, y + 18, "middle"], [x + 7, y - 7, "start"], [x - 7, y - 7, "end"], [x + 7, y + 15, "start"], [x - 7, y + 15, "end"]];
    for (const [tx, ty, anchor] of spots) {
      const from = anchor === "start" ? tx : anchor === "end" ? tx - wide : tx - wide / 2;
      const box = [from, ty - 10, from + wide, ty + 3];
      const inside = box[0] >= left && box[2] <= width - right + 12 && box[1] >= top - 4 && box[3] <= height - bottom;
      if (!inside || taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
      taken.push(box);
      seen.add(key);
      found.push(svg("text", { x: tx, y: ty, "text-anchor": anchor, class: front.includes(point) ? "name on" : "name" }, text));
      break;
    }
  }
  return found;
}
