// A new study of training code that the service offers to train.

import { call, chosen, earlier, options } from "../api.js";
import { duration, folded, h, number } from "../dom.js";
import { glossary } from "../words.js";
import { control, fill, isWellFormed, submitted, unsaid, values } from "./fields.js";

const FIRST = ["target", "subject_to", "trials", "replicates", "confirm_replicates", "seed", "name"];
const REST = ["max_lambda", "sampler", "batch", "smallest_gain", "stop_early", "cpus", "gpus"];

/**
 * Show the form for some code, filled with the options of an earlier study if the address names one.
 *
 * @param {HTMLElement} page
 * @param {string} name of the code
 * @param {URLSearchParams} query
 */
export async function showScriptForm(page, name, query) {
  const [schema, offers, again] = await Promise.all([options("ScriptSpec"), call("GET", "/scripts"), earlier(query)]);
  const offer = offers.find((each) => each.name === name);
  page.replaceChildren(h("h2", {}, again ? `${again.name}, again with …` : `New study of ${name}`));
  if (!offer) {
    page.append(h("p", { role: "alert" }, `This service offers you no training code of the name ${name}.`), h("p", {}, h("a", { href: "#/new" }, "A new study of a data set")));
    return () => {};
  }
  const form = made(schema, offer);
  page.append(about(offer), form.element, glossary("λ", "λ*", "alignment", "seed", "confirming seeds", "validation rows", "test rows"));
  if (again) fill(form, chosen(again, schema));
  return () => {};
}

function about({ about: words, studies, cpus, gpus, timeout }) {
  const taken = [`${cpus} CPU${cpus > 1 ? "s" : ""}`, gpus > 0 && `${number(gpus)} GPU${gpus > 1 ? "s" : ""}`, timeout && `${duration(timeout)}`];
  return h("div", {}, words && h("p", {}, words), h("p", { class: "soft" }, `A training takes ${taken.filter(Boolean).join(", ")} at most; you may have ${studies} unfinished `,
    studies > 1 ? "studies" : "study", " of it."));
}

function made(schema, offer) {
  const limits = { cpus: { ...schema.cpus, maximum: offer.cpus, default: offer.cpus }, gpus: { ...schema.gpus, maximum: offer.gpus, default: offer.gpus } };
  const form = { schema: { ...schema, ...limits } };
  const fields = (names) => h("div", { class: "fields" }, names.map((each) => control(form, each)));
  form.summary = h("div", { class: "problem", role: "alert", tabindex: -1 });
  form.send = h("button", {}, "Submit");
  form.element = h("form", { novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(form, offer.name); } },
    h("fieldset", {}, h("legend", {}, "What to try"), fields(FIRST)), folded("Everything else", fields(REST)), form.summary, h("p", {}, form.send));
  form.element.addEventListener("input", ({ target }) => target.name && unsaid(form, target.name));
  return form;
}

async function submit(form, script) {
  unsaid(form);
  if (!isWellFormed(form)) return form.element.querySelector("[aria-invalid]")?.focus();
  await submitted(form, "/studies/scripts", { json: { script, options: values(form) } }, "Submitting …");
}
