// The display check: questions to the reader and measurements, once per visit.

import {Viewer, selfTest} from "./viewer.js";
import {inHardware} from "./webgl.js";

const STEPS = 33;
const RENDERERS = ["webgl2", "canvas"];

// Returns "webgl2" or "canvas": the requested renderer if valid, else WebGL if a graphics card supports it.
export function renderer(requested) {
  if (RENDERERS.includes(requested)) return requested;
  return inHardware() ? RENDERERS[0] : RENDERERS[1];
}

export function prepare(section, rendererName) {
  const ramp = section.querySelector(".ramp");
  ramp.replaceChildren(
    ...Array.from({length: STEPS}, (_, i) => {
      const step = document.createElement("div");
      const shade = Math.round((255 * i) / (STEPS - 1));
      step.style.backgroundColor = `rgb(${shade}, ${shade}, ${shade})`;
      return step;
    }),
  );
  const measured = measure(rendererName);
  const drawn = measured.renderer === "webgl2" ? "by the graphics card" : "without the graphics card";
  section.querySelector(".measured").textContent =
    `${Math.round(measured.screen_width * measured.device_pixel_ratio)} x ` +
    `${Math.round(measured.screen_height * measured.device_pixel_ratio)} pixels, drawn ${drawn} in ` +
    `${measured.redraw_ms.toFixed(1)} ms, windowing ` +
    `${measured.windowing_exact ? "exact" : "NOT EXACT: please contact the study coordinator"}`;
  return measured;
}

// Measures with two images of 512 x 512 pixels, each in half of the browser window, as during reading.
function measure(rendererName) {
  const holder = document.createElement("div");
  holder.className = "probe";
  document.body.append(holder);
  const viewer = new Viewer(holder, rendererName);
  const window = {center: 32768, width: 65536, function: "LINEAR"};
  const shown = {height: 512, width: 512, offset: 0, slope: 1, intercept: 0, inverted: false, padding: null, window};
  const data = Uint16Array.from({length: 512 * 512}, (_, i) => (i * 40503) & 65535);
  viewer.show([{role: "left", data}, {role: "right", data}], shown, true);
  const redraw = viewer.measure();
  viewer.observer.disconnect();
  holder.remove();
  return {
    screen_width: screen.width,
    screen_height: screen.height,
    device_pixel_ratio: devicePixelRatio,
    color_depth: screen.colorDepth,
    renderer: viewer.renderer,
    windowing_exact: selfTest(rendererName),
    redraw_ms: redraw,
    user_agent: navigator.userAgent.slice(0, 300),
  };
}

export function answersOf(form) {
  const values = new FormData(form);
  return {
    dark_square: values.get("dark_square") === "yes",
    bright_square: values.get("bright_square") === "yes",
    ambient: values.get("ambient"),
    calibrated: values.get("calibrated"),
  };
}
