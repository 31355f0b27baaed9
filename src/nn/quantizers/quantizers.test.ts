// What each weight quantizer makes of normal weights. Oracles: closed forms for N(0, 1), where a threshold d leaves 2 Q(d) of the weights
// with a mean magnitude of phi(d) / Q(d) (QAT.md's figures are these); and docs/quantizers.md, which is held to what is computed here.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { normals } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { Runtime } from "../../tensor/index.ts";
import { weightQuantizers } from "./index.ts";

const [N, K] = [256, 1024];
const runtime = new Runtime(createReferenceBackend());
const weights = normals(N * K, 21);
const w = runtime.upload([N, K], "f32", weights);

async function measure(name: string, given: object = {}) {
  const quantizer = weightQuantizers.get(name);
  const settings = quantizer.schema?.parse(given) ?? {};
  const learned = (quantizer.parameters?.(settings, { outputs: N, inputs: K }) ?? []).map(({ shape, initial }) =>
    runtime.upload(shape, "f32", initial(weights)),
  );
  const made = quantizer.quantize(runtime, w, settings, { rule: "clamp", eps: 1e-5 }, learned);
  const values =
    "values" in made
      ? await runtime.readFloats(made.values)
      : Float32Array.from(
          await runtime.read(made.codes),
          (
            (s) => (code: number) =>
              (code - 1) * s
          )((await runtime.readFloats(made.scale))[0]),
        );
  let [signal, noise, zeros] = [0, 0, 0];
  for (const [i, x] of weights.entries()) {
    signal += x * x;
    noise += (x - values[i]) ** 2;
    if (values[i] === 0) zeros++;
  }
  return { sqnr: 10 * Math.log10(signal / noise), zeros: zeros / weights.length };
}

/** Of a threshold d and a level s on N(0, 1): E[(x - Q(x))²] = 1 - 2 s · 2 phi(d) + s² · 2 Q(d). */
const phi = (d: number) => Math.exp((-d * d) / 2) / Math.sqrt(2 * Math.PI);
function tail(d: number): number {
  let sum = 0;
  const step = 1e-3;
  for (let x = d + step / 2; x < 9; x += step) sum += phi(x) * step;
  return sum;
}
const closed = (d: number, s: number) => -10 * Math.log10(1 - 4 * s * phi(d) + 2 * s * s * tail(d));
const mean = Math.sqrt(2 / Math.PI);
const median = 0.6744897501960817;
const survivors = (d: number) => phi(d) / tail(d);

const forms: [name: string, settings: object, d: number, s: number][] = [
  ["absmean", {}, mean / 2, mean],
  ["absmedian", {}, median / 2, median],
  ["twn", {}, 0.7 * mean, survivors(0.7 * mean)],
  ["twn", { threshold: 0.75 }, 0.75 * mean, survivors(0.75 * mean)],
  ["twn", { threshold: 0.5, scale: "mean" }, mean / 2, mean],
  ["learned", {}, mean / 2, mean],
  ["lsq", {}, mean, 2 * mean],
  ["seq", {}, mean / 2, mean],
  ["lsq", { initial: 1.53 }, (1.53 * mean) / 2, 1.53 * mean],
];
test.for(forms)("%s %j has the error of its formula on normal weights", async ([name, settings, d, s]) => {
  const { sqnr, zeros } = await measure(name, settings);
  expect(sqnr).toBeCloseTo(closed(d, s), 1);
  expect(zeros).toBeCloseTo(1 - 2 * tail(d), 2);
});

test("absmean has 5.79 dB and TWN at 0.7 has 7.18", () => {
  expect(closed(mean / 2, mean)).toBeCloseTo(5.79, 2);
  expect(closed(0.7 * mean, survivors(0.7 * mean))).toBeCloseTo(7.18, 2);
});

test("docs/quantizers.md has the figures that are measured here, of every quantizer", async () => {
  const page = readFileSync(new URL("../../../docs/quantizers.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| `(\w+)`.*\| +([\d.]+) dB.*\| +(\d+) % *\|$/gm)];
  expect(rows.map(([, name]) => name)).toEqual(weightQuantizers.names);
  const found: [string, string, string][] = [];
  for (const name of weightQuantizers.names) {
    const { sqnr, zeros } = await measure(name);
    found.push([name, sqnr.toFixed(2), `${Math.round(100 * zeros)}`]);
  }
  expect(rows.map(([, ...row]) => row)).toEqual(found);
});
