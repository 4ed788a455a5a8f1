// The VOI LUT functions of DICOM (PS3.3 C.11.2.1), in the same 64-bit arithmetic as tfmisr/reader_study/windowing.py.

function sigmoid(center, width) {
  return (x) => 255 / (1 + Math.exp(Math.min((-4 * (x - center)) / width, 700)));
}

function ramp(center, width) {
  const low = center - width / 2;
  const high = center + width / 2;
  return (x) => (x <= low ? 0 : x > high ? 255 : ((x - center) / width + 0.5) * 255);
}

function brightness({center, width, function: name}) {
  if (name === "SIGMOID") return sigmoid(center, width);
  return name === "LINEAR" ? ramp(center - 0.5, width - 1) : ramp(center, width);
}

// Returns the display value, 0 to 255, of each of the 65,536 possible pixel values.
export function lookup(shown, window) {
  const table = new Uint8Array(65536);
  const {offset, slope, intercept, inverted} = shown;
  const bright = brightness(window);
  for (let number = 0; number < 65536; number++) {
    const y = Math.floor(bright((number + offset) * slope + intercept) + 0.5);
    table[number] = inverted ? 255 - y : y;
  }
  if (shown.padding) table.fill(0, shown.padding[0], shown.padding[1] + 1);
  return table;
}

export function smallestWidth(name, slope) {
  return name === "LINEAR" ? Math.max(1, Math.abs(slope)) + 1 : Math.abs(slope);
}
