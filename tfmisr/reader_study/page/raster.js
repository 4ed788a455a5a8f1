// Draws an image of 16-bit numbers on a 2D canvas, for computers without hardware WebGL 2.

// Lookup table of gray levels to its RGBA colors, cached for all panes that share the table.
const cache = new WeakMap();

function rgbaTable(table) {
  const colors = new Uint32Array(table.length);
  for (let i = 0; i < table.length; i++) colors[i] = 0xff000000 | (table[i] * 0x010101);
  return colors;
}

function colorsOf(table) {
  if (!cache.has(table)) cache.set(table, rgbaTable(table));
  return cache.get(table);
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
    // If only the window changed, the interpolated numbers are reused.
    if (key !== this.view) {
      this.view = key;
      this.resample(width, height, view);
    }
    const {pixels, numbers} = this;
    const {top, bottom, left, right} = this.inside;
    const colors = colorsOf(table);
    for (let y = top; y < bottom; y++) {
      for (let at = y * width + left, end = y * width + right; at < end; at++) pixels[at] = colors[numbers[at]];
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
    const columns = samplePositions(width, x, scale, this.levels[0].width, from.width);
    const rows = samplePositions(height, y, scale, this.levels[0].height, from.height);
    this.pixels.fill(0xff000000);
    this.inside = {left: columns.start, right: columns.end, top: rows.start, bottom: rows.end};
    (smoothly ? bilinear : nearest)(from, columns, rows, this.numbers, width);
    if (smoothly && this.padding) restorePadding(from, columns, rows, this.numbers, width, this.padding);
  }

  read(width, height) {
    const rows = [];
    const {data} = this.context.getImageData(0, 0, width, height);
    for (let y = 0; y < height; y++) rows.push(data.subarray(y * width * 4, (y + 1) * width * 4));
    return rows;
  }
}

// Returns for the screen's pixels along one axis the nearest image pixel, the two neighbors, and the linear weight.
function samplePositions(length, origin, scale, fullSize, size) {
  const positions = {near: new Int32Array(length), first: new Int32Array(length), second: new Int32Array(length)};
  positions.part = new Float32Array(length);
  positions.start = length;
  positions.end = 0;
  for (let i = 0; i < length; i++) {
    let position = (i + 0.5 - origin) / scale;
    if (position < 0 || position >= fullSize) continue;
    positions.start = Math.min(positions.start, i);
    positions.end = i + 1;
    position *= size / fullSize;
    const corner = Math.floor(position - 0.5);
    positions.near[i] = Math.min(Math.floor(position), size - 1);
    positions.first[i] = Math.max(corner, 0);
    positions.second[i] = Math.min(corner + 1, size - 1);
    positions.part[i] = position - 0.5 - corner;
  }
  return positions;
}

function nearest(from, columns, rows, out, width) {
  const {near} = columns;
  for (let y = rows.start; y < rows.end; y++) {
    const row = rows.near[y] * from.width;
    for (let x = columns.start, at = y * width + x; x < columns.end; x++, at++) out[at] = from.data[row + near[x]];
  }
}

// Separable: first along the image's columns, then along the screen's row; two reads per pixel instead of four.
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

// Next to padding the nearest pixel is used without interpolation, as in webgl.js.
function restorePadding(from, columns, rows, out, width, [low, high]) {
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
