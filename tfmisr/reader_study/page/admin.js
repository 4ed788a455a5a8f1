// The study coordinator's page: each reader's progress. No scores, which could bias the conduct of the study.

import * as api from "./api.js";

const REFRESH_INTERVAL = 10000; // ms

function message(title, text) {
  document.getElementById("progress").hidden = true;
  const section = document.getElementById("message");
  section.hidden = false;
  section.querySelector("h1").textContent = title;
  section.querySelector("p").textContent = text;
}

function displayOf(check) {
  if (!check) return "not checked yet";
  const size = `${Math.round(check.screen_width * check.device_pixel_ratio)} x ${Math.round(check.screen_height * check.device_pixel_ratio)}`;
  const squares = check.dark_square && check.bright_square ? "" : ", squares not seen";
  return `${size}, ${check.ambient}, calibrated: ${check.calibrated}${check.windowing_exact ? "" : ", WINDOWING NOT EXACT"}${squares}`;
}

function row(reader) {
  const last = reader.last_at ? new Date(reader.last_at).toLocaleString() : "";
  const cells = [reader.label, `${reader.answered} of ${reader.trials}`, reader.too_fast, last, displayOf(reader.display)];
  const line = document.createElement("tr");
  line.append(...cells.map((text) => Object.assign(document.createElement("td"), {textContent: text})));
  return line;
}

async function refresh() {
  const study = await api.get("/api/admin");
  document.getElementById("message").hidden = true;
  const section = document.getElementById("progress");
  section.hidden = false;
  section.querySelector("h1").textContent = study.title;
  document.getElementById("facts").textContent =
    `Study ${study.hash.slice(0, 12)}; ${study.closed_at ? `closed ${new Date(study.closed_at).toLocaleString()}` : "open"}; ` +
    `audit log: ${study.audit_rows} rows, last hash ${study.audit_head.slice(0, 16)}`;
  section.querySelector("tbody").replaceChildren(...study.readers.map(row));
}

async function run() {
  if (!api.enter()) return message("Please open the study coordinator's link", "");
  try {
    await refresh();
  } catch (failure) {
    if (failure.status === 401) return message("This link is no longer valid", "Please make a new one.");
    message("The server cannot be reached", `${failure.message} Retrying.`);
  }
  setTimeout(run, REFRESH_INTERVAL);
}

run();
