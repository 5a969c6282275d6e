// The fields of a new study, made of what the service says of its options, and what is wrong beside each.

import { call } from "../api.js";
import { bullets, choice, field, h } from "../dom.js";

export const DATA = ["a", "b", "y", "split", "group"]; // chosen among the arrays of the file
const ENCODERS = ["auto", "mlp", "transformer", "cnn", "vit", "logmel-transformer", "logmel-cnn", "text", "tokens"];
const LINES = ["target", "subject_to"]; // texts that may hold commas
const OF_ONE_STUDY = ["warm_start", "prior", "name"];
// A service runs no encoders of others: what the command says of those is no help here.
const HELP = { encoder_a: "auto is by the shape of a row: mlp for features, transformer for sequences, cnn for images" };

/** A field of an option, made of what the service says of it. */
export function control(form, name) {
  const schema = form.schema[name];
  if (!schema) return null;
  const input = DATA.includes(name) ? choice(name, [["", "by its name"]]) : typed(name, schema);
  const made = placed(schema.title, input, HELP[name] ?? schema.description);
  if (input.type === "checkbox") made.classList.add("check");
  return made;
}

/** A field with room for what is wrong with it. */
export function placed(label, input, help) {
  const made = field(label, input, help);
  made.dataset.field = input.name;
  made.append(h("span", { class: "problem", id: `${input.id}-problem` }));
  return made;
}

function typed(name, schema) {
  const told = schema.default;
  if (name.startsWith("encoder_")) return choice(name, ENCODERS.map((each) => [each, each]), told);
  if (schema.enum) return choice(name, schema.enum.map((each) => [each, each]), told);
  if (schema.type === "boolean") return h("input", { type: "checkbox", name });
  if (schema.type === "array" && (schema.items.enum)) {
    const made = h("select", { name, multiple: true, size: schema.items.enum.length },
      schema.items.enum.map((each) => h("option", { value: each, selected: told?.includes(each) }, each.replaceAll("_", " "))));
    return made;
  }
  if (schema.type === "integer" || schema.type === "number") {
    return h("input", { type: "number", name, min: schema.minimum ?? schema.exclusiveMinimum, max: schema.maximum,
      step: schema.type === "integer" ? 1 : "any", placeholder: told ?? "none" });
  }
  if (LINES.includes(name)) return h("textarea", { name, rows: 2, placeholder: "one a line" });
  return h("input", { name, placeholder: told ?? "", autocomplete: "off", maxlength: 200 });
}

// What the fields hold

/** The options that were chosen, as the service takes them. */
export function values(form) {
  const chosenOptions = {};
  for (const [name, schema] of Object.entries(form.schema)) {
    const input = form.element.elements[name];
    if (!input) continue;
    const value = valueOf(input, schema);
    if (value !== null && JSON.stringify(value) !== JSON.stringify(schema.default)) chosenOptions[name] = value;
  }
  return chosenOptions;
}

function valueOf(input, schema) {
  if (input.type === "checkbox") return input.checked;
  if (input.multiple) return [...input.selectedOptions].map((option) => option.value);
  const text = input.value.trim();
  if (text === "") return null;
  if (schema.type === "array") return text.split(LINES.includes(input.name) ? "\n" : ",").map((each) => each.trim());
  const isNumber = schema.type === "integer" || schema.type === "number";
  return isNumber && !Number.isNaN(Number(text)) ? Number(text) : text;
}

/** Fill the fields with options of an earlier study. */
export function fill(form, options) {
  for (const [name, value] of Object.entries(options)) {
    const input = form.element.elements[name];
    if (!input || OF_ONE_STUDY.includes(name)) continue;
    if (DATA.includes(name)) input.append(h("option", { value }, value));
    if (input.type === "checkbox") input.checked = value;
    else if (input.multiple) for (const option of input.options) option.selected = value.includes(option.value);
    else input.value = [value].flat().map(written).join(LINES.includes(name) ? "\n" : ", ");
    if (input.closest("details")) input.closest("details").open = true;
  }
}

/** A target as one writes it; other values as they are. */
function written(value) {
  if (!value.direction) return value;
  const { name, direction, parts = [], measure } = value;
  const formula = measure || parts.join("+");
  return `${name}${formula && `=${formula}`}:${direction}`;
}

// What is wrong, beside its field

/** Say what is wrong in the field that it is about; whether there is one. */
export function beside(form, { field: name, text, severity }) {
  const place = name && form.element.querySelector(`[data-field="${CSS.escape(name)}"]`);
  if (!place) return false;
  const [input, problem] = [form.element.elements[name], place.querySelector(".problem")];
  problem.textContent = [problem.textContent, text].filter(Boolean).join(" ");
  problem.classList.toggle("warning", severity === "warning");
  if (severity !== "warning") input.setAttribute("aria-invalid", "true");
  if (!input.getAttribute("aria-describedby")?.includes(problem.id))
    input.setAttribute("aria-describedby", `${input.getAttribute("aria-describedby") || ""} ${problem.id}`.trim());
  if (place.closest("details")) place.closest("details").open = true;
  return true;
}

/** Take back what was said of a field, or of all. */
export function unsaid(form, name = null) {
  for (const place of form.element.querySelectorAll(name ? `[data-field="${CSS.escape(name)}"]` : "[data-field]")) {
    place.querySelector(".problem").textContent = "";
    form.element.elements[place.dataset.field].removeAttribute("aria-invalid");
  }
  form.summary.replaceChildren();
}

/** Whether the browser finds nothing wrong with what was typed; it is said where there is. */
export function isWellFormed(form) {
  const wrong = [...form.element.elements].filter((input) => input.willValidate && !input.checkValidity());
  for (const input of wrong) {
    unsaid(form, input.name);
    if (!beside(form, { field: input.name, text: input.validationMessage, severity: "error" })) form.summary.textContent = input.validationMessage;
  }
  return wrong.length === 0;
}

/** Say what was refused, each thing beside its field if it has one; go there, if one has just asked. */
export function refused(form, error, isAsked) {
  const texts = (error.findings || []).map((said) => {
    const text = said.replace(/^body\.options(\.|: )/, ""); // of the body of a request: here it is the form
    const named = text.match(/^(\w+)(?:\.\d+)*: (.*)$/s);
    return named ? { field: named[1], text: named[2], severity: "error" } : { field: null, text, severity: "error" };
  });
  const elsewhere = texts.filter((finding) => !beside(form, finding)).map(({ text }) => text);
  form.summary.replaceChildren(h("p", {}, error.message), ...(elsewhere.length ? [bullets(elsewhere)] : []));
  if (isAsked) (form.element.querySelector("[aria-invalid]") || form.summary).focus();
}

/** Send a new study and go to it, or say what was refused; the button says what is done meanwhile. */
export async function submitted(form, path, sent, doing) {
  form.send.disabled = true;
  form.send.textContent = doing;
  const headers = { "Idempotency-Key": crypto.randomUUID?.() || String(Math.random()) };
  try {
    const study = await call("POST", path, { ...sent, headers });
    location.hash = `#/studies/${study.id}`;
  } catch (error) {
    refused(form, error, true);
  } finally {
    form.send.disabled = false;
    form.send.textContent = "Submit";
  }
}
