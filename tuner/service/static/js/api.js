// The REST API, of which this page is a client like any other.

export const API = "api/v1"; // beside the page, wherever that is

/** Who is logged in, and what the service offers; empty if nobody is. */
export const session = {};

/** What the service refused, in its words. */
export class Problem extends Error {
  constructor(status, told) {
    super(told.detail || "the service does not answer: is it running, and are you online?");
    this.status = status;
    this.findings = told.findings || [];
  }
}

/**
 * Ask the service for something.
 *
 * @param {string} method
 * @param {string} path under the API
 * @param {{json?: any, form?: FormData, headers?: Record<string, string>, signal?: AbortSignal}} [sent]
 * @returns {Promise<any>} what it answers; null if nothing
 * @throws {Problem}
 */
export async function call(method, path, { json, form, headers = {}, signal } = {}) {
  const isJson = json !== undefined;
  const body = isJson ? JSON.stringify(json) : form;
  const address = `${API}${path}${method === "GET" ? "" : "?words=page"}`; // what is refused names fields of ours
  let answer;
  try {
    answer = await fetch(address, {
      method, body, signal, headers: isJson ? { "Content-Type": "application/json", ...headers } : headers,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, {});
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const told = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== "/session") dispatchEvent(new Event("logged-out"));
  throw new Problem(answer.status, told);
}

/** Find out who is logged in; false if nobody is. */
export async function known() {
  try {
    Object.assign(session, await call("GET", "/session"));
    return true;
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    return false;
  }
}

export function forget() {
  for (const name of Object.keys(session)) delete session[name];
}

let asked = null;

/**
 * Every option of a study by its name: what it means, its type and its default.
 *
 * @param {"SubmitOptions"|"ScriptSpec"} [of] of a data set, or of training code
 * @returns {Promise<Record<string, any>>} properties of a JSON schema
 */
export function options(of = "SubmitOptions") {
  asked ||= fetch("openapi.json").then((answer) => answer.json());
  asked.catch(() => { asked = null; });
  return asked.then((document) => resolved(document.components.schemas[of].properties, document));
}

/** The study that an address says to ask again, with other options; null if it names none. */
export async function earlier(query) {
  const id = query.get("again");
  return id ? call("GET", `/studies/${encodeURIComponent(id)}`) : null;
}

// Put what a property refers to, and the first type of a choice that is not null, into itself; a word
// beside a few numbers is one choice more.
function resolved(properties, document) {
  const flat = (schema) => {
    const meant = schema.$ref ? document.components.schemas[schema.$ref.split("/").pop()] : {};
    const either = schema.anyOf?.find((each) => each.type !== "null");
    const word = schema.anyOf?.find((each) => each.const)?.const;
    const numbers = (of) => Array.from({ length: of.maximum - of.minimum + 1 }, (_, n) => of.minimum + n);
    const few = word && either?.type === "integer" ? { enum: [word, ...numbers(either)] } : {};
    return { ...meant, ...(either ? flat(either) : {}), ...few, ...schema };
  };
  return Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, flat(schema)]));
}

/** Flat options of a study that differ from their defaults. */
export function chosen(study, schema) {
  const { training = {}, ...rest } = study.spec;
  const all = { ...rest, ...training, ...study.options };
  const differs = ([name, value]) =>
    name in schema && value !== null && JSON.stringify(value) !== JSON.stringify(schema[name].default ?? null);
  return Object.fromEntries(Object.entries(all).filter(differs));
}

/** The command that asks the same. */
export function command(study, schema) {
  const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${String(word).replaceAll("'", "'\"'\"'")}'`);
  const words = Object.entries(chosen(study, schema)).flatMap(([name, value]) => {
    const flag = `--${name.replaceAll("_", "-")}`;
    if (value === true) return [flag];
    return [value].flat().flatMap((each) => [flag, quoted(String(each.study ?? each))]);
  });
  return ["tuner", "run", quoted(study.source || "DATA"), ...words].join(" ");
}

/** Hear of a study as it goes on, until that is stopped. */
export function follow(path, on) {
  const stream = new EventSource(`${API}${path}/events`);
  for (const kind of ["progress", "status", "end"])
    stream.addEventListener(kind, (event) => on(kind, JSON.parse(event.data)));
  stream.addEventListener("end", () => stream.close());
  return () => stream.close();
}
