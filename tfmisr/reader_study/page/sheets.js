// The screens around the reading: messages, welcome, display check, and notes over the images.

import * as display from "./display.js";

const $ = (id) => document.getElementById(id);
const note = $("note");

export function show(id) {
  scrollTo(0, 0);
  for (const section of document.querySelectorAll("body > section, body > main")) section.hidden = section.id !== id;
}

export function message(title, text) {
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

export async function welcome(state) {
  show("welcome");
  $("welcome").querySelector("h1").textContent = state.title;
  $("welcome").querySelector(".back").hidden = !state.allow_back;
  paragraphs($("welcome").querySelector(".instructions"), state.instructions);
  await pressed($("welcome").querySelector("button"));
}

// Returns the reader's answers and the page's measurements.
export async function displayCheck(rendererName) {
  show("display");
  const measured = display.prepare($("display"), rendererName);
  const form = $("display").querySelector("form");
  form.querySelector("input").focus({preventScroll: true});
  await new Promise((done) =>
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      done();
    }, {once: true}),
  );
  return {...display.answersOf(form), ...measured};
}

// Shows a modal message over the images; resolves when it is closed.
export async function say(title, lines) {
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

export function isOpen() {
  return note.open;
}

// Replaces the text of the open note.
export function fill(element) {
  note.querySelector("div").replaceChildren(element);
}

// A question with an answer, for a note.
export function spoken({text, anchors}, value) {
  return `${text}${/[?:.!]$/.test(text) ? "" : ":"} ${value}${anchors ? `, ${anchors[value - 1]}` : ""}`;
}
