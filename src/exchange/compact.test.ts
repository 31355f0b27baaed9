// Compact files, over formats/compact and checkpoint. Oracle: the model that was saved: its codes, its scale, its logits
// to the last bit; Shannon's bound on bits; and for hostile files the rule that each is refused or harmless.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createReferenceBackend } from "../backends/index.ts";
import { type CompactOptions, describeModel, loadModel, saveCompact, importCompact } from "./index.ts";
import { openCompact, writeCompact } from "../formats/compact/index.ts";
import { type ModelConfig, presets, Transformer } from "../model/index.ts";
import { FormatError, UnsupportedError } from "../platform/errors.ts";
import { Runtime } from "../tensor/index.ts";
import { type Tokenizer, trainCharacters } from "../tokenizer/index.ts";

// biome-ignore lint/suspicious/noExplicitAny: JSON that is changed at will
type Loose = any;

const root = mkdtempSync(join(tmpdir(), "bitnet-compact-"));
afterAll(() => rmSync(root, { recursive: true }));
let files = 0;
const newPath = () => join(root, `${++files}.bitnet`);
const same = (a: ArrayLike<number> & ArrayBufferView, b: ArrayLike<number> & ArrayBufferView) =>
  Buffer.compare(
    new Uint8Array(a.buffer, a.byteOffset, a.byteLength),
    new Uint8Array(b.buffer, b.byteOffset, b.byteLength),
  ) === 0;

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = (await trainCharacters(["abcdefghijklmnop"])).tokenizer;
});

const small: ModelConfig = {
  ...presets.tiny,
  vocabSize: 17,
  width: 32,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 48,
  contextLength: 16,
  initStd: 0.05,
};
const newRuntime = () => new Runtime(createReferenceBackend());
const made = (changes: Partial<ModelConfig> = {}, seed = 5) =>
  new Transformer(newRuntime(), { ...small, ...changes }, seed);
const batch = { tokens: Int32Array.from({ length: 16 }, (_, i) => (7 * i) % 17), batch: 2, length: 8 };
const logitsOf = (model: Transformer) => model.runtime.readFloats(model.logits(batch));
const lossless = { embedding: "f32", head: "f32", norm: "f32", linear: "f32" } as const;

async function save(model: Transformer, options: CompactOptions = {}) {
  const path = newPath();
  const report = await saveCompact(path, model, tokenizer, options);
  return { path, ...report };
}

async function quantizedOf(model: Transformer) {
  return Promise.all(
    model.ternaryLayers.map(async (layer) => {
      const { codes, scale } = layer.quantized(model.runtime);
      const [gamma] = await model.runtime.readFloats(scale);
      return { codes: (await model.runtime.read(codes)) as Uint8Array, gamma };
    }),
  );
}

