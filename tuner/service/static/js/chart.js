// Pictures, drawn as wide as there is room: the λ-curve, gains, and scores of several studies.

import { h, interval, number, svg } from "./dom.js";

const KNEE = 0.1; // of the stretched axis of λ: tuner/study/space.py
const TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];
const ROOM = 0.085; // of the axis, so that labels do not touch
const MARGIN = { left: 56, right: 14, top: 12, bottom: 42 };

/** Place of λ on its axis, which is linear near 0 and logarithmic far from it. */
const unit = (strength, maximum) => Math.log1p(strength / KNEE) / Math.log1p(maximum / KNEE);

function strengthTicks(maximum) {
  const ticks = [0];
  for (const tick of TICKS) {
    const at = unit(tick, maximum);
    if (tick < maximum && Math.min(at - unit(ticks.at(-1), maximum), 1 - at) >= ROOM) ticks.push(tick);
  }
  return [...ticks, maximum];
}

/** Round numbers that lie in a range, about so many of them. */
function roundTicks(low, high, wanted = 5) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, n) => (first + n) * step);
}

/** A picture that is drawn anew when its place becomes wider or narrower. */
function responsive(draw) {
  const place = h("div", { class: "chart" });
  let drawn = 0;
  new ResizeObserver(([{ contentRect }]) => {
    const width = Math.round(contentRect.width);
    if (!width || width === drawn) return;
    drawn = width;
    place.replaceChildren(draw(Math.max(240, width)));
  }).observe(place);
  return place;
}

/** A picture with what its marks mean below it. */
function figure(title, draw, legend, note) {
  return h("figure", {}, h("figcaption", {}, title), responsive(draw),
    h("ul", { class: "legend" }, legend.map(([mark, words]) => h("li", {}, swatch(mark), words))),
    note && h("p", { class: "soft" }, note));
}

function swatch(mark) {
  const classes = mark.split(" ");
  const shape = classes.includes("area") ? svg("rect", { x: 1, y: 3, width: 22, height: 8, class: mark })
    : classes.includes("ring") ? svg("circle", { cx: 12, cy: 7, r: 5.5, class: mark })
    : classes.includes("dot") ? svg("g", {}, svg("line", { x1: 12, x2: 12, y1: 1, y2: 13, class: "error" }), svg("circle", { cx: 12, cy: 7, r: 4, class: mark }))
      : svg("line", { x1: 1, x2: 23, y1: 7, y2: 7, class: mark });
  return svg("svg", { width: 24, height: 14, "aria-hidden": "true" }, shape);
}

