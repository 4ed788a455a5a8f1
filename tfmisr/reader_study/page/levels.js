// Mipmaps at full bit depth: without them a minified image would alias.

// Returns [{data, width, height}], each level half the size of the previous one; means exclude padding.
export function levelsOf(data, width, height, padding) {
  const levels = [{data, width, height}];
  while (Math.min(width, height) > 128) {
    const finer = levels[levels.length - 1];
    width >>= 1;
    height >>= 1;
    levels.push({data: halved(finer, width, height, padding), width, height});
  }
  return levels;
}

function halved(finer, width, height, padding) {
  const out = new Uint16Array(width * height);
  const {data, width: row} = finer;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0, from = 2 * y * row; x < width; x++, from += 2, at++) {
      out[at] = (data[from] + data[from + 1] + data[from + row] + data[from + row + 1] + 2) >> 2;
    }
  }
  if (padding) restorePadding(finer, out, width, height, padding);
  return out;
}

function restorePadding({data, width: row}, out, width, height, [low, high]) {
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0, from = 2 * y * row; x < width; x++, from += 2, at++) {
      const four = [data[from], data[from + 1], data[from + row], data[from + row + 1]];
      const image = four.filter((value) => value < low || value > high);
      if (image.length < 4) out[at] = image.length ? image.reduce((a, b) => a + b) / image.length + 0.5 : four[0];
    }
  }
}

// Returns the level to draw at a scale of screen pixels per image pixel: the smallest one that is not magnified.
export function levelFor(scale, levels) {
  return Math.max(0, Math.min(levels.length - 1, Math.floor(-Math.log2(scale) + 1e-9)));
}
