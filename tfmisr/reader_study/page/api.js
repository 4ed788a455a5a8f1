// Requests to the server, with the token of the personal link: stored for this tab only, never part of a request's URL.

const TOKEN_KEY = "token";

// Removes the token from the address bar, so that nobody sees or copies it, and returns whether there is a token.
export function enter() {
  const token = location.hash.slice(1);
  if (token) {
    sessionStorage.clear();
    sessionStorage.setItem(TOKEN_KEY, token);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return Boolean(sessionStorage.getItem(TOKEN_KEY));
}

export class Failure extends Error {
  // `stored` is what the server has in place of a refused answer.
  constructor(status, text, stored = null) {
    super(text);
    Object.assign(this, {status, stored});
  }
}

async function call(path, options = {}) {
  const headers = {Authorization: `Bearer ${sessionStorage.getItem(TOKEN_KEY)}`, ...options.headers};
  let response;
  try {
    response = await fetch(path, {...options, headers, cache: "no-store"});
  } catch {
    throw new Failure(0, "The server does not respond.");
  }
  if (response.ok) return response;
  const content = await response.json().catch(() => ({}));
  throw new Failure(response.status, content.error ?? "The server reported an error.", content.stored);
}

export async function get(path) {
  return (await call(path)).json();
}

export async function post(path, content) {
  const headers = {"Content-Type": "application/json"};
  return (await call(path, {method: "POST", headers, body: JSON.stringify(content)})).json();
}

// Returns `count` 16-bit numbers, which the server sends in little-endian byte order.
export async function image(token, count) {
  const body = await (await call(`/image/${token}`)).arrayBuffer();
  if (body.byteLength !== 2 * count) throw new Failure(500, "An image is incomplete.");
  if (new Uint8Array(Uint16Array.of(1).buffer)[0]) return new Uint16Array(body);
  const view = new DataView(body);
  return Uint16Array.from({length: count}, (_, i) => view.getUint16(2 * i, true));
}

// Retries with exponential backoff while the server cannot be reached; calls `onFailure` with each failure, then null.
export async function withRetries(action, onFailure) {
  for (let wait = 500; ; wait = Math.min(8000, wait * 2)) {
    try {
      const result = await action();
      onFailure(null);
      return result;
    } catch (failure) {
      if (failure.status && failure.status < 500) throw failure;
      onFailure(failure);
      await new Promise((done) => setTimeout(done, wait));
    }
  }
}
