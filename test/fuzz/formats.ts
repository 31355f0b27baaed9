/**
 * What is fuzzed: for each format small good files, and the reading of one. A reader either gives a value or throws; what it
 * may throw is judge.ts's business. Called by run.ts, child.ts and the test of past findings.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { createReferenceBackend } from "../../src/backends/index.ts";
import { createSourceReport, prepareTokens, readTextDocuments } from "../../src/corpus/index.ts";
import { openShards, openTokens, readManifest } from "../../src/data/index.ts";
import { exportGguf, exportHuggingFace, loadModel, saveCompact } from "../../src/exchange/index.ts";
import { createChatTemplate, chatTemplates, Grammar, jsonSchemaToGbnf } from "../../src/infer/index.ts";
import { Transformer } from "../../src/model/index.ts";
import { DataError } from "../../src/platform/errors.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { loadTokenizer, trainBpe, trainCharacters } from "../../src/tokenizer/index.ts";
import { smallModel } from "../support/small-run.ts";

export interface FuzzedFormat {
  /** Files are text: they are damaged as such too. */
  text: boolean;
  /** Writes a good file or folder; several, each under a name of its own. @returns the files that may be damaged */
  seed(folder: string, write: (name: string, bytes: Uint8Array | string) => string): Promise<string[]>;
  /** Reads `path`: one of the seed's files after damage, in its folder. */
  read(path: string, folder: string): Promise<unknown>;
}

const documents = resolve(import.meta.dirname, "../fixtures/documents");
const model = () =>
  new Transformer(new Runtime(createReferenceBackend()), { ...smallModel, width: 32, vocabSize: 280 }, 5);
const bytePairs = async () =>
  (await trainBpe(["the cat sat on the mat and the rat 123", "that cat's the other one"], { vocabSize: 270 }))
    .tokenizer;
const characters = async () => (await trainCharacters(["abcdefghijklmnop"])).tokenizer;
const open = async (path: string) => {
  const opened = await loadModel(path, new Runtime(createReferenceBackend()));
  opened.model.dispose();
};
const messages = [
  { role: "system" as const, content: "Be kind." },
  { role: "user" as const, content: "Hi" },
];

async function readAll(path: string): Promise<void> {
  const report = createSourceReport();
  for await (const _ of readTextDocuments(path, { onBadRecord: "skip", report, maxDocumentBytes: 2 ** 20 }));
  // Told, not thrown: as clear as if it were.
  if (report.badRecords.length > 0) throw new DataError(report.badRecords[0].reason);
}
const copies = (pattern: RegExp): FuzzedFormat["seed"] => {
  return async (_, write) =>
    readdirSync(documents)
      .filter((name) => pattern.test(name))
      .map((name) => write(name, readFileSync(join(documents, name))));
};