/** Scales of a picture, and its frame with both axes. */
function frame({ width, height, low, high, xTicks, xLabel, yLabel, label, isEmpty }) {
  const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  const x = (share) => MARGIN.left + share * inner.width;
  const y = (value) => MARGIN.top + (1 - (value - low) / (high - low)) * inner.height;
  const yTicks = isEmpty ? [] : roundTicks(low, high);
  const digits = Math.max(0, -Math.floor(Math.log10(yTicks[1] - yTicks[0] || 1) + 1e-9) || 0);
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    yTicks.map((tick) => [
      svg("line", { x1: x(0), x2: x(1), y1: y(tick), y2: y(tick), class: "gridline" }),
      svg("text", { x: x(0) - 6, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(digits).replace("-", "−"))]),
    xTicks.map(([share, words]) => [
      svg("line", { x1: x(share), x2: x(share), y1: y(low), y2: y(low) + 4, class: "axis" }),
      svg("text", { x: x(share), y: y(low) + 18, "text-anchor": "middle" }, words)]),
    svg("line", { x1: x(0), x2: x(1), y1: y(low), y2: y(low), class: "axis" }),
    svg("text", { x: x(0.5), y: height - 6, "text-anchor": "middle" }, xLabel),
    svg("text", { transform: `translate(13 ${MARGIN.top + inner.height / 2}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
  return { picture, x, y };
}

const path = (points) => points.map(([x, y], n) => `${n ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function padded(values) {
  const low = Math.min(...values), high = Math.max(...values);
  const pad = (high - low) * 0.08 || Math.abs(high) * 0.05 || 0.5;
  return [low - pad, high + pad];
}

const quantile = (values, share) => [...values].sort((one, other) => one - other)[Math.round(share * (values.length - 1))];

/** Leave what diverged off the axis: four times the spread of the means, or their noise, away from them. */
function withinReach(values, means, noise = 0) {
  const [low, high] = [quantile(means, 0.25), quantile(means, 0.75)];
  const reach = 4 * Math.max(high - low, noise) || Infinity;
  return values.filter((value) => value >= low - reach && value <= high + reach);
}

const strengthAxis = (maximum) => strengthTicks(maximum).map((tick) => [unit(tick, maximum), number(tick, 2)]);

/**
 * The λ-curve of one target, as the report draws it.
 *
 * @param {{title: any, points: {lambda: number, mean: number, sem: number}[], maximum: number,
 *   metric: string, answer?: any, band?: {lambda: number[], mean: number[], low: number[], high: number[]},
 *   height?: number}} told the answer and the model's band, where there are any yet
 */
export function lambdaCurve({ title, points, maximum, metric, answer, band, height = 300 }) {
  const baseline = points.find((point) => point.lambda === 0);
  const draw = (width) => {
    const [low, high] = heights(points, band);
    const label = described(metric, points, answer);
    const { picture, x, y } = frame({ width, height, low, high, label, xTicks: strengthAxis(maximum),
      xLabel: "alignment strength λ", yLabel: `${metric}, validation rows`, isEmpty: !points.length });
    const at = (strength) => x(unit(Math.min(strength, maximum), maximum));
    const line = (from, to, kind) => svg("line", { x1: from[0], y1: from[1], x2: to[0], y2: to[1], class: kind });
    const clip = (value) => y(Math.max(low, Math.min(high, value)));
    picture.append(...[
      !points.length && svg("text", { x: x(0.5), y: y(0.5), "text-anchor": "middle" }, "The first λ is not trained yet."),
      answer && choiceMarks(answer, at, y(high), y(low), line),
      baseline && line([x(0), clip(baseline.mean)], [x(1), clip(baseline.mean)], "baseline"),
      band && svg("path", { class: "area band", d: `${path([
        ...band.lambda.map((strength, n) => [at(strength), clip(band.low[n])]),
        ...band.lambda.map((strength, n) => [at(strength), clip(band.high[n])]).reverse()])}Z` }),
      band && svg("path", { class: "model", d: path(band.lambda.map((strength, n) => [at(strength), clip(band.mean[n])])) }),
      !band && svg("path", { class: "model thin", d: path(points.map((point) => [at(point.lambda), clip(point.mean)])) }),
      points.map(({ lambda: strength, mean, sem }) => svg("g", {},
        svg("title", {}, `λ = ${number(strength)}: ${mean.toFixed(4)} ± ${sem.toFixed(4)}`),
        line([at(strength), clip(mean - sem)], [at(strength), clip(mean + sem)], "error"),
        svg("circle", { cx: at(strength), cy: clip(mean), r: 4.5, class: "dot" }))),
    ].flat(2).filter(Boolean));
    return picture;
  };
  return figure(title, draw, curveLegend(points, answer, band, baseline));
}

/** Both ends of the axis of scores. */
function heights(points, band) {
  if (!points.length) return [0, 1];
  const ends = points.flatMap(({ mean, sem }) => [mean - sem, mean, mean + sem]);
  const noise = quantile([...points.map(({ sem }) => sem), ...(band ? band.high.map((high, n) => (high - band.low[n]) / 2) : [])], 0.5);
  return padded(withinReach([...ends, ...(band ? [...band.low, ...band.high] : [])], points.map(({ mean }) => mean), noise));
}

function choiceMarks(answer, at, top, bottom, line) {
  const [from, to] = answer.interval.map(at);
  const marks = [svg("rect", { x: from - 2, width: to - from + 4, y: top, height: bottom - top, class: "area chosen" })];
  if (answer.candidate !== answer.lambda) marks.push(line([at(answer.candidate), top], [at(answer.candidate), bottom], "tested"));
  marks.push(line([at(answer.lambda), top], [at(answer.lambda), bottom], "star"));
  return marks;
}

function curveLegend(points, answer, band, baseline) {
  const legend = [["dot", points.length ? "mean over seeds ± standard error" : "scores, as they come in"]];
  if (band) legend.push(["model", "model of the curve"], ["area band", "its 95 % band"]);
  if (baseline) legend.push(["baseline", `λ = 0: ${baseline.mean.toFixed(3)}`]);
  if (!answer) return legend;
  legend.push(["star", `λ* = ${number(answer.lambda)}`], ["area chosen", `best λ, 95 %: ${interval(answer.interval)}`]);
  if (answer.candidate !== answer.lambda) legend.push(["tested", `λ tested against 0: ${number(answer.candidate)}`]);
  return legend;
}

function described(metric, points, answer) {
  const told = `${metric} on validation rows at ${points.length} values of λ`;
  return answer ? `${told}; λ* is ${number(answer.lambda)}, the best λ lies in ${interval(answer.interval)}` : told;
}

/**
 * Gains on test rows with their intervals, against none and against the smallest worth having.
 *
 * @param {{name: string, gain: number|null, gain_interval: number[]|null}[]} rows
 * @param {string} metric
 * @param {number|null} smallest the smallest gain worth having
 */
export function gains(rows, metric, smallest) {
  const shown = rows.filter(({ gain }) => gain !== null);
  const draw = (width) => {
    const values = [0, smallest ?? 0, ...shown.flatMap(({ gain, gain_interval: ends }) => ends ?? [gain])];
    const [low, high] = padded(values);
    const left = 128, right = 14, step = 38, height = shown.length * step + 44;
    const x = (value) => left + ((value - low) / (high - low)) * (width - left - right);
    const bottom = height - 40;
    const upright = (value, kind) => svg("line", { x1: x(value), x2: x(value), y1: 0, y2: bottom, class: kind });
    const ticks = roundTicks(low, high, width < 500 ? 3 : 5);
    return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": gainsInWords(shown) },
      ticks.map((tick) => svg("text", { x: x(tick), y: bottom + 16, "text-anchor": "middle" }, number(tick, 2))),
      svg("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, `gain in ${metric}, test rows`),
      upright(0, "axis"), smallest && upright(smallest, "baseline"),
      shown.map(({ name, gain, gain_interval: ends }, n) => {
        const y = n * step + 20;
        return [svg("text", { x: 0, y: y + 4 }, name),
          ends && svg("line", { x1: x(ends[0]), x2: x(ends[1]), y1: y, y2: y, class: "error wide" }),
          svg("circle", { cx: x(gain), cy: y, r: 5.5, class: "dot" })];
      }));
  };
  const legend = [["dot", "mean gain, with its 95 % interval"], ["axis", "no gain"]];
  if (smallest) legend.push(["baseline", `smallest gain worth having: ${number(smallest)}`]);
  return figure("Gain of the λ tested over λ = 0", draw, legend);
}

const gainsInWords = (rows) => rows.map(({ name, gain, gain_interval: ends }) =>
  `${name}: gain ${number(gain)}${ends ? `, 95 % interval ${interval(ends)}` : ""}`).join("; ");

/**
 * Several lines over λ: similarities of one study, or scores of several.
 *
 * @param {string} title
 * @param {{name: string, points: {lambda: number, mean: number, sem?: number}[], star?: number}[]} series
 * @param {{maximum: number, label: string}} axes
 */
export function overlaid(title, series, { maximum, label }) {
  const draw = (width) => {
    const ends = series.flatMap(({ points }) => points.flatMap(({ mean, sem = 0 }) => [mean - sem, mean + sem]));
    const [low, high] = padded(withinReach(ends, ends));
    const words = `${label} by λ of ${series.map(({ name }) => name).join(", ")}`;
    const { picture, x, y } = frame({ width, height: 320, low, high, label: words, xTicks: strengthAxis(maximum),
      xLabel: "alignment strength λ", yLabel: label });
    const clip = (value) => y(Math.max(low, Math.min(high, value)));
    picture.append(...series.flatMap(({ name, points, star }, n) => {
      const placed = points.map((point) => ({ ...point, at: x(unit(point.lambda, maximum)) }));
      return [
        svg("path", { class: `series s${n}`, d: path(placed.map(({ at, mean }) => [at, clip(mean)])) }),
        ...placed.map(({ at, lambda: strength, mean, sem = 0 }) => svg("g", { class: `series s${n}` },
          svg("title", {}, `${name}, λ = ${number(strength)}: ${mean.toFixed(4)}`),
          svg("line", { x1: at, x2: at, y1: clip(mean - sem), y2: clip(mean + sem) }),
          svg("circle", { cx: at, cy: clip(mean), r: 3.5 }))),
        ...(star === undefined ? [] : [svg("path", { class: `series mark s${n}`, d: `M${x(unit(star, maximum))} ${y(low) - 1 - n * 11}l-5 -9h10z` })]),
      ];
    }));
    return picture;
  };
  return figure(title, draw, series.map(({ name }, n) => [`series s${n}`, name]));
}

/**
 * Two targets against each other along λ: what one gives up where the other gains.
 *
 * @param {string} title
 * @param {{names: [string, string], points: {lambda: number, scores: {mean: number, sem: number}[]}[],
 *   model: [number, number][], star: [number, number]}} told scores and model by target, in the order of `names`
 */
export function tradeoff(title, { names, points, model, star }) {
  const draw = (width) => {
    const ends = (n) => points.flatMap(({ scores }) => [scores[n].mean - scores[n].sem, scores[n].mean + scores[n].sem]);
    const [left, right] = padded(ends(0)), [low, high] = padded(ends(1));
    const share = (value) => Math.max(0, Math.min(1, (value - left) / (right - left)));
    const ticks = roundTicks(left, right, width < 500 ? 3 : 5);
    const words = `${names[1]} against ${names[0]} at ${points.length} values of λ`;
    const { picture, x, y } = frame({ width, height: 320, low, high, label: words,
      xTicks: ticks.map((tick) => [share(tick), number(tick)]), xLabel: `${names[0]}, validation rows`, yLabel: `${names[1]}, validation rows` });
    const at = ([one, other]) => [x(share(one)), y(Math.max(low, Math.min(high, other)))];
    const line = ([x1, y1], [x2, y2]) => svg("line", { x1, y1, x2, y2, class: "error" });
    const named = []; // points with a label, which do not touch: first both ends
    for (const n of [0, points.length - 1, ...points.keys()]) {
      const [cx, cy] = at(points[n].scores.map(({ mean }) => mean));
      if (named.every((each) => Math.hypot(cx - each.cx, cy - each.cy) > 30)) named.push({ n, cx, cy });
    }
    picture.append(
      ...(model.length ? [svg("path", { class: "model", d: path(model.map(at)) })] : []),
      ...points.map(({ lambda: strength, scores: [one, other] }, n) => {
        const [cx, cy] = at([one.mean, other.mean]);
        const isRight = cx > width - 80;
        return svg("g", {}, svg("title", {}, `λ = ${number(strength)}: ${names[0]} ${one.mean.toFixed(4)}, ${names[1]} ${other.mean.toFixed(4)}`),
          line(at([one.mean - one.sem, other.mean]), at([one.mean + one.sem, other.mean])),
          line(at([one.mean, other.mean - other.sem]), at([one.mean, other.mean + other.sem])),
          svg("circle", { cx, cy, r: 4.5, class: "dot" }),
          named.some((each) => each.n === n)
            && svg("text", { x: cx + (isRight ? -8 : 8), y: cy - 7, "text-anchor": isRight ? "end" : "start" }, `λ = ${number(strength)}`));
      }),
      svg("circle", { cx: at(star)[0], cy: at(star)[1], r: 8, class: "ring" }));
    return picture;
  };
  const legend = [["dot", "mean over seeds ± standard error, with its λ"], ["ring", "at λ*"]];
  return figure(title, draw, model.length ? [...legend, ["model", "model of the curves"]] : legend);
}

/**
 * Scores of trials against λ.
 *
 * @param {string} title
 * @param {{lambda: number, score: number, words: string}[]} trials
 */
export function scatter(title, trials, { maximum, label, best }) {
  const draw = (width) => {
    const [low, high] = padded(withinReach(trials.map(({ score }) => score), trials.map(({ score }) => score)));
    const { picture, x, y } = frame({ width, height: 280, low, high, label: `${label} of ${trials.length} trials by λ`,
      xTicks: strengthAxis(maximum), xLabel: "alignment strength λ", yLabel: label });
    picture.append(...trials.map((trial) => svg("circle", { cx: x(unit(trial.lambda, maximum)),
      cy: y(Math.max(low, Math.min(high, trial.score))), r: 4.5, class: trial === best ? "dot best" : "dot" }, svg("title", {}, trial.words))));
    return picture;
  };
  return figure(title, draw, [["dot", "one trial"], ["dot best", "the best"]]);
}

/**
 * Parallel coordinates: an axis for each setting, a line for each trial; better ones darker.
 *
 * @param {string} title
 * @param {{name: string, isLog: boolean}[]} axes the last is the score
 * @param {{values: Record<string, number>, goodness: number, words: string}[]} trials goodness in [0, 1]
 */
export function parallel(title, axes, trials) {
  const draw = (width) => {
    const isTight = width < 100 * axes.length; // names of neighbours take two lines
    const height = 280, top = isTight ? 50 : 34, bottom = height - 24, side = 44;
    const scaled = ({ name, isLog }) => {
      const values = trials.map((trial) => (isLog ? Math.log(trial.values[name]) : trial.values[name]));
      const low = Math.min(...values), high = Math.max(...values);
      return { name, low, high, back: (value) => (isLog ? Math.exp(value) : value),
        y: (n) => bottom - ((high === low ? 0.5 : (values[n] - low) / (high - low))) * (bottom - top) };
    };
    const scales = axes.map(scaled);
    const x = (n) => side + (n * (width - 2 * side)) / (axes.length - 1);
    const order = trials.map((_, n) => n).sort((one, other) => trials[one].goodness - trials[other].goodness);
    return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `${trials.length} trials over ${axes.map(({ name }) => name).join(", ")}` },
      order.map((n) => svg("path", { class: n === order.at(-1) ? "trial best" : "trial", "stroke-opacity": 0.2 + 0.6 * trials[n].goodness,
        d: path(scales.map((scale, k) => [x(k), scale.y(n)])) }, svg("title", {}, trials[n].words))),
      scales.map((scale, k) => [
        svg("line", { x1: x(k), x2: x(k), y1: top, y2: bottom, class: "axis" }),
        svg("text", { x: x(k), y: isTight && k % 2 ? 28 : 12, "text-anchor": "middle" }, scale.name.replaceAll("_", " ")),
        svg("text", { x: x(k), y: top - 6, "text-anchor": "middle", class: "small" }, number(scale.back(scale.high), 2)),
        svg("text", { x: x(k), y: bottom + 14, "text-anchor": "middle", class: "small" }, number(scale.back(scale.low), 2))]));
  };
  return figure(title, draw, [["trial best", "the best trial"], ["trial", "one trial; the better, the darker"]]);
}
