// The reading page: sequence of screens, and keyboard control.

import * as api from "./api.js";
import {Clock} from "./clock.js";
import * as display from "./display.js";
import * as drafts from "./draft.js";
import {Questions} from "./questions.js";
import * as sheets from "./sheets.js";
import {Viewer} from "./viewer.js";
import {Windows} from "./windows.js";

const KEEP_INTERVAL = 3000; // ms

const $ = (id) => document.getElementById(id);
const requestedRenderer = new URLSearchParams(location.search).get("renderer");
const viewer = new Viewer($("panes"), "canvas", showStatus);
const windows = new Windows(document.querySelector("#reading .window"), viewer, hint);
const questions = new Questions($("answers"), keepDraft);
const clock = new Clock();
const images = new Map(); // token -> promise of its pixels

let state = null;
let trial = null; // the displayed one
let busy = true;
let given = {}; // the stored answers of the displayed trial
let unsaved = false; // whether the reader changed them
let sinceBreak = 0; // ms of reading time

function message(title, text) {
  trial = null;
  unsaved = false;
  sheets.message(title, text);
}

function unreachable(failure) {
  const was = isUnreachable();
  document.body.classList.toggle("unreachable", Boolean(failure));
  if (failure) hint(`${failure.message} Your answer is not lost; retrying.`);
  else if (was) hint("");
  showSave();
}

function isUnreachable() {
  return document.body.classList.contains("unreachable");
}

function setBusy(value) {
  busy = value;
  $("answers").inert = busy; // what is on the screen while an answer is on its way is what was sent
  showSave();
}

function showSave() {
  $("save").disabled = busy || isUnreachable();
  $("save").querySelector("span").textContent = isUnreachable() ? "No connection" : "Save";
}

function hint(text) {
  $("hint").textContent = text;
}

function showStatus() {
  windows.update();
  const percent = Math.round(viewer.scale * 100);
  $("status").textContent = viewer.scale === 1 ? "1:1, one image pixel per screen pixel" : `${percent} % of 1:1`;
}

// Keeps answers, times and window of the displayed trial, unless the server has the answer.
function keepDraft() {
  if (!trial || busy) return;
  unsaved = Object.keys(questions.answers).length > 0 && !same(questions.answers, given);
  const {center, width} = viewer.window;
  const content = {version: trial.version ?? 0, values: questions.answers, times: clock.snapshot(), window: [center, width]};
  drafts.keep(trial.token, content);
}

function same(one, other) {
  const keys = Object.keys({...one, ...other});
  return keys.every((key) => one[key] === other[key]);
}

function fetched(token, shown) {
  if (!images.has(token)) {
    const load = () => api.withRetries(() => api.image(token, shown.width * shown.height), unreachable);
    images.set(token, load());
  }
  return images.get(token);
}

// Prefetches the next images during the current trial, so that load times do not differ between images.
function prefetchImages() {
  const needed = [state.trial, state.next, state.previous].filter(Boolean);
  const tokens = new Set(needed.flatMap(({panes}) => panes.map(([, token]) => token)));
  for (const token of images.keys()) if (!tokens.has(token)) images.delete(token);
  if (state.next) for (const [, token] of state.next.panes) fetched(token, state.next.shown);
}

async function open(next) {
  keepDraft(); // of the trial before, when its reader goes back to the last one
  setBusy(true);
  const data = await Promise.all(next.panes.map(([, token]) => fetched(token, next.shown)));
  trial = next;
  given = next.answers ?? {};
  const draft = drafts.find(next.token, next.version ?? 0);
  sheets.show("reading");
  $("block").textContent = next.training ? "Training" : state.sessions > 1 ? `Session ${state.session}` : state.title;
  $("count").textContent = `${next === state.previous ? state.done : state.done + 1} of ${state.total}`;
  document.querySelector("#reading .progress div").style.width = `${(100 * state.done) / state.total}%`;
  hint("");
  viewer.show(next.panes.map(([role], i) => ({role, data: data[i]})), next.shown, state.interpolation === "smooth");
  windows.offer(next.shown);
  if (draft) viewer.setWindow(...draft.window);
  setBusy(false);
  questions.ask(next.preference ? [state.preference] : state.questions, draft?.values ?? given);
  viewer.drawNow();
  clock.start(draft?.times);
  keepDraft();
  if (unsaved) hint("Your answers to this image were kept. They are not saved yet.");
  prefetchImages();
}

async function proceed() {
  state = await api.withRetries(() => api.get("/api/state"), unreachable);
  drafts.forgetAllBut([state.trial, state.previous].filter(Boolean).map(({token}) => token));
  if (state.phase === "reading") {
    const revised = state.previous && drafts.wasShown(state.previous.token); // before a reload, or by another page
    return revised ? revise() : open(state.trial);
  }
  if (state.phase === "waiting") {
    const day = new Date(state.not_before).toLocaleString();
    return message("Session complete", `The next session can start on ${day}. Please open your link again then.`);
  }
  if (state.phase === "closed") return message("The study is closed", "No more answers are accepted. Thank you.");
  return message("All done", "You have rated all images, and all answers are saved. Thank you.");
}

