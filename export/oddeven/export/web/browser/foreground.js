// Separate the foreground of an image from an uneven background: oddeven.runtime.images.foreground in JavaScript.
// There are the reasons for each step; the names and the numbers are the same.

import { reduce } from "./resample.js";

const WORK_SIDE = 160, LEAST_SIDE = 40, GRID_SIDE = 24, BORDER_WEIGHT = 3, LEAST_CONTRAST = 20, LEAST_AREA = 4;
const NOISES = 5, THRESHOLD = 0.45, SOFT = [0.2, 0.9], MAJOR = 0.1;

export class BlankError extends Error {}

/** The foreground of a grey image: `ink`, 0 to 1, cropped to it, and whether it is `light`er than the background. */
export function findForeground(grey, light = null) {
  let box = [0, 0, grey.width, grey.height], factor = 0;
  for (;;) {
    const before = factor;
    factor = Math.ceil(Math.max(box[2] - box[0], box[3] - box[1]) / WORK_SIDE);
    const relief = flat(toFloats(reduce(grey, factor, box)));
    light ??= isLight(relief.data);
    if (!light) relief.data = relief.data.map((value) => -value);
    const { ink, found } = findInk(relief);
    const side = Math.max(ink.width, ink.height);
    if (side >= LEAST_SIDE || factor === 1 || factor === before) return { ink, light };
    box = around(found, Math.floor(side / 3) + 2, factor, box);
  }
}

const toFloats = (image) => ({ ...image, data: Float32Array.from(image.data) });

function around([left, top, right, bottom], margin, factor, box) {
  return [left - margin, top - margin, right + margin, bottom + margin].map((value, i) =>
    Math.min(Math.max(box[i % 2] + value * factor, box[i % 2]), box[2 + i % 2]));
}

/** `grey` minus its background: a second-order surface of least absolute deviation. */
function flat(grey) {
  const coarse = reduce(grey, Math.ceil(Math.max(grey.width, grey.height) / GRID_SIDE));
  const [a, b, c, d, e, f] = fitted(coarse);
  const data = new Float32Array(grey.data.length), xs = axis(grey.width), ys = axis(grey.height);
  ys.forEach((y, row) => xs.forEach((x, column) => {
    const at = row * grey.width + column;
    data[at] = grey.data[at] - (a + b * x + d * x * x + y * (c + f * x) + e * y * y);
  }));
  return { ...grey, data };
}

function fitted({ data, width, height }) {
  const xs = axis(width), ys = axis(height), count = data.length;
  const terms = Array.from(data, (_, i) => {
    const x = xs[i % width], y = ys[Math.floor(i / width)];
    return [1, x, y, x * x, y * y, x * y];
  });
  const isBorder = (i) => i % width === 0 || i % width === width - 1 || i < width || i >= count - width;
  let surface = [middle(data), 0, 0, 0, 0, 0];
  for (let turn = 0; turn < 5; turn++) {
    const matrix = surface.map((_, i) => surface.map((_, j) => i === j && i ? 1e-4 * count : 0)), right = surface.map(() => 0);
    terms.forEach((term, i) => {
      const off = Math.abs(data[i] - term.reduce((sum, value, k) => sum + value * surface[k], 0));
      const weight = (isBorder(i) ? BORDER_WEIGHT : 1) / Math.max(off, 2);
      term.forEach((p, k) => {
        right[k] += weight * p * data[i];
        term.forEach((q, l) => { matrix[k][l] += weight * p * q; });
      });
    });
    surface = solve(matrix, right);
  }
  return surface.map(Math.fround);
}

const axis = (size) => Array.from({ length: size }, (_, i) => Math.fround(Math.fround((i + 0.5) * Math.fround(2 / size)) - 1));

/** Gaussian elimination of a symmetric, positive definite system. */
function solve(matrix, right) {
  const size = right.length, rows = matrix.map((row, i) => [...row, right[i]]);
  for (let i = 0; i < size; i++) {
    for (let j = i + 1; j < size; j++) {
      const part = rows[j][i] / rows[i][i];
      for (let k = i; k <= size; k++) rows[j][k] -= part * rows[i][k];
    }
  }
  const out = new Array(size).fill(0);
  for (let i = size - 1; i >= 0; i--) {
    out[i] = rows[i].slice(i + 1, size).reduce((sum, value, k) => sum - value * out[i + 1 + k], rows[i][size]) / rows[i][i];
  }
  return out;
}

