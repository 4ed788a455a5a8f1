// The server, with the token of the personal link. It is kept for this tab alone and never sent in an address.

const KEPT = "token";

// Takes the token out of the address, so that it is neither seen nor copied with it.
export function enter() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.clear();
    sessionStorage.setItem(KEPT, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return Boolean(sessionStorage.getItem(KEPT));
}

export class Failure extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function call(path, options = {}) {
  const headers = {Authorization: `Bearer ${sessionStorage.getItem(KEPT)}`, ...options.headers};
  let answer;
  try {
    answer = await fetch(path, {...options, headers, cache: "no-store"});
  } catch {
    throw new Failure(0, "The server does not answer.");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Failure(answer.status, said.error ?? "The server has failed.");
}

export async function get(path) {
  return (await call(path)).json();
}

export async function post(path, content) {
  const headers = {"Content-Type": "application/json"};
  return (await call(path, {method: "POST", headers, body: JSON.stringify(content)})).json();
}

// Numbers come little-endian.
export async function image(token, count) {
  const body = await (await call(`/image/${token}`)).arrayBuffer();
  if (body.byteLength !== 2 * count) throw new Failure(500, "An image came incomplete.");
  if (new Uint8Array(Uint16Array.of(1).buffer)[0]) return new Uint16Array(body);
  const view = new DataView(body);
  return Uint16Array.from({length: count}, (_, i) => view.getUint16(2 * i, true));
}

// Calls again while the server cannot be reached; `told` learns of each failure, and of the end of them with null.
export async function patiently(action, told) {
  for (let wait = 500; ; wait = Math.min(8000, wait * 2)) {
    try {
      const result = await action();
      told(null);
      return result;
    } catch (failure) {
      if (failure.status && failure.status < 500) throw failure;
      told(failure);
      await new Promise((done) => setTimeout(done, wait));
    }
  }
}