describe("a model in a compact file", () => {
  const rules = [
    { weightScale: "add", weightEps: 1e-6 },
    { weightScale: "clamp", weightEps: 1e-5 },
    { weightScale: "add", weightEps: 0.01 },
  ] as const;
  test.for(rules)("has the same codes, scales and logits to the last bit ($weightScale $weightEps)", async (rule) => {
    for (let seed = 0; seed < 4; seed++) {
      const model = made({ ...rule, tiedHead: seed % 2 === 0 }, seed);
      const { path } = await save(model, { types: lossless, step: 12, chatTemplate: "{{ messages }}" });
      const opened = await loadModel(path, newRuntime());
      expect(opened).toMatchObject({
        config: model.config,
        step: 12,
        chatTemplate: "{{ messages }}",
        folder: path,
        refused: [],
      });
      expect(opened.tokenizer!.hash).toBe(tokenizer.hash);
      expect(opened.tokenizer!.endOfText).toBe(tokenizer.endOfText);
      const [before, after] = [await quantizedOf(model), await quantizedOf(opened.model)];
      for (const [i, { codes, gamma }] of before.entries()) {
        expect(same(after[i].codes, codes)).toBe(true);
        expect(after[i].gamma).toBe(gamma);
      }
      expect(same(await logitsOf(opened.model), await logitsOf(model))).toBe(true);
    }
  });

  test("of the full variant, in f32, has the same logits to the last bit", async () => {
    const model = made({ variant: "full" });
    const { path } = await save(model, { types: lossless });
    const opened = await loadModel(path, newRuntime());
    expect(same(await logitsOf(opened.model), await logitsOf(model))).toBe(true);
  });

  test("becomes a folder again with the same logits, and from it the same file", async () => {
    const model = made();
    const { path } = await save(model, { types: lossless });
    const folder = join(root, `folder-${++files}`);
    await importCompact(path, folder, newRuntime());
    const again = await loadModel(folder, newRuntime());
    expect(same(await logitsOf(again.model), await logitsOf(model))).toBe(true);
    const twice = newPath();
    await saveCompact(twice, again.model, again.tokenizer, { types: lossless });
    expect(readFileSync(twice).equals(readFileSync(path))).toBe(true);
  });

  test("takes at most 1.6 bits a ternary weight, and less than 1.58 where the shares allow", async () => {
    // Normal weights within half their mean magnitude, 31 %, are 0: entropy 1.5834 bits. Large matrices, so that heads of
    // blocks do not count.
    const even = await save(made({ width: 128, hiddenWidth: 512 }));
    for (const { encoding, bytes, shape } of even.tensors.filter(({ role }) => role === "ternary")) {
      expect(["entropy", "trits"]).toContain(encoding);
      expect((8 * bytes) / (shape[0] * shape[1])).toBeLessThanOrEqual(1.6 + 8 / (shape[0] * shape[1]));
    }
    const skewed = made({ width: 128, hiddenWidth: 512 });
    for (const { weight } of skewed.ternaryLayers) {
      const values = await skewed.runtime.readFloats(weight.tensor);
      skewed.runtime.backend.upload(
        weight.tensor.buffer,
        values.map((x) => x ** 3),
      );
      weight.changed();
    }
    const { tensors } = await save(skewed);
    for (const { encoding, bytes, shape, role } of tensors)
      if (role === "ternary") {
        expect(encoding).toBe("entropy");
        expect((8 * bytes) / (shape[0] * shape[1])).toBeLessThan(1.5);
      }
  });

  test("holds embeddings in the type asked for, in the bytes of that type, with the error told", async () => {
    const model = made();
    const sizes = { f32: 32 * 4, f16: 32 * 2, bf16: 32 * 2, int8: 4 + 32, q4: 18 };
    const errors: Record<string, number> = {};
    const exact = await logitsOf(model);
    for (const type of ["f32", "f16", "bf16", "int8", "q4"] as const) {
      const { path, tensors } = await save(model, { types: { embedding: type } });
      const entry = tensors.find(({ role }) => role === "embedding")!;
      expect(entry).toMatchObject({ encoding: type, bytes: 17 * sizes[type] });
      errors[type] = entry.relativeError!;
      const logits = await logitsOf((await loadModel(path, newRuntime())).model);
      expect(same(logits, exact)).toBe(type === "f32");
    }
    expect(errors.f32).toBe(0);
    expect(errors.f16).toBeLessThan(errors.bf16);
    expect(errors.bf16).toBeLessThan(errors.int8);
    expect(errors.int8).toBeLessThan(errors.q4);
    expect(errors.q4).toBeLessThan(0.12);
  });

  test("written twice has the same bytes; a model with weights that are not finite is refused and leaves no file", async () => {
    const model = made();
    const [a, b] = [await save(model), await save(model)];
    expect(readFileSync(a.path).equals(readFileSync(b.path))).toBe(true);
    const [layer] = model.ternaryLayers;
    model.runtime.backend.upload(layer.weight.tensor.buffer, new Float32Array(layer.weight.size).fill(Number.NaN));
    layer.weight.changed();
    const path = newPath();
    await expect(saveCompact(path, model, tokenizer)).rejects.toThrow(
      /scale of model.layers.0.self_attn.q_proj.weight/,
    );
    expect(() => readFileSync(path)).toThrow(/ENOENT/);
  });

  test("leaves no file where its writing is ended", async () => {
    const path = newPath();
    const signal = AbortSignal.abort(new Error("ended"));
    await expect(saveCompact(path, made(), tokenizer, { signal })).rejects.toThrow("ended");
    expect(readdirSync(root).filter((name) => name.startsWith(`${files}.`))).toEqual([]);
  });

  test("is streamed in pieces of at most 65536 weights", async () => {
    const codes = Uint8Array.from({ length: 200_000 }, (_, i) => (i * i) % 3);
    const path = newPath();
    for (const encoding of ["entropy", "trits"] as const) {
      const tensor = { name: "w", shape: [400, 500], ternary: async () => ({ codes, scale: 1 }) };
      await writeCompact(path, {}, null, [tensor], { ternary: encoding });
      const file = openCompact(path);
      expect(file.tensors.get("w")!.encoding).toBe(encoding);
      let at = 0;
      for (const piece of file.ternaryPieces("w")) {
        expect(piece.length).toBeLessThanOrEqual(65536);
        expect(same(piece, codes.slice(at, at + piece.length))).toBe(true);
        at += piece.length;
      }
      expect(at).toBe(codes.length);
      file.close();
    }
  });
});

