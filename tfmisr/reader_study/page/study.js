// The reading page: sequence of screens, and keyboard control.

import * as api from "./api.js";
import {Clock} from "./clock.js";
import * as display from "./display.js";
import {Questions} from "./questions.js";
import {Viewer} from "./viewer.js";

const $ = (id) => document.getElementById(id);
const requestedRenderer = new URLSearchParams(location.search).get("renderer");
const note = $("note");
const viewer = new Viewer($("panes"), "canvas", showStatus);
const questions = new Questions($("answers"));
const clock = new Clock();
const images = new Map(); // token -> promise of its pixels

let state = null;
let trial = null; // the displayed one
let busy = true;
let sinceBreak = 0; // ms of reading time

function show(id) {
  scrollTo(0, 0);
  for (const section of document.querySelectorAll("body > section, body > main")) section.hidden = section.id !== id;
}

function message(title, text) {
  show("message");
  $("message").querySelector("h1").textContent = title;
  $("message").querySelector("p").textContent = text;
}

function paragraphs(holder, text) {
  const parts = text.trim().split(/\n\s*\n/).filter(Boolean);
  holder.replaceChildren(...parts.map((part) => Object.assign(document.createElement("p"), {textContent: part})));
}

function pressed(button) {
  button.focus({preventScroll: true}); // long instructions stay scrolled to the top
  return new Promise((done) => button.addEventListener("click", done, {once: true}));
}

async function welcome() {
  show("welcome");
  $("welcome").querySelector("h1").textContent = state.title;
  $("welcome").querySelector(".back").hidden = !state.allow_back;
  paragraphs($("welcome").querySelector(".instructions"), state.instructions);
  await pressed($("welcome").querySelector("button"));
}

async function checkDisplay() {
  show("display");
  const measured = display.prepare($("display"), viewer.rendererName);
  const form = $("display").querySelector("form");
  form.querySelector("input").focus({preventScroll: true});
  await new Promise((done) =>
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      done();
    }, {once: true}),
  );
  await api.withRetries(() => api.post("/api/display", {...display.answersOf(form), ...measured}), unreachable);
}

// Shows a modal message over the images; resolves when it is closed.
async function say(title, lines) {
  $("note-title").textContent = title;
  paragraphs(note.querySelector("div"), lines.join("\n\n"));
  note.showModal();
  await pressed(note.querySelector("button"));
  note.close();
}
note.addEventListener("cancel", (event) => {
  event.preventDefault();
  note.querySelector("button").click();
});

function unreachable(failure) {
  document.body.classList.toggle("unreachable", Boolean(failure));
  hint(failure ? `${failure.message} Your answer is not lost; retrying.` : "");
}

function hint(text) {
  $("hint").textContent = text;
}

function showStatus() {
  const {center, width} = viewer.window;
  const number = (value) => (Math.abs(value) < 100 ? value.toFixed(1) : value.toFixed(0));
  $("status").textContent = `C ${number(center)}  W ${number(width)}  ${Math.round(viewer.scale * 100)} %`;
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

async function open(next, given) {
  const data = await Promise.all(next.panes.map(([, token]) => fetched(token, next.shown)));
  trial = next;
  show("reading");
  $("block").textContent = next.training ? "Training" : state.sessions > 1 ? `Session ${state.session}` : state.title;
  $("count").textContent = `${next === state.previous ? state.done : state.done + 1} of ${state.total}`;
  document.querySelector("#reading .progress div").style.width = `${(100 * state.done) / state.total}%`;
  hint("");
  viewer.show(next.panes.map(([role], i) => ({role, data: data[i]})), next.shown, state.interpolation === "smooth");
  questions.ask(next.preference ? [state.preference] : state.questions, given);
  viewer.drawNow();
  clock.start();
  busy = false;
  prefetchImages();
}

async function proceed() {
  state = await api.withRetries(() => api.get("/api/state"), unreachable);
  if (state.phase === "reading") return open(state.trial);
  if (state.phase === "waiting") {
    const day = new Date(state.not_before).toLocaleString();
    return message("Session complete", `The next session can start on ${day}. Please open your link again then.`);
  }
  if (state.phase === "closed") return message("The study is closed", "No more answers are accepted. Thank you.");
  return message("All done", "You have rated all images, and all answers are saved. Thank you.");
}

async function save() {
  if (busy) return;
  if (questions.missing) {
    questions.focus(questions.missing);
    hint("Please answer this question first.");
    return;
  }
  busy = true;
  const times = clock.read();
  const window = {window_center: viewer.window.center, window_width: viewer.window.width};
  const answer = {trial: trial.token, values: questions.answers, submission: crypto.randomUUID?.() ?? unique(), ...times, ...window};
  try {
    await api.withRetries(() => api.post("/api/answer", answer), unreachable);
    await afterwards(times.elapsed_ms - times.idle_ms);
  } catch (failure) {
    if (failure.status !== 409) throw failure;
    await say("Not saved", [`The server says: ${failure.message}. Your link may be open in another window.`]);
  }
  await proceed();
}

async function afterwards(active) {
  if (trial.training && !trial.preference) await feedback();
  sinceBreak += active;
  if (state.break_minutes && sinceBreak >= 60000 * state.break_minutes && state.done + 1 < state.total) {
    await say("Time for a break", [
      `You have read for ${Math.round(sinceBreak / 60000)} minutes. Everything is saved. Rest your eyes, and continue when you like.`,
    ]);
    sinceBreak = 0;
  }
}

// Training feedback: the anchors of the given answers, but nothing about the arm.
function feedback() {
  const given = questions.answers;
  const lines = state.questions.map(
    ({key, text, anchors}) => `${text}${/[?:.!]$/.test(text) ? "" : ":"} ${given[key]}, ${anchors[given[key] - 1]}`,
  );
  return say("Training: your answers", [...lines, "Training images are not analyzed."]);
}

// For pages without crypto.randomUUID: plain HTTP to another computer.
function unique() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function back() {
  if (!state.previous || trial === state.previous) return;
  busy = true;
  await open(state.previous, state.previous.answers);
  hint("You are changing your last answer. Enter saves it.");
}

function help() {
  const list = document.querySelector("#welcome .keys").cloneNode(true);
  say("Keys and mouse", []);
  note.querySelector("div").replaceChildren(list);
}

function onKey(event) {
  if ($("reading").hidden || note.open || event.ctrlKey || event.metaKey || event.altKey) return;
  const {key} = event;
  const onPanes = $("panes").contains(document.activeElement);
  const onButton = document.activeElement?.matches("aside button:not(#save)");
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
  if (key.startsWith("Arrow") && !onPanes && !event.shiftKey) return;
  if (viewer.key(key)) event.preventDefault();
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
window.addEventListener("beforeunload", (event) => {
  if (document.body.classList.contains("unreachable")) event.preventDefault();
});
// Another link was opened in this tab.
window.addEventListener("hashchange", () => location.reload());

run(async () => {
  if (!api.enter()) return message("Please open your personal link", "The study coordinator sent it to you.");
  state = await api.withRetries(() => api.get("/api/state"), unreachable);
  document.title = state.title;
  viewer.rendererName = display.renderer(requestedRenderer);
  if (state.phase === "reading" && !sessionStorage.getItem("ready")) {
    await welcome();
    await checkDisplay();
    sessionStorage.setItem("ready", "yes");
  }
  await proceed();
});
