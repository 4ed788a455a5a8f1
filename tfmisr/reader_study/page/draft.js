// Unsaved answers and reading times of the images, kept in this tab's storage: neither a reload nor the way back to the
// last answer loses them. Without storage (full, or switched off) the page works as before.

const PREFIX = "draft:";
const SHOWN = "shown"; // token of the trial on the screen
const OLDEST = 7 * 24 * 3600 * 1000; // ms

export function keep(token, content) {
  try {
    sessionStorage.setItem(PREFIX + token, JSON.stringify({...content, at: Date.now()}));
    sessionStorage.setItem(SHOWN, token);
  } catch {
    // The answers are still on the page.
  }
}

// Returns what was kept of a trial, or null. The time since then belongs to the elapsed time, not to the active one.
export function find(token, version) {
  const kept = JSON.parse(sessionStorage.getItem(PREFIX + token) ?? "null");
  if (!kept) return null;
  const away = Math.max(0, Date.now() - kept.at);
  if (away > OLDEST) return null;
  const times = {...kept.times, elapsed_ms: kept.times.elapsed_ms + away};
  // Answers to a version that has been replaced since would hide what is stored now.
  return {...kept, times, values: kept.version === version ? kept.values : null};
}

export function wasShown(token) {
  return sessionStorage.getItem(SHOWN) === token;
}

// Removes the drafts of all trials but these.
export function forgetAllBut(tokens) {
  const kept = new Set(tokens.map((token) => PREFIX + token));
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith(PREFIX) && !kept.has(key)) sessionStorage.removeItem(key);
  }
}

// Lets the next screen be this trial, if it may be changed.
export function show(token) {
  sessionStorage.setItem(SHOWN, token);
}

export function forget(token) {
  sessionStorage.removeItem(PREFIX + token);
  if (wasShown(token)) sessionStorage.removeItem(SHOWN);
}
