/**
 * One temperature for a model's logits, softmax(z / T), fitted to a text (Guo et al., arXiv:1706.04599): the T with the least
 * mean cross-entropy. That is convex in 1 / T, so a golden-section search over ln T finds it. The logits are a product with
 * the last norm's output, so the norm's gain divided by T is the model at temperature T, in training, files and engines.
 */
import { finalNormName, type Transformer } from "../../model/index.ts";
import { lossOf, type Sample, scoreSample } from "../sample.ts";

/** T is looked for between 1/4 and 4. */
const reach = Math.log(4);
/** ln T is found to this. */
const tolerance = 2e-3;
const golden = (Math.sqrt(5) - 1) / 2;

/** The model's own temperature, 1, where no other is better. The model is left as it was. */
export async function fitTemperature(model: Transformer, sample: Sample, signal?: AbortSignal): Promise<number> {
  const lossAt = (logT: number) =>
    atTemperature(model, Math.exp(logT), async () => lossOf(await scoreSample(model, sample, signal)).lossNats);
  let [from, to] = [-reach, reach];
  let [a, b] = [to - golden * (to - from), from + golden * (to - from)];
  let [lossA, lossB] = [await lossAt(a), await lossAt(b)];
  while (to - from > tolerance) {
    if (lossA <= lossB) {
      [to, b, lossB] = [b, a, lossA];
      a = to - golden * (to - from);
      lossA = await lossAt(a);
    } else {
      [from, a, lossA] = [a, b, lossB];
      b = from + golden * (to - from);
      lossB = await lossAt(b);
    }
  }
  const found = (from + to) / 2;
  return (await lossAt(found)) < (await lossAt(0)) ? Math.exp(found) : 1;
}

/** Runs `body` with the model at a temperature, and puts it back as it was. */
export async function atTemperature<R>(model: Transformer, temperature: number, body: () => Promise<R>): Promise<R> {
  const gain = gainOf(model);
  const before = await model.runtime.readFloats(gain.tensor);
  await foldTemperature(model, temperature);
  try {
    return await body();
  } finally {
    model.runtime.backend.upload(gain.tensor.buffer, before);
    gain.changed();
  }
}

/** Divides the last norm's gain by T, for good. */
export async function foldTemperature(model: Transformer, temperature: number): Promise<void> {
  const gain = gainOf(model);
  const values = await model.runtime.readFloats(gain.tensor);
  model.runtime.backend.upload(
    gain.tensor.buffer,
    values.map((value) => value / temperature),
  );
  gain.changed();
}

const gainOf = (model: Transformer) => model.parameters.find(({ name }) => name === finalNormName)!;
