// The operator's door, which is where this page came from. A door that wants a
// key gets the one that the reader gives once; it is kept for this tab only.

import { h } from "./dom.js";

const keyName = "rollcall-admin-key";
const patience = 6000;
let asking = null;

/** Away means that no answer came: the node, or the way to it, is gone. */
export class Away extends Error {}

/** Refused is an answer that says no, with its status and code. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * call sends a request and returns the answer, whatever its status; the body
 * waits to be read. It fails as Away, when nothing answers, and asks the reader
 * for a key when the door wants one. quiet keeps it from asking.
 */
export async function call(path, { method = "GET", body, signal, quiet } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(keyName);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method, headers, cache: "no-store", signal: signal ?? AbortSignal.timeout(patience),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (err) {
    throw new Away(`no answer from this node: ${err.message}`, { cause: err });
  }
  if (answer.status !== 401 || quiet) return answer;
  const given = sessionStorage.getItem(keyName) !== key || (await askForKey()); // another request may have asked meanwhile
  return given ? call(path, { method, body, signal }) : answer;
}

/** ask returns the JSON of an answer, null for none. It fails as Away or Refused. */
export async function ask(path, options) {
  const answer = await call(path, options);
  const text = await read(answer);
  if (!answer.ok) throw refusal(answer.status, text);
  return text === "" ? null : JSON.parse(text);
}

/** read returns an answer's body; a node that dies while it answers is Away. */
export async function read(answer) {
  try {
    return await answer.text();
  } catch (err) {
    throw new Away(`the answer of this node broke off: ${err.message}`, { cause: err });
  }
}

function refusal(status, text) {
  try {
    const { error } = JSON.parse(text);
    return new Refused(status, error.code, error.message);
  } catch {
    return new Refused(status, "", text.trim() || `status ${status}`); // not every refusal is the API's
  }
}

/**
 * askForKey shows one dialog for all requests that wait. It is true once a key
 * was given; who closes the dialog without one is not asked again.
 */
function askForKey() {
  asking ??= new Promise((resolve) => {
    const input = h("input", { type: "password", id: "admin-key", autocomplete: "off", required: true });
    const dialog = h("dialog", { "aria-labelledby": "key-title", onclose: () => done(dialog.returnValue === "use") },
      h("form", { method: "dialog" },
        h("h2", { id: "key-title" }, "This node wants a key"),
        h("p", {}, "It is one of the node's --admin-key values. It is kept in this tab only."),
        h("p", {}, h("label", { for: "admin-key" }, "Admin key"), input),
        h("p.go", {}, h("button.main", { value: "use" }, "Use it"))));
    const done = (given) => {
      dialog.remove();
      if (given) {
        sessionStorage.setItem(keyName, input.value);
        asking = null;
      }
      resolve(given);
    };
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}