function isLight(relief) {
  let above = 0, below = 0;
  for (const value of relief) {
    if (value > LEAST_CONTRAST) above += value;
    if (value < -LEAST_CONTRAST) below -= value;
  }
  return above >= below;
}

function findInk(relief) {
  const { data, width, height } = relief, steps = [];
  const sampled = Array.from({ length: Math.ceil(height / 4) }, (_, i) => [...data.subarray(4 * i * width, (4 * i + 1) * width)]).flat();
  for (let i = 1; i < sampled.length; i++) steps.push(Math.abs(Math.fround(sampled[i] - sampled[i - 1])));
  const noise = steps.length ? middle(steps) / 0.95 : 0;
  const high = data.filter((value) => value > Math.max(NOISES * noise, LEAST_CONTRAST));
  if (!high.length) throw blank();
  const least = Math.max(THRESHOLD * level(high), 3 * noise);
  const { mask, box: found } = major(Uint8Array.from(data, (value) => value > least), width, height);
  const [low, full] = SOFT.map((part) => Math.fround(part * level(data.filter((_, i) => mask[i]))));
  const [left, top, right, bottom] = found;
  const ink = { data: new Float32Array((right - left) * (bottom - top)), width: right - left, height: bottom - top };
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const value = Math.min(Math.max(Math.fround(data[y * width + x] - low) / Math.fround(full - low), 0), 1);
      ink.data[(y - top) * ink.width + x - left] = isNear(mask, width, height, x, y, found) ? value : 0;
    }
  }
  return { ink, found };
}

/** Whether a pixel of the foreground lies within two pixels, inside the box. */
function isNear(mask, width, height, x, y, [left, top, right, bottom]) {
  for (let v = Math.max(y - 2, top); v < Math.min(y + 3, bottom); v++) {
    for (let u = Math.max(x - 2, left); u < Math.min(x + 3, right); u++) if (mask[v * width + u]) return true;
  }
  return false;
}

/** `mask` without its specks, and the bounding box of what remains. */
function major(mask, width, height) {
  const pieces = connected(mask, width, height);
  const most = (areas) => areas.reduce((a, b) => Math.max(a, b), 0);
  const all = pieces.map(({ pixels }) => pixels.length), inner = pieces.map(({ outer }, i) => outer ? 0 : all[i]);
  const areas = most(inner) >= Math.max(LEAST_AREA, MAJOR * most(all)) ? inner : all;
  if (most(areas) < LEAST_AREA) throw blank();
  const kept = new Uint8Array(mask.length), box = [width, height, 0, 0];
  for (const { pixels } of pieces.filter((_, i) => areas[i] >= MAJOR * most(areas))) {
    for (const pixel of pixels) {
      const x = pixel % width, y = Math.floor(pixel / width);
      kept[pixel] = 1;
      box.splice(0, 4, Math.min(box[0], x), Math.min(box[1], y), Math.max(box[2], x + 1), Math.max(box[3], y + 1));
    }
  }
  return { mask: kept, box };
}

/** The 8-connected pieces of `mask`: their pixels, and whether they touch the image's border. */
function connected(mask, width, height) {
  const left = Uint8Array.from(mask), pieces = [];
  for (let start = 0; start < left.length; start++) {
    if (!left[start]) continue;
    const pixels = [start];
    let outer = false;
    left[start] = 0;
    for (const pixel of pixels) { // which grows meanwhile
      const x = pixel % width, y = Math.floor(pixel / width);
      outer ||= x === 0 || y === 0 || x === width - 1 || y === height - 1;
      for (let v = Math.max(y - 1, 0); v < Math.min(y + 2, height); v++) {
        for (let u = Math.max(x - 1, 0); u < Math.min(x + 2, width); u++) {
          if (!left[v * width + u]) continue;
          left[v * width + u] = 0;
          pixels.push(v * width + u);
        }
      }
    }
    pieces.push({ pixels, outer });
  }
  return pieces;
}

const ranked = (values, rank) => Float64Array.from(values).sort()[rank];
const level = (values) => ranked(values, Math.floor(3 * values.length / 4));

/** The upper median. */
export const middle = (values) => ranked(values, Math.floor(values.length / 2));

const blank = () => new BlankError("The image is blank: its tones differ no more than noise does.");
