// Pillow's own arithmetic for reducing and resizing, so that a browser gets the pixels that Python gets.
// An image is { data, width, height, channels }, its data row by row.

const PRECISION = 2 ** 22; // of the weights, as in Pillow's Resample.c
const LOBES = 3; // of Lanczos

/** Means of factor x factor pixels; cells at the right and bottom edges have what is left. `Image.reduce` of Pillow. */
export function reduce({ data, width, height }, factor, [left, top, right, bottom] = [0, 0, width, height]) {
  const columns = Math.ceil((right - left) / factor), rows = Math.ceil((bottom - top) / factor);
  const whole = data instanceof Uint8Array, out = new data.constructor(columns * rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const x0 = left + column * factor, y0 = top + row * factor;
      const x1 = Math.min(x0 + factor, right), y1 = Math.min(y0 + factor, bottom);
      let sum = 0;
      for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) sum += data[y * width + x];
      const count = (x1 - x0) * (y1 - y0);
      out[row * columns + column] = whole ? wholeMean(sum, count) : sum / count;
    }
  }
  return { data: out, width: columns, height: rows, channels: 1 };
}

function wholeMean(sum, count) { // in fixed point, as Pillow's Reduce.c
  return Math.floor((sum + (count >> 1)) * Math.floor(Math.fround(2 ** 24 / count)) / 2 ** 24);
}

/** Antialiased Lanczos resize of 8-bit pixels. `Image.resize` of Pillow. */
export function resize(image, width, height, [left, top, right, bottom] = [0, 0, image.width, image.height]) {
  let out = image;
  if (width !== image.width || left || right !== image.width) out = resizeRows(out, width, left, right);
  if (height !== image.height || top || bottom !== image.height) {
    out = transposed(resizeRows(transposed(out), height, top, bottom));
  }
  return out;
}

function resizeRows({ data, width, height, channels }, outWidth, from, to) {
  const out = new Uint8Array(outWidth * height * channels);
  const weights = lanczosWeights(width, outWidth, from, to);
  for (let y = 0; y < height; y++) {
    weights.forEach(({ first, parts }, x) => {
      for (let c = 0; c < channels; c++) {
        let sum = PRECISION / 2;
        for (let i = 0; i < parts.length; i++) sum += parts[i] * data[(y * width + first + i) * channels + c];
        out[(y * outWidth + x) * channels + c] = Math.min(Math.max(Math.floor(sum / PRECISION), 0), 255);
      }
    });
  }
  return { data: out, width: outWidth, height, channels };
}

/** For each pixel of the result, the first pixel that it is made of, and the weights of that and those behind it. */
function lanczosWeights(size, outSize, from, to) {
  const scale = (to - from) / outSize, stretch = Math.max(scale, 1), support = LOBES * stretch;
  return Array.from({ length: outSize }, (_, position) => {
    const center = from + (position + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), size);
    const real = Array.from({ length: end - first }, (_, i) => lanczos((first + i - center + 0.5) / stretch));
    const total = real.reduce((a, b) => a + b, 0);
    return { first, parts: real.map((weight) => roundAway(weight / total * PRECISION)) };
  });
}

const sinc = (x) => x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
const lanczos = (x) => x >= -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
const roundAway = (x) => x < 0 ? Math.trunc(x - 0.5) : Math.trunc(x + 0.5);

function transposed({ data, width, height, channels }) {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) out[(x * height + y) * channels + c] = data[(y * width + x) * channels + c];
    }
  }
  return { data: out, width: height, height: width, channels };
}