describe("a damaged file", () => {
  test("is refused for one flipped bit anywhere, and for every length it is cut to", async () => {
    const { path } = await save(made({ layers: 1, width: 8, heads: 2, hiddenWidth: 8 }));
    const good = readFileSync(path);
    const bad = newPath();
    const read = async (bytes: Buffer) => {
      writeFileSync(bad, bytes);
      await loadModel(bad, newRuntime());
    };
    await read(good);
    for (let at = 0; at < good.length; at += at < 64 ? 1 : 71) {
      const bytes = Buffer.from(good);
      bytes[at] ^= 1 << (at & 7);
      await expect(read(bytes), `byte ${at}`).rejects.toThrow(/: byte \d+|no model|is a file; expected/);
      await expect(read(good.subarray(0, at)), `cut at ${at}`).rejects.toThrow();
    }
    await expect(read(Buffer.concat([good, Buffer.of(0)]))).rejects.toThrow(/but the file has/);
  });

  /** Changes the header's JSON and gives it a true hash: what a hostile writer does. */
  function rewrite(good: Buffer, change: (header: Loose) => void): Buffer {
    const length = good.readUInt32LE(12);
    const header = JSON.parse(good.subarray(48, 48 + length).toString());
    change(header);
    const json = Buffer.from(JSON.stringify(header));
    const head = Buffer.from(good.subarray(0, 48));
    head.writeUInt32LE(json.length, 12);
    head.set(createHash("sha256").update(json).digest(), 16);
    return Buffer.concat([head, json, good.subarray(48 + length)]);
  }

  test("whose header lies with a true hash is refused, the field and the byte named", async () => {
    const { path } = await save(made());
    const good = readFileSync(path);
    const bad = newPath();
    const refused = async (change: (header: Loose) => void, message: RegExp) => {
      writeFileSync(bad, rewrite(good, change));
      const error = await loadModel(bad, newRuntime()).then(
        () => new Error("it was read"),
        (error: Error) => error,
      );
      expect(error).toBeInstanceOf(FormatError);
      expect(error.message).toMatch(message);
      expect(error.message).toMatch(/byte \d+/);
    };
    const ternary = (h: Loose) => h.tensors.find((t: Loose) => t.scale !== undefined);
    await refused((h) => (h.metadata.config.layers = 1e9), /config.layers is 1000000000/);
    await refused((h) => (h.metadata.config.contextLength = 1e12), /contextLength/);
    await refused(
      (h) => (h.metadata.config.vocabSize = 18),
      /embed_tokens.weight: is \[17,32\]; the model wants \[18,32\]/,
    );
    await refused((h) => delete h.metadata.config.width, /metadata.config.width/);
    await refused((h) => (h.metadata.extra = 1), /metadata/);
    await refused((h) => (h.metadata.tokenizer = null), /metadata.tokenizer is null/);
    await refused((h) => (h.tokenizer.jsonBytes = 1e9), /jsonBytes/);
    await refused((h) => (h.tokenizer.jsonBytes -= 1), /cannot be inflated/);
    await refused((h) => h.tensors.pop(), /the last tensor ends here/);
    await refused((h) => (h.tensors[0].name = "x"), /embed_tokens.weight is missing/);
    await refused((h) => (h.tensors[1].name = h.tensors[0].name), /there twice/);
    await refused((h) => (h.tensors[0].bytes += 1e15), /would end at byte/);
    await refused((h) => (h.tensors[0].shape = [2 ** 40, 2 ** 40]), /more elements than any file/);
    await refused((h) => (ternary(h).shape = [2 ** 20, 2 ** 20]), /cannot be in|takes/);
    await refused((h) => (ternary(h).scale = 0.1), /is not a float32/);
    await refused((h) => (ternary(h).scale = 2 ** -30), /scale 9.3\S+ is of no weights/);
    await refused((h) => (ternary(h).encoding = "f16"), /scale has no meaning/);
    await refused((h) => (h.tensors[0].scale = 1), /scale has no meaning/);
    await refused((h) => (h.tensors[0].encoding = "zip"), /tensors.0.encoding/);
    await refused((h) => (h.tensors[0].sha256 = "0".repeat(64)), /SHA-256/);
  });

  test("of another version is refused by number", async () => {
    const { path } = await save(made());
    const bytes = readFileSync(path);
    bytes.writeUInt32LE(2, 8);
    writeFileSync(path, bytes);
    await expect(loadModel(path, newRuntime())).rejects.toThrow(UnsupportedError);
    expect(() => describeModel(path)).toThrow(/byte 8: was written as version 2/);
  });

  test("is refused or harmless whatever bytes and header fields are changed, hashes made true again", async () => {
    const { path } = await save(made({ layers: 1 }));
    const good = readFileSync(path);
    const bad = newPath();
    const start = 48 + good.readUInt32LE(12);
    const values = [0, 1, -1, 2 ** 31, 2 ** 53, 1e308, null, "", "f32", "trits", "entropy", [], {}, [1, 2], true];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ at: fc.nat(), by: fc.integer({ min: 1, max: 255 }) }), { maxLength: 4 }),
        fc.array(fc.record({ path: fc.nat(), value: fc.constantFrom(...values) }), { maxLength: 2 }),
        async (bytes, fields) => {
          const changed = Buffer.from(good);
          for (const { at, by } of bytes) changed[start + (at % (good.length - start))] ^= by;
          const whole = rewrite(changed, (header) => {
            // True hashes of the changed payload, so that what is behind them is reached.
            const length = start + header.tokenizer.bytes;
            header.tokenizer.sha256 = createHash("sha256").update(changed.subarray(start, length)).digest("hex");
            let offset = length;
            for (const tensor of header.tensors) {
              const part = changed.subarray(offset, offset + tensor.bytes);
              tensor.sha256 = createHash("sha256").update(part).digest("hex");
              offset += tensor.bytes;
            }
            for (const { path, value } of fields) {
              const places: [Loose, string][] = [];
              const walk = (node: Loose) => {
                for (const key of Object.keys(node)) {
                  places.push([node, key]);
                  if (typeof node[key] === "object" && node[key] !== null) walk(node[key]);
                }
              };
              walk(header);
              const [node, key] = places[path % places.length];
              node[key] = value;
            }
          });
          writeFileSync(bad, whole);
          try {
            const { model } = await loadModel(bad, newRuntime());
            model.dispose();
          } catch (error) {
            expect(
              [FormatError, UnsupportedError].some((kind) => error instanceof kind),
              String((error as Error).stack),
            ).toBe(true);
            expect((error as Error).message.startsWith(bad)).toBe(true);
          }
        },
      ),
      { numRuns: 150, seed: 4 },
    );
  });
});
