// Who has read how much. No scores: who looks at them before the end may change the study.

import * as api from "./api.js";

const AGAIN = 10000; // ms

function message(title, text) {
  document.getElementById("progress").hidden = true;
  const section = document.getElementById("message");
  section.hidden = false;
  section.querySelector("h1").textContent = title;
  section.querySelector("p").textContent = text;
}

function screenOf(found) {
  if (!found) return "not yet";
  const size = `${Math.round(found.screen_width * found.device_pixel_ratio)} x ${Math.round(found.screen_height * found.device_pixel_ratio)}`;
  const seen = found.dark_square && found.bright_square ? "" : ", squares not seen";
  return `${size}, ${found.ambient}, calibrated: ${found.calibrated}${found.windowing_exact ? "" : ", WINDOW NOT EXACT"}${seen}`;
}

function row(reader) {
  const last = reader.last_at ? new Date(reader.last_at).toLocaleString() : "";
  const cells = [reader.label, `${reader.answered} of ${reader.trials}`, reader.too_fast, last, screenOf(reader.display)];
  const line = document.createElement("tr");
  line.append(...cells.map((text) => Object.assign(document.createElement("td"), {textContent: text})));
  return line;
}

async function refresh() {
  const found = await api.get("/api/admin");
  document.getElementById("message").hidden = true;
  const section = document.getElementById("progress");
  section.hidden = false;
  section.querySelector("h1").textContent = found.title;
  document.getElementById("facts").textContent =
    `Study ${found.hash.slice(0, 12)}; ${found.closed_at ? `closed ${new Date(found.closed_at).toLocaleString()}` : "open"}; ` +
    `audit log: ${found.audit_rows} rows, last hash ${found.audit_head.slice(0, 16)}`;
  section.querySelector("tbody").replaceChildren(...found.readers.map(row));
}

async function run() {
  if (!api.enter()) return message("Please open the link for the study's office", "");
  try {
    await refresh();
  } catch (failure) {
    if (failure.status === 401) return message("This link is not valid any more", "Please make a new one.");
    message("No news at the moment", `${failure.message} Trying again.`);
  }
  setTimeout(run, AGAIN);
}

run();
