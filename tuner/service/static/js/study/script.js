// A study of training code: its targets are its own, and others train for it.

import { gains, lambdaCurve, tradeoff } from "../chart.js";
import { code, folded, grid, h, interval, number } from "../dom.js";
import { pageWords, term, tone } from "../words.js";

/** Whether a study is of training code. */
export const isScript = (study) => Boolean(study.spec.script);

/** Whether its code is trained elsewhere, and is none that the service offers. */
export const isElsewhere = (study) => isScript(study) && !study.source;

/** The answer for the target that the search went by, as that of both modalities is elsewhere. */
export const mainAnswer = (result) => result.joint ?? { ...result.targets[result.main], ...result.targets[result.main].test };

const targetsOf = (result) => [result.main, ...Object.keys(result.targets).filter((target) => target !== result.main)];

/** What to do first, then the answer for each target. */
export function scriptAnswered(result, schema) {
  const main = mainAnswer(result);
  return [
    h("p", { class: "headline", id: "headline" }, result.headline),
    h("div", { class: "warnings" }, (result.warnings || []).map((text) => h("p", {}, pageWords(text, schema)))),
    h("div", { class: "cards" }, targetsOf(result).map((target) => card(target, result.targets[target], schema))),
    gains([{ name: result.main, ...main }], result.main, main.smallest_gain ?? null),
  ];
}

function card(target, answer, schema) {
  const { gain, gain_interval: ends } = answer.test;
  const sure = ends ? ` [${interval(ends)}]` : "";
  return h("article", { class: `card ${tone(answer.verdict)}` },
    h("h3", {}, target),
    h("p", { class: "verdict" }, answer.verdict),
    h("p", {}, term("λ*"), ` = ${number(answer.lambda)}; the best λ lies in ${interval(answer.interval)} (95 %).`),
    gain !== null && h("p", {}, term("gain", "Gain"), ` at λ = ${number(answer.candidate)}: ${number(gain)}${sure}.`),
    folded("Evidence", h("p", {}, pageWords(answer.evidence, schema))));
}

/** The λ-curve of each target; none before there is an answer. */
export function scriptCurves(result, maximum) {
  if (!result) return [];
  const curve = (target) => lambdaCurve({
    title: target, maximum, metric: target, answer: result.targets[target],
    points: result.curve.map((point) => ({ lambda: point.lambda, ...point.scores[target] })),
    band: result.curve_model && { lambda: result.curve_model.lambda, ...result.curve_model.scores[target] },
  });
  return [h("h3", {}, "The λ-curve"), ...targetsOf(result).map(curve), ...tradeoffs(result),
    h("p", { class: "soft" }, "Mean scores on validation rows during the search. The axis of λ is stretched near 0.")];
}

/** The first target that is no mean of others against the others, three at most, as the report draws them. */
function tradeoffs(result) {
  const [first, ...others] = Object.keys(result.targets).filter((target) => !result.targets[target].mean_of?.length);
  const strength = result.targets[result.main].lambda;
  return others.slice(0, 3).map((other) => {
    const names = [first, other];
    const model = result.curve_model;
    const modelled = model ? model.lambda.map((_, n) => names.map((name) => model.scores[name].mean[n])) : [];
    const points = result.curve.map((point) => ({ lambda: point.lambda, scores: names.map((name) => point.scores[name]) }));
    const star = strength > 0 && model ? between(model.lambda, modelled, strength) : points[0].scores.map(({ mean }) => mean);
    return tradeoff(`${other} against ${first}`, { names, points, model: modelled, star });
  });
}

/** What lies at a λ, straight between those beside it. */
function between(strengths, values, strength) {
  const n = Math.max(1, strengths.findIndex((each) => each >= strength));
  const share = (strength - strengths[n - 1]) / (strengths[n] - strengths[n - 1]);
  return values[n].map((value, k) => values[n - 1][k] + share * (value - values[n - 1][k]));
}

/** What the best confirming training saved, and how to load it; nothing if it saved nothing. */
export function scriptModel(result) {
  const { saved, model, mlflow } = result;
  if (!saved) return null;
  const known = mlflow?.tracking_uri ?? "";
  const from = known.startsWith("http") ? `mlflow.set_tracking_uri("${known}")\n` : ""; // else a file that is not the reader's
  return h("section", {}, h("h3", {}, "The model"),
    h("p", {}, "What the best confirming training saved, where it was trained: ", h("code", {}, saved)),
    model && folded("To have it from MLflow's registry", code(`import mlflow\n${from}`
      + `folder = mlflow.artifacts.download_artifacts("models:/${model.name}/${model.version}")  # as it was saved`, "code for MLflow")));
}

/** Every λ that was tried. */
export function scriptTrials(result) {
  const cells = ({ mean, sem }) => `${mean.toFixed(4)} ± ${sem.toFixed(4)}`;
  const targets = targetsOf(result);
  return folded("Every λ that was tried", grid("Trials", ["λ", "seeds", ...targets],
    result.curve.map((point) => [number(point.lambda), point.replicates, ...targets.map((target) => cells(point.scores[target]))])));
}

/** Which code it is of, and how it is trained. */
export function scriptSettings(study) {
  const { command, digest } = study.spec.script;
  const rows = ["trials", "replicates", "confirm_replicates", "seed"].map((name) => [name.replaceAll("_", " "), study.spec[name]]);
  const service = new URL(".", document.baseURI).href.replace(/\/$/, "");
  return folded("How it was asked", grid("Options", ["option", "value"], rows),
    isElsewhere(study) && [h("p", { class: "soft" }, "What trains for it, with the command of the code in place of COMMAND:"),
      code(`tuner agent ${service} ${study.id} -- COMMAND`, "command")],
    h("p", { class: "soft" }, "study ", h("code", {}, study.study), ", code ", h("code", {}, command.join(" ")), " of ", h("code", {}, digest)));
}
