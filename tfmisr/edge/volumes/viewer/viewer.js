// Shows the planes of volumes that lie in the page as PNG images of stacked slices; nothing is loaded or sent.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const state = { view: 0, volume: data.volumes.length - 1, places: data.views.map((view) => view.start) };
const canvas = element("picture");
const context = canvas.getContext("2d");

async function decode(images) {
  const [slices, rows, columns] = data.shape;
  const values = new Uint8Array(slices * rows * columns);
  const buffer = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  let next = 0;
  for (const source of images) {
    const image = new Image();
    image.src = source;
    await image.decode();
    buffer.canvas.width = image.width;
    buffer.canvas.height = image.height;
    buffer.drawImage(image, 0, 0);
    const pixels = buffer.getImageData(0, 0, image.width, image.height).data;
    for (let k = 0; k < pixels.length; k += 4) values[next++] = pixels[k];
  }
  return values;
}

function draw() {
  const view = data.views[state.view];
  const place = state.places[state.view];
  const steps = [data.shape[1] * data.shape[2], data.shape[2], 1];
  const height = data.shape[view.vertical];
  const width = data.shape[view.horizontal];
  const values = data.volumes[state.volume].values;
  const picture = context.createImageData(width, height);
  for (let y = 0, out = 0; y < height; y++) {
    const row = place * steps[view.axis] + (view.flips[0] ? height - 1 - y : y) * steps[view.vertical];
    for (let x = 0; x < width; x++, out += 4) {
      const value = values[row + (view.flips[1] ? width - 1 - x : x) * steps[view.horizontal]];
      picture.data[out] = picture.data[out + 1] = picture.data[out + 2] = value;
      picture.data[out + 3] = 255;
    }
  }
  canvas.width = width;
  canvas.height = height;
  context.putImageData(picture, 0, 0);
  layout(view, width * view.spacing[1], height * view.spacing[0]);
  ["left", "right", "above", "below"].forEach((side, k) => (element(side).textContent = view.letters[k]));
  describe(view, place);
}

function layout(view, width, height) {
  // One scale in mm for all planes, so that a structure keeps its size from plane to plane.
  const scale = Math.min((0.96 * document.documentElement.clientWidth) / data.extent[1],
    (0.74 * window.innerHeight) / data.extent[0]);
  element("frame").style.width = `${width * scale}px`;
  element("frame").style.height = `${height * scale}px`;
}

function describe(view, place) {
  const name = data.volumes[state.volume].name;
  const text = `${name}, ${view.name} slice ${place + 1} of ${data.shape[view.axis]}`;
  element("status").textContent = text;
  canvas.setAttribute("aria-label", text);
  const slider = element("place");
  slider.max = data.shape[view.axis];
  slider.value = place + 1;
  slider.setAttribute("aria-valuetext", text);
  document.querySelectorAll("input[type=radio]").forEach((radio) => {
    radio.checked = Number(radio.value) === state[radio.name];
  });
}

function move(place) {
  const last = data.shape[data.views[state.view].axis] - 1;
  state.places[state.view] = Math.max(0, Math.min(last, place));
  draw();
}

function choose(name, value) {
  state[name] = value;
  draw();
}

function add(group, name, texts) {
  texts.forEach((text, value) => {
    const label = document.createElement("label");
    const radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name, value });
    radio.addEventListener("change", () => choose(name, value));
    label.append(radio, ` ${text}`);
    element(group).append(label);
  });
}

function key(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const place = state.places[state.view];
  const steps = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -1e9, End: 1e9 };
  const plane = data.views.findIndex((view) => view.name[0] === event.key.toLowerCase());
  // The arrow keys of a focused radio button choose the next one, as everywhere.
  const radio = event.target.type === "radio" && event.key.startsWith("Arrow");
  if (event.key in steps && !radio) move(place + steps[event.key]);
  else if (plane >= 0) choose("view", plane);
  else if (event.key.toLowerCase() === "t") choose("volume", (state.volume + 1) % data.volumes.length);
  else return;
  event.preventDefault();
}

async function start() {
  for (const volume of data.volumes) volume.values = await decode(volume.images);
  add("planes", "view", data.views.map((view) => view.name));
  add("volumes", "volume", data.volumes.map((volume) => volume.name));
  element("controls").hidden = false;
  document.querySelector("figure").hidden = false;
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  element("place").addEventListener("input", (event) => move(Number(event.target.value) - 1));
  document.addEventListener("keydown", key);
  element("frame").addEventListener("wheel", (event) => {
    event.preventDefault();
    move(state.places[state.view] + (event.deltaY < 0 ? 1 : -1));
  }, { passive: false });
  window.addEventListener("resize", draw);
  draw();
}

start().catch((error) => (element("status").textContent = `The volume cannot be shown: ${error.message}`));
