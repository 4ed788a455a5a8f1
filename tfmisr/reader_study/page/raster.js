// Draws an image of 16-bit numbers on a plain canvas, where there is no WebGL 2 in hardware.

// The colour of each number, made once for all panes that are drawn with one table.
const made = new WeakMap();

function coloured(table) {
  const colours = new Uint32Array(table.length);
  for (let i = 0; i < table.length; i++) colours[i] = 0xff000000 | (table[i] * 0x010101);
  return colours;
}

function coloursOf(table) {
  if (!made.has(table)) made.set(table, coloured(table));
  return made.get(table);
}

export class Raster {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", {alpha: false, willReadFrequently: true});
  }

  load(levels, padding) {
    this.levels = levels;
    this.padding = padding;
    this.view = null;
  }

  draw(table, view) {
    const {width, height} = this.canvas;
    const key = JSON.stringify([width, height, view]);
    // A change of the window alone looks the numbers up again, and interpolates nothing.
    if (key !== this.view) {
      this.view = key;
      this.resample(width, height, view);
    }
    const {pixels, numbers} = this;
    const {top, bottom, left, right} = this.inside;
    const colours = coloursOf(table);
    for (let y = top; y < bottom; y++) {
      for (let at = y * width + left, end = y * width + right; at < end; at++) pixels[at] = colours[numbers[at]];
    }
    this.context.putImageData(this.image, 0, 0);
  }

  resample(width, height, {scale, x, y, level, smoothly}) {
    if (!this.image || this.image.width !== width || this.image.height !== height) {
      this.image = this.context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.numbers = new Uint16Array(width * height);
    }
    const from = this.levels[level];
    const columns = places(width, x, scale, this.levels[0].width, from.width);
    const rows = places(height, y, scale, this.levels[0].height, from.height);
    this.pixels.fill(0xff000000);
    this.inside = {left: columns.start, right: columns.end, top: rows.start, bottom: rows.end};
    (smoothly ? bilinear : nearest)(from, columns, rows, this.numbers, width);
    if (smoothly && this.padding) mendPadding(from, columns, rows, this.numbers, width, this.padding);
  }

  read(width, height) {
    const rows = [];
    const {data} = this.context.getImageData(0, 0, width, height);
    for (let y = 0; y < height; y++) rows.push(data.subarray(y * width * 4, (y + 1) * width * 4));
    return rows;
  }
}

// Returns where the screen's pixels along one axis lie in the image: the nearest pixel, the two around, and the weight.
function places(length, origin, scale, whole, size) {
  const found = {near: new Int32Array(length), first: new Int32Array(length), second: new Int32Array(length)};
  found.part = new Float32Array(length);
  found.start = length;
  found.end = 0;
  for (let i = 0; i < length; i++) {
    let place = (i + 0.5 - origin) / scale;
    if (place < 0 || place >= whole) continue;
    found.start = Math.min(found.start, i);
    found.end = i + 1;
    place *= size / whole;
    const corner = Math.floor(place - 0.5);
    found.near[i] = Math.min(Math.floor(place), size - 1);
    found.first[i] = Math.max(corner, 0);
    found.second[i] = Math.min(corner + 1, size - 1);
    found.part[i] = place - 0.5 - corner;
  }
  return found;
}

function nearest(from, columns, rows, out, width) {
  const {near} = columns;
  for (let y = rows.start; y < rows.end; y++) {
    const row = rows.near[y] * from.width;
    for (let x = columns.start, at = y * width + x; x < columns.end; x++, at++) out[at] = from.data[row + near[x]];
  }
}

// First down the columns of the image, then along the row of the screen: two numbers a pixel instead of four.
function bilinear(from, columns, rows, out, width) {
  const {first, second, part, start, end} = columns;
  const {data} = from;
  const line = new Float64Array(from.width);
  const [low, high] = [first[start], second[end - 1]];
  for (let y = rows.start; y < rows.end; y++) {
    const upper = rows.first[y] * from.width;
    const lower = rows.second[y] * from.width;
    const down = rows.part[y];
    for (let i = low; i <= high; i++) line[i] = data[upper + i] + (data[lower + i] - data[upper + i]) * down;
    for (let x = start, at = y * width + x; x < end; x++, at++) {
      const left = line[first[x]];
      out[at] = left + (line[second[x]] - left) * part[x] + 0.5;
    }
  }
}

// Next to padding nothing is mixed: the nearest pixel stands, as in webgl.js.
function mendPadding(from, columns, rows, out, width, [low, high]) {
  const {near, first, second} = columns;
  const {data} = from;
  const isPadding = (at) => data[at] >= low && data[at] <= high;
  for (let y = rows.start; y < rows.end; y++) {
    const upper = rows.first[y] * from.width;
    const lower = rows.second[y] * from.width;
    const middle = rows.near[y] * from.width;
    for (let x = columns.start, at = y * width + x; x < columns.end; x++, at++) {
      const [a, b] = [first[x], second[x]];
      if (isPadding(upper + a) || isPadding(upper + b) || isPadding(lower + a) || isPadding(lower + b)) {
        out[at] = data[middle + near[x]];
      }
    }
  }
}
