// Predictions in the browser itself: the model files run in LiteRT.js, and nothing leaves this machine.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";
import { BlankError } from "./foreground.js";
import { decode, prepare } from "./prepare.js";
import { withBatchOfOne } from "./tflite.js";

let opened;

export const open = () => opened ??= load();

async function load() {
  const models = await (await fetch("models.json")).json();
  await loadLiteRt("litert/core/wasm/");
  for (const model of models) {
    const file = await (await fetch(encodeURIComponent(model.file))).arrayBuffer();
    model.compiled = await loadAndCompile(withBatchOfOne(new Uint8Array(file)), { accelerator: "wasm" });
  }
  return { models, predict: async (blob) => {
    const predictions = [];
    for (const model of models) predictions.push(await predict(model, blob));
    return predictions;
  } };
}

async function predict(model, blob) {
  const start = performance.now();
  try {
    const pixels = prepare(await decode(blob, model.input.channels), model.input), prepared = performance.now();
    const prediction = judge(...await run(model, pixels), model);
    return { ...prediction, input: await dataUrl(pixels), prepare_ms: prepared - start, infer_ms: performance.now() - prepared };
  } catch (error) {
    if (!(error instanceof BlankError)) throw error;
    return { label: "uncertain", scores: {}, reason: error.message, prepare_ms: performance.now() - start };
  }
}

/** Probability of label 1 and, where the file has it, a score of familiarity. Each tensor is freed: the module's memory has no other end. */
async function run({ compiled, input, output, familiarity }, pixels) {
  const type = { uint8: Uint8Array, int8: Int8Array, float32: Float32Array }[input.dtype];
  const given = Tensor.fromTypedArray(type.from(pixels.data, (level) => input.levels[level]), [1, input.height, input.width, input.channels]);
  const results = await compiled.run(given), values = [];
  given.delete();
  for (const result of results) {
    values.push((await result.data())[0]);
    result.delete();
  }
  const p = real(values[0], output);
  return [output.scale === 0 ? Math.min(Math.max(p, 0), 1) : p, familiarity && real(values[1], familiarity)];
}

const real = (value, { scale, zero_point }) =>
  scale === 0 ? value : Math.fround(Math.fround(value - zero_point) * Math.fround(scale));

/** The prediction; unknown where the image is less familiar than the model's least. */
function judge(p, raw, model) {
  const prediction = decide(p, model);
  if (!model.familiarity) return prediction;
  const { scores, shares, least } = model.familiarity, last = scores.length - 1;
  const next = scores.findIndex((score) => raw < score), after = next === -1 ? last : Math.max(next, 1), before = after - 1;
  const part = (raw - scores[before]) / (scores[after] - scores[before]);
  const familiarity = Math.fround(shares[before] + Math.min(Math.max(part, 0), 1) * (shares[after] - shares[before]));
  if (familiarity >= least) return { ...prediction, familiarity };
  const reason = `The image is unlike those that the model was made for: its familiarity, ${familiarity.toFixed(4)}, is below ${least}.`;
  return { ...prediction, label: "unknown", familiarity, reason };
}

function decide(p, { labels, threshold, output }) {
  const shown = Math.min(Math.max(p, output.gap), 1 - output.gap), label = labels[Number(p > threshold)];
  const scores = { [labels[0]]: 1 - shown, [labels[1]]: shown };
  return { label, probability: scores[label], scores, reason: "" };
}

/** What the model sees, as a PNG file in a URL. */
async function dataUrl({ data, width, height, channels }) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const rgba = Uint8ClampedArray.from({ length: 4 * width * height }, (_, i) =>
    i % 4 === 3 ? 255 : data[Math.floor(i / 4) * channels + (channels === 3 ? i % 4 : 0)]);
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas.toDataURL();
}