export const formats: Record<string, FuzzedFormat> = {
  gguf: {
    text: false,
    async seed(folder) {
      const path = join(folder, "model.gguf");
      await exportGguf(path, model(), await bytePairs(), { type: "f16" });
      return [path];
    },
    read: open,
  },
  compact: {
    text: false,
    async seed(folder) {
      const path = join(folder, "model.bitnet");
      await saveCompact(path, model(), await characters());
      return [path];
    },
    read: open,
  },
  "hugging-face": {
    text: true,
    async seed(folder) {
      const path = join(folder, "hf");
      await exportHuggingFace(model(), await characters(), path, { type: "f32" });
      const config = join(path, "config.json");
      const { bitnet_ts: _, ...foreign } = JSON.parse(readFileSync(config, "utf8"));
      const { writeFileSync } = await import("node:fs");
      writeFileSync(config, JSON.stringify(foreign));
      return [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
      ].map((name) => join(path, name));
    },
    read: (path) => open(resolve(path, "..")),
  },
  safetensors: {
    text: false,
    async seed(folder) {
      const path = join(folder, "hf");
      await exportHuggingFace(model(), await characters(), path, { type: "packed" });
      return [join(path, "model.safetensors")];
    },
    read: (path) => open(resolve(path, "..")),
  },
  tokenizer: {
    text: true,
    async seed(_, write) {
      const plain = await characters();
      const base = (await bytePairs()).toJson();
      // The same tokens for the engine that runs all that the others do not.
      const general = {
        ...base,
        normalizer: { type: "Sequence", normalizers: [{ type: "NFKC" }, { type: "Lowercase" }] },
        pre_tokenizer: { type: "Split", pattern: { Regex: "\\s+|\\w+" }, behavior: "Isolated", invert: false },
      };
      return [base, plain.toJson(), general].map((json, i) => write(`tokenizer-${i}.json`, JSON.stringify(json)));
    },
    async read(path) {
      const tokenizer = loadTokenizer(path);
      tokenizer.decode(
        tokenizer.encode("  the cat\n\tsat 123 on\u00e9 \u6f22 <|endoftext|> \ud83d\ude00 aaaaaaaaaaaaaaaaaaaa!"),
      );
    },
  },
  template: {
    text: true,
    seed: async (_, write) => Object.entries(chatTemplates).map(([name, source]) => write(`${name}.jinja`, source)),
    async read(path) {
      createChatTemplate(readFileSync(path, "latin1")).render(messages);
    },
  },
  grammar: {
    text: true,
    seed: async (_, write) => [
      write("json.gbnf", jsonSchemaToGbnf({ type: "object" })),
      write(
        "list.gbnf",
        'root ::= ("- " item "\\n"){1,5} # a list\nitem ::= [a-zà-ü]+ (" " [^"\\n]*)? | "\\x41" item | .',
      ),
    ],
    async read(path) {
      const grammar = new Grammar(readFileSync(path, "latin1"));
      const over = grammar.over({ vocabSize: 256, bytesOf: (id) => Uint8Array.of(id) });
      let state = over.start;
      for (let i = 0; i < 16; i++) {
        const logits = new Float32Array(256);
        over.mask(logits, state, new Set(), 100);
        const next = logits.indexOf(0);
        const after = next < 0 ? null : over.next(state, next);
        if (!after) break;
        state = after;
      }
    },
  },
  schema: {
    text: true,
    seed: async (_, write) => [
      write(
        "schema.json",
        JSON.stringify({
          $defs: {
            n: { type: "integer", minimum: -3, maximum: 120 },
            t: { anyOf: [{ $ref: "#/$defs/n" }, { type: "null" }] },
          },
          type: "object",
          properties: {
            name: { type: "string", minLength: 1, maxLength: 9 },
            id: { type: "string", pattern: "^[a-z]{2}(-[0-9]+)?$" },
            when: { type: "string", format: "date-time" },
            kind: { enum: ["a", "b", 1, null] },
            list: { type: "array", items: { $ref: "#/$defs/t" }, minItems: 1, maxItems: 4 },
            one: { oneOf: [{ type: "boolean" }, { const: "x" }] },
          },
          required: ["name"],
          additionalProperties: { type: "number" },
        }),
      ),
    ],
    async read(path) {
      let schema: unknown;
      try {
        schema = JSON.parse(readFileSync(path, "latin1"));
      } catch {
        return; // the server's own parser refuses it
      }
      new Grammar(jsonSchemaToGbnf(schema));
    },
  },
  dataset: {
    text: false,
    async seed(folder, write) {
      const stories = write(
        "stories.txt",
        Array.from({ length: 40 }, (_, i) => `story ${i}: ${"abc ".repeat(i % 7)}`).join("\n\n"),
      );
      const tokenizer = {
        vocabSize: 257,
        endOfText: 256,
        hash: "bytes",
        encode: (text: string) => new TextEncoder().encode(text),
      };
      const outDir = join(folder, "set");
      await prepareTokens({ sources: [stories], tokenizer, outDir });
      return readdirSync(outDir, { recursive: true, encoding: "utf8" })
        .filter((name) => /\.(json|bin)$/.test(name))
        .map((name) => join(outDir, name));
    },
    async read(_, folder) {
      const set = join(folder, "set");
      readManifest(set);
      openTokens(set, "train").close();
      for (const shard of openShards(set, "train")) {
        for (let i = 0; i < Math.min(3, shard.header.documentCount); i++) shard.document(i);
        shard.close();
      }
    },
  },
  arrow: { text: false, seed: copies(/\.arrow$/), read: readAll },
  parquet: { text: false, seed: copies(/(snappy|zstd|none)\.parquet$/), read: readAll },
  zstd: { text: false, seed: copies(/\.zst$/), read: readAll },
  gzip: {
    text: false,
    seed: async (_, write) => [write("documents.jsonl.gz", gzipSync('{"text":"one"}\n{"text":"two"}\n'.repeat(50)))],
    read: readAll,
  },
  jsonl: {
    text: true,
    seed: async (_, write) => [write("documents.jsonl", '{"text":"one","id":1,"meta":{"a":[1,2]}}\n{"text":"two"}\n')],
    read: readAll,
  },
};
