// Images side by side with linked window, zoom and pan, drawn on the screen's physical pixel grid.

import {levelFor, levelsOf} from "./levels.js";
import {Raster} from "./raster.js";
import {WebGL} from "./webgl.js";
import {lookup, smallestWidth} from "./window.js";

const NAMES = {
  lr: "Low-resolution source",
  rated: "Image to rate",
  truth: "Full-resolution reference",
  left: "Left",
  right: "Right",
};
const MAX_SCALE = 32; // screen pixels per image pixel

// `name` is "webgl2" or "canvas", which is also the fallback.
function rendererFor(canvas, name) {
  if (name === "webgl2") {
    try {
      return new WebGL(canvas);
    } catch {
      // Every browser has the 2D canvas.
    }
  }
  return new Raster(canvas);
}

export class Viewer {
  constructor(holder, rendererName, onchange) {
    Object.assign(this, {holder, rendererName, onchange, panes: [], window: null, shown: null});
    this.observer = new ResizeObserver(() => this.resized());
    window.addEventListener("resize", () => this.resized()); // also when moved to a screen with another pixel ratio
    holder.addEventListener("pointerdown", (event) => this.drag(event));
    holder.addEventListener("wheel", (event) => this.wheel(event), {passive: false});
    holder.addEventListener("dblclick", (event) => this.toggle(event));
    holder.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  get renderer() {
    return this.panes[0]?.renderer instanceof WebGL ? "webgl2" : "canvas";
  }

  // Shows images [{role, data}] of one size; for `shown` see Presentation in tfmisr/reader_study/frozen.py.
  show(images, shown, smoothly) {
    Object.assign(this, {shown, smoothly});
    if (this.panes.length !== images.length) this.rebuild(images.length);
    images.forEach(({role, data}, number) => {
      const pane = this.panes[number];
      pane.levels = levelsOf(data, shown.width, shown.height, shown.padding);
      pane.label.textContent = images.length > 1 ? NAMES[role] : "";
      pane.element.setAttribute("aria-label", NAMES[role]);
      this.load(pane);
    });
    this.reset();
  }

  rebuild(count) {
    this.observer.disconnect();
    this.holder.replaceChildren();
    this.panes = Array.from({length: count}, () => this.pane());
    for (const pane of this.panes) this.fitCanvas(pane); // when all exist: they share the width
  }

  pane() {
    const element = document.createElement("figure");
    const canvas = document.createElement("canvas");
    const label = document.createElement("figcaption");
    element.append(canvas, label);
    element.setAttribute("role", "img");
    this.holder.append(element);
    const pane = {element, canvas, label, renderer: rendererFor(canvas, this.rendererName)};
    canvas.addEventListener("webglcontextlost", () => this.fallBack(pane));
    this.observer.observe(element);
    return pane;
  }

  // Switches to the 2D canvas when WebGL fails or its context is lost.
  fallBack(pane) {
    const canvas = document.createElement("canvas");
    pane.canvas.replaceWith(canvas);
    Object.assign(pane, {canvas, renderer: new Raster(canvas)});
    this.fitCanvas(pane);
    pane.renderer.load(pane.levels, this.shown.padding);
    this.redraw();
  }

  load(pane) {
    try {
      pane.renderer.load(pane.levels, this.shown.padding);
    } catch {
      this.fallBack(pane); // larger than the maximum texture size
    }
  }

  // Aligns the canvas with the screen's physical pixels, so that the browser does not resample it.
  fitCanvas({element, canvas}) {
    const box = element.getBoundingClientRect();
    for (const [from, to, side] of [["left", "right", "width"], ["top", "bottom", "height"]]) {
      const first = Math.round(box[from] * devicePixelRatio);
      canvas[side] = Math.max(1, Math.round(box[to] * devicePixelRatio) - first);
      canvas.style[from] = `${first / devicePixelRatio - box[from]}px`;
      canvas.style[side] = `${canvas[side] / devicePixelRatio}px`;
    }
  }

  resized() {
    if (!this.shown || this.holder.getBoundingClientRect().width === 0) return;
    for (const pane of this.panes) this.fitCanvas(pane);
    if (this.mode) this[this.mode]();
    this.drawNow();
  }

  reset() {
    this.window = {...this.shown.window};
    this.changeWindow(0, 0);
    this.start();
  }

  get fittingScale() {
    const {width, height} = this.panes[0].canvas;
    return Math.min(width / this.shown.width, height / this.shown.height);
  }

  // One image pixel per screen pixel where the image fits, so that nothing is interpolated; else the full image.
  start() {
    this.center(Math.min(1, this.fittingScale), "start");
  }

  fit() {
    this.center(this.fittingScale, "fit");
  }

  // `mode` is what to do again when the size of the panes changes: "start" or "fit".
  center(scale, mode) {
    const {width, height} = this.panes[0].canvas;
    this.scale = scale;
    this.place(width / 2, height / 2, this.shown.width / 2, this.shown.height / 2);
    this.mode = mode;
    this.redraw();
  }

  // Puts a point of the image onto a point of the screen; whole pixels, so that 1:1 is exact.
  place(screenX, screenY, x, y) {
    this.x = Math.round(screenX - x * this.scale);
    this.y = Math.round(screenY - y * this.scale);
  }

  zoomTo(scale, screenX, screenY) {
    const {width, height} = this.panes[0].canvas;
    const [atX, atY] = [screenX ?? width / 2, screenY ?? height / 2];
    const [x, y] = [(atX - this.x) / this.scale, (atY - this.y) / this.scale];
    const smallest = Math.min(1, width / this.shown.width, height / this.shown.height) / 2;
    this.scale = Math.min(MAX_SCALE, Math.max(smallest, scale));
    this.place(atX, atY, x, y);
    this.mode = null;
    this.keepVisible();
  }

  move(x, y) {
    this.x += Math.round(x);
    this.y += Math.round(y);
    this.mode = null;
    this.keepVisible();
  }

  keepVisible() {
    const {width, height} = this.panes[0].canvas;
    const margin = Math.round(Math.min(width, height) / 8);
    this.x = Math.min(width - margin, Math.max(margin - Math.round(this.shown.width * this.scale), this.x));
    this.y = Math.min(height - margin, Math.max(margin - Math.round(this.shown.height * this.scale), this.y));
    this.redraw();
  }

  // `brighter` and `softer` are in hundredths of the initial window width.
  changeWindow(brighter, softer) {
    const {window, shown} = this;
    const step = shown.window.width / 100;
    this.setWindow(window.center + (shown.inverted ? 1 : -1) * brighter * step, window.width + softer * step);
  }

  setWindow(center, width) {
    const {window, shown} = this;
    window.center = center;
    window.width = Math.max(smallestWidth(window.function, shown.slope), width);
    this.table = lookup(shown, window);
    this.redraw();
  }

  redraw() {
    if (!this.pending) this.pending = requestAnimationFrame(() => this.drawNow());
  }

  drawNow() {
    if (this.pending) cancelAnimationFrame(this.pending);
    this.pending = 0;
    const view = {scale: this.scale, x: this.x, y: this.y, smoothly: this.smoothly};
    for (const pane of this.panes) {
      pane.renderer.draw(this.table, {...view, level: levelFor(this.scale, pane.levels)});
    }
    this.onchange?.(this);
  }

  // Returns the median time of a redraw with a new window, in milliseconds, including the readback of a pixel.
  measure() {
    const times = [];
    const initialWindow = {...this.window};
    const end = performance.now() + 300;
    for (let i = 0; i < 3 || (i < 15 && performance.now() < end); i++) {
      const start = performance.now();
      this.changeWindow(i % 2 ? 1 : -1, 0);
      this.drawNow();
      for (const pane of this.panes) pane.renderer.read(1, 1);
      times.push(performance.now() - start);
    }
    this.window = initialWindow;
    this.changeWindow(0, 0);
    return times.sort((a, b) => a - b)[times.length >> 1];
  }

  point(event) {
    const canvas = event.target.closest("figure")?.querySelector("canvas") ?? this.panes[0].canvas;
    const box = canvas.getBoundingClientRect();
    const ratio = canvas.width / box.width;
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  }

  wheel(event) {
    event.preventDefault();
    if (!this.shown) return;
    const amount = Math.max(-100, Math.min(100, event.deltaY)) / 100;
    this.zoomTo(this.scale * Math.pow(1.2, -amount), ...this.point(event));
  }

  toggle(event) {
    if (this.scale === this.fittingScale) this.zoomTo(1, ...this.point(event));
    else this.fit();
  }

  drag(event) {
    if (!this.shown || event.button > 2) return;
    const moving = event.button > 0 || event.shiftKey;
    const ratio = this.panes[0].canvas.width / this.panes[0].canvas.getBoundingClientRect().width;
    let [x, y] = [event.clientX, event.clientY];
    const moved = (next) => {
      const [dx, dy] = [next.clientX - x, next.clientY - y];
      [x, y] = [next.clientX, next.clientY];
      if (moving) this.move(dx * ratio, dy * ratio);
      else this.changeWindow(-dy / 4, dx / 4);
    };
    const ended = () => {
      this.holder.removeEventListener("pointermove", moved);
      this.holder.classList.remove("dragging");
    };
    this.holder.setPointerCapture(event.pointerId);
    this.holder.classList.add("dragging");
    this.holder.addEventListener("pointermove", moved);
    this.holder.addEventListener("pointerup", ended, {once: true});
    this.holder.addEventListener("pointercancel", ended, {once: true});
  }

  // Performs the action of a key, and returns whether it has one.
  key(key) {
    const step = Math.round(this.panes[0].canvas.width / 16);
    const actions = {
      "+": () => this.zoomTo(this.scale * 1.25),
      "=": () => this.zoomTo(this.scale * 1.25),
      "-": () => this.zoomTo(this.scale / 1.25),
      f: () => this.fit(),
      o: () => this.zoomTo(1),
      r: () => this.reset(),
      w: () => this.changeWindow(4, 0),
      s: () => this.changeWindow(-4, 0),
      a: () => this.changeWindow(0, -4),
      d: () => this.changeWindow(0, 4),
      ArrowLeft: () => this.move(step, 0),
      ArrowRight: () => this.move(-step, 0),
      ArrowUp: () => this.move(0, step),
      ArrowDown: () => this.move(0, -step),
    };
    const action = actions[key.length === 1 ? key.toLowerCase() : key];
    action?.();
    return Boolean(action);
  }
}

// Draws all 65,536 pixel values once and compares the values read back with the lookup table.
export function selfTest(rendererName) {
  const canvas = Object.assign(document.createElement("canvas"), {width: 256, height: 256});
  const renderer = rendererFor(canvas, rendererName);
  const numbers = Uint16Array.from({length: 65536}, (_, i) => i);
  const shown = {offset: 0, slope: 1, intercept: 0, inverted: false, padding: null};
  const table = lookup(shown, {center: 30000, width: 40000, function: "LINEAR"});
  renderer.load([{data: numbers, width: 256, height: 256}], null);
  renderer.draw(table, {scale: 1, x: 0, y: 0, level: 0, smoothly: false});
  const rows = renderer.read(256, 256);
  return rows.every((row, y) => table.subarray(y * 256, y * 256 + 256).every((value, x) => row[4 * x] === value));
}