async function save() {
  if (busy || isUnreachable()) return;
  if (questions.missing) {
    questions.focus(questions.missing);
    hint("Please answer this question first.");
    return;
  }
  keepDraft();
  setBusy(true);
  const times = clock.read();
  const window = {window_center: viewer.window.center, window_width: viewer.window.width};
  const view = {zoom: viewer.scale, interpolation: state.interpolation, version: trial.version ?? 0};
  const submission = crypto.randomUUID?.() ?? unique();
  const answer = {trial: trial.token, values: questions.answers, submission, ...times, ...window, ...view};
  try {
    await api.withRetries(() => api.post("/api/answer", answer), unreachable);
    saved();
    await afterwards(times.elapsed_ms - times.idle_ms);
  } catch (failure) {
    if (failure.status !== 409) throw failure;
    await refused(failure, answer);
  }
  await proceed();
}

function saved() {
  unsaved = false;
  drafts.forget(trial.token);
}

// The server has another answer, or takes none. Shows what it has; where it may be changed, `proceed` opens it.
async function refused({message: reason, stored}, {values, version}) {
  saved();
  if (!stored || stored.version === version) {
    return sheets.say("Not saved", [`The server says: ${reason}.`, "Your link may be open in another window."]);
  }
  if (same(stored.answers, values)) return; // sent before a reload, which missed the receipt
  drafts.show(trial.token);
  const asked = trial.preference ? [state.preference] : state.questions;
  const lines = asked.map((question) => sheets.spoken(question, stored.answers[question.key]));
  await sheets.say("Not saved", [
    "This image was answered in another window. Stored is:",
    ...lines,
    "Please read in one window only.",
  ]);
}

async function afterwards(active) {
  if (trial.training && !trial.preference) await feedback();
  sinceBreak += active;
  if (state.break_minutes && sinceBreak >= 60000 * state.break_minutes && state.done + 1 < state.total) {
    await sheets.say("Time for a break", [
      `You have read for ${Math.round(sinceBreak / 60000)} minutes. Everything is saved. Rest your eyes, and continue when you like.`,
    ]);
    sinceBreak = 0;
  }
}

// Training feedback: the anchors of the given answers, but nothing about the arm.
function feedback() {
  const {answers} = questions;
  const lines = state.questions.map((question) => sheets.spoken(question, answers[question.key]));
  return sheets.say("Training: your answers", [...lines, "Training images are not analyzed."]);
}

// For pages without crypto.randomUUID: plain HTTP to another computer.
function unique() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function back() {
  if (!state.previous || trial === state.previous) return;
  await revise();
}

async function revise() {
  await open(state.previous);
  if (!unsaved) hint("You are changing your last answer. Enter saves it.");
}

function help() {
  const list = document.querySelector("#welcome .keys").cloneNode(true);
  sheets.say("Keys and mouse", []);
  sheets.fill(list);
}

function onKey(event) {
  if ($("reading").hidden || sheets.isOpen() || event.ctrlKey || event.metaKey || event.altKey) return;
  const {key} = event;
  const onPanes = $("panes").contains(document.activeElement);
  const onButton = document.activeElement?.matches("aside button:not(#save), select");
  if (windows.has(document.activeElement)) return onField(event);
  if (busy) return void (key !== "Tab" && event.preventDefault());
  if (key === "Enter" || key === "Backspace" || /^[1-5]$/.test(key)) {
    if (key === "Enter" && onButton) return;
    event.preventDefault();
    if (event.repeat) return; // a key held down must not answer the next image
    hint("");
    if (key === "Enter") run(save);
    else if (key === "Backspace") questions.clear() || run(back);
    else questions.press(+key);
    return;
  }
  if (key.toLowerCase() === "h" || key === "?") return void (event.preventDefault(), help());
  if (key.toLowerCase() === "p") return void (event.preventDefault(), windows.next());
  if (key.startsWith("Arrow") && !onPanes && !event.shiftKey) return;
  if (viewer.key(key)) event.preventDefault();
}

// Digits are part of a number here. Enter takes it over, Escape does not; both lead back to the questions.
function onField(event) {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  event.preventDefault();
  if (event.key === "Enter") windows.typed();
  else windows.update(true);
  questions.focus(questions.current);
}

async function run(action) {
  try {
    await action();
  } catch (failure) {
    message("This page cannot continue", failure.status === 401 ? "Your link is no longer valid. Please ask for a new one." : failure.message);
  }
}

document.addEventListener("keydown", onKey);
$("save").addEventListener("click", () => run(save));
document.querySelector(".tools").addEventListener("click", (event) => {
  const {key} = event.target.dataset;
  if (key === "h") help();
  else if (key) viewer.key(key);
});
// Also the browser's back button. A reload keeps the answers, but a closed tab loses them.
window.addEventListener("beforeunload", (event) => {
  if (isUnreachable() || unsaved) event.preventDefault();
});
window.addEventListener("pagehide", keepDraft);
document.addEventListener("visibilitychange", keepDraft);
setInterval(keepDraft, KEEP_INTERVAL); // for a browser that crashes
// The server may be on this computer, and then it answers without a network.
window.addEventListener("offline", () => trial && run(() => api.withRetries(() => api.get("/api/state"), unreachable)));
// The page as it was left, from the browser's cache: the server may know more by now.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
// Another link was opened in this tab.
window.addEventListener("hashchange", () => location.reload());

run(async () => {
  if (!api.enter()) return message("Please open your personal link", "The study coordinator sent it to you.");
  state = await api.withRetries(() => api.get("/api/state"), unreachable);
  document.title = state.title;
  viewer.rendererName = display.renderer(requestedRenderer);
  if (state.phase === "reading" && !sessionStorage.getItem("ready")) {
    await sheets.welcome(state);
    const check = await sheets.displayCheck(viewer.rendererName);
    await api.withRetries(() => api.post("/api/display", check), unreachable);
    sessionStorage.setItem("ready", "yes");
  }
  await proceed();
});
