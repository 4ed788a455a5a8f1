// What is known of the screen, asked and measured once a visit.

import {Viewer, selfTest} from "./viewer.js";
import {inHardware} from "./webgl.js";

const STEPS = 33;
const RENDERERS = ["webgl2", "canvas"];

// Returns "webgl2" or "canvas": what `asked` says, else WebGL where a graphics card does it.
export function renderer(asked) {
  if (RENDERERS.includes(asked)) return asked;
  return inHardware() ? RENDERERS[0] : RENDERERS[1];
}

export function prepare(section, wanted) {
  const ramp = section.querySelector(".ramp");
  ramp.replaceChildren(
    ...Array.from({length: STEPS}, (_, i) => {
      const step = document.createElement("div");
      const shade = Math.round((255 * i) / (STEPS - 1));
      step.style.backgroundColor = `rgb(${shade}, ${shade}, ${shade})`;
      return step;
    }),
  );
  const found = measured(wanted);
  const drawn = found.renderer === "webgl2" ? "by the graphics card" : "without the graphics card";
  section.querySelector(".measured").textContent =
    `${Math.round(found.screen_width * found.device_pixel_ratio)} x ` +
    `${Math.round(found.screen_height * found.device_pixel_ratio)} pixels, drawn ${drawn} in ` +
    `${found.redraw_ms.toFixed(1)} ms, window ${found.windowing_exact ? "exact" : "NOT EXACT: please tell the study's office"}`;
  return found;
}

// Two images of 512 x 512 pixels in half of the window each, as large as while reading.
function measured(wanted) {
  const holder = document.createElement("div");
  holder.className = "probe";
  document.body.append(holder);
  const viewer = new Viewer(holder, wanted);
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
    windowing_exact: selfTest(wanted),
    redraw_ms: redraw,
    user_agent: navigator.userAgent.slice(0, 300),
  };
}

export function answersOf(form) {
  const given = new FormData(form);
  return {
    dark_square: given.get("dark_square") === "yes",
    bright_square: given.get("bright_square") === "yes",
    ambient: given.get("ambient"),
    calibrated: given.get("calibrated"),
  };
}
