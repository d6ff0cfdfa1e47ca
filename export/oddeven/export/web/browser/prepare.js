// From an image file to the pixels that a model takes: oddeven.runtime.images.decode and .preprocess in JavaScript.
// There are the reasons for each step; the names and the numbers are the same.

import { BlankError, findForeground, middle } from "./foreground.js";
import { resize } from "./resample.js";

const DARK = 64, BRIGHT = 128, PALE = 240;

/** The pixels of an image file, upright and opaque, grey or RGB. */
export async function decode(blob, channels) {
  const bitmap = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" })
    .catch(() => { throw new Error("The file cannot be read as an image."); });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  bitmap.close();
  return toChannels(opaque(rgba, channels), context.canvas.width, context.canvas.height, channels);
}

function toChannels(rgba, width, height, channels) {
  const data = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = rgba.subarray(4 * i, 4 * i + 3);
    if (channels === 3) data.set([r, g, b], 3 * i);
    else data[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
  }
  return { data, width, height, channels };
}

/** Pixels laid onto the background that their transparent part most likely stands for. */
function opaque(rgba, channels) {
  const visible = [], count = rgba.length / 4;
  for (let i = 0; i < count; i++) if (rgba[4 * i + 3] > 127) visible.push(i);
  if (visible.length === count && rgba.every((value, i) => i % 4 < 3 || value === 255)) return rgba;
  let tone = visible.length ? [0, 1, 2].map((c) => middle(visible.map((i) => rgba[4 * i + c]))) : [0, 0, 0];
  if (channels === 3 || visible.length * 2 < count) {
    const light = tone[0] + tone[1] + tone[2] > 3 * (channels === 3 ? PALE : 127.5);
    tone = light ? [0, 0, 0] : [255, 255, 255];
  }
  return rgba.map((value, i) => {
    const part = rgba[i - i % 4 + 3] / 255;
    return i % 4 === 3 ? 255 : Math.round(value * part + tone[i % 4] * (1 - part));
  });
}

/** A decoded image as the model takes it. */
export function prepare(image, input) {
  return PREPROCESSINGS[input.preprocessing](image, input);
}

const PREPROCESSINGS = {
  raw(image, input) {
    if (image.width === input.width && image.height === input.height) return withPolarity(image, { ...input, polarity: "any" });
    throw new Error(`The model takes images of ${input.width}x${input.height} pixels only.`);
  },
  squash: (image, input) => resize(withPolarity(image, input), input.width, input.height),
  "fit-shortest"(image, input) {
    const { width, height } = image, ratio = input.width / input.height;
    const [w, h] = width / height >= ratio ? [ratio * height, height] : [width, width / ratio];
    const [left, top] = [(width - w) / 2, (height - h) / 2];
    return resize(withPolarity(image, input), input.width, input.height, [left, top, left + w, top + h]);
  },
  "fit-longest"(image, input) {
    image = withPolarity(image, input);
    const scale = Math.min(input.height / image.height, input.width / image.width);
    const [width, height] = [image.width, image.height].map((side) => Math.max(1, roundEven(side * scale)));
    const edge = border(image), tone = Array.from({ length: image.channels }, (_, c) => middle(edge.map((pixel) => pixel[c])));
    const left = Math.floor((input.width - width) / 2), top = Math.floor((input.height - height) / 2);
    return placed(resize(image, width, height), input, left, top, tone);
  },
  mnist(image, input) {
    const light = input.polarity !== "dark-on-light";
    const fits = image.width === input.width && image.height === input.height && image.channels === input.channels;
    if (fits && light && isReady(image)) return image;
    const grey = image.channels === 1 ? image : toGrey(image);
    const found = findForeground(grey);
    if (fits) return found.light === light ? image : inverted(image);
    const canvas = centred(found.ink, input);
    const out = light ? canvas : inverted(canvas);
    return input.channels === 1 ? out : { ...out, data: Uint8Array.from({ length: 3 * out.data.length }, (_, i) => out.data[Math.floor(i / 3)]), channels: 3 };
  },
};

function isReady({ data, width, channels }) {
  const row = width * channels;
  const corners = data[0] | data[row - 1] | data[data.length - row] | data[data.length - 1];
  return corners < DARK && data.some((value) => value >= BRIGHT);
}

function toGrey({ data, width, height }) {
  const grey = Uint8Array.from({ length: width * height }, (_, i) =>
    (data[3 * i] * 19595 + data[3 * i + 1] * 38470 + data[3 * i + 2] * 7471 + 0x8000) >> 16);
  return { data: grey, width, height, channels: 1 };
}

function withPolarity(image, { polarity }) {
  if (image.data.every((value, i) => value === image.data[i % image.channels])) throw new BlankError("The image is blank: all of it is of one tone.");
  if (polarity === "any") return image;
  const lightBorder = middle(border(image).flat()) > 127.5;
  return lightBorder === (polarity === "light-on-dark") ? inverted(image) : image;
}

const inverted = (image) => ({ ...image, data: image.data.map((value) => 255 - value) });

/** The pixels on all four sides, each a list of its channels; the corners twice. */
function border({ data, width, height, channels }) {
  const pixel = (x, y) => [...data.subarray((y * width + x) * channels, (y * width + x + 1) * channels)];
  const columns = Array.from({ length: width }, (_, x) => [pixel(x, 0), pixel(x, height - 1)]).flat();
  return [...columns, ...Array.from({ length: height }, (_, y) => [pixel(0, y), pixel(width - 1, y)]).flat()];
}

/** `ink` scaled to the stroke side, its centre of mass at the centre of a dark image. */
function centred(ink, input) {
  const scale = input.stroke_side / Math.max(ink.width, ink.height);
  const [width, height] = [ink.width, ink.height].map((side) => Math.max(1, roundEven(side * scale)));
  const full = { ...ink, data: Uint8Array.from(ink.data, (value) => Math.trunc(Math.fround(value * 255))), channels: 1 };
  const small = resize(full, width, height), sums = [0, 0, 0];
  small.data.forEach((value, i) => {
    sums[0] += value;
    sums[1] += value * (i % width);
    sums[2] += value * Math.floor(i / width);
  });
  const offset = (side, centre, room) => Math.min(Math.max(roundEven((side - 1) / 2 - centre), 0), room);
  const left = offset(input.width, sums[1] / sums[0], input.width - width);
  const top = offset(input.height, sums[2] / sums[0], input.height - height);
  return placed(small, { ...input, channels: 1 }, left, top, [0]);
}

function placed(image, { width, height, channels }, left, top, tone) {
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => tone[i % channels]);
  for (let y = 0; y < image.height; y++) {
    const row = image.data.subarray(y * image.width * channels, (y + 1) * image.width * channels);
    data.set(row, ((top + y) * width + left) * channels);
  }
  return { data, width, height, channels };
}

function roundEven(value) { // as Python's round
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2 ? 1 : 0) : Math.round(value);
}
