// Oracle: one process that streams alone; the dataset's own batches; numbers read back with DataView.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { prepareShards, prepareTokens } from "../../corpus/index.ts";
import { dataCommand } from "./data.ts";
import { describeError, throwErrors } from "../support/run.ts";

async function run(...args: string[]): Promise<string> {
  let out = "";
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation(((chunk: Uint8Array | string) => {
      out += typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk);
      return true;
    }) as never),
    vi.spyOn(process.stderr, "write").mockImplementation((() => true) as never),
  ];
  try {
    await throwErrors(dataCommand()).parseAsync(["stream", ...args], { from: "user" });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return out;
}

const bytes = {
  vocabSize: 257,
  endOfText: 256,
  hash: "bytes",
  encode: (text: string) => new TextEncoder().encode(text),
};

async function datasets() {
  const folder = temporaryFolder();
  for (const [name, letter] of [
    ["a", 97],
    ["b", 65],
  ] as const) {
    const texts = Array.from({ length: 40 }, (_, i) => String.fromCharCode(letter + (i % 26)).repeat(11));
    const source = { name, identity: name, documents: () => texts };
    await prepareTokens({ sources: [source], tokenizer: bytes, outDir: join(folder, name) });
  }
  const mixture = join(folder, "mix.yaml");
  writeFileSync(mixture, "sources: [{ name: a, weight: 3, path: a }, { name: b, weight: 1, path: b }]\n");
  return { folder, mixture };
}

test("machines' shares are together what one process streams, and a position goes on where it ended", async () => {
  const { folder, mixture } = await datasets();
  const common = [mixture, "-T", "8", "--seed", "5"];
  const whole = (await run(...common, "--batch", "6", "--steps", "8")).trimEnd().split("\n");
  expect(whole).toHaveLength(48);
  expect(whole.filter((line) => line.includes('"source":"a"'))).toHaveLength(36);
  for (const line of whole) {
    const { source, tokens, targets } = JSON.parse(line);
    expect(targets.slice(0, -1)).toEqual(tokens.slice(1));
    const lower = tokens.filter((id: number) => id < 256).every((id: number) => id >= 97);
    expect(lower).toBe(source === "a");
  }
  const shares: string[][] = [];
  for (const share of ["0/3", "1/3", "2/3"])
    shares.push((await run(...common, "--batch", "2", "--steps", "8", "--share", share)).trimEnd().split("\n"));
  const together = Array.from({ length: 8 }, (_, step) =>
    shares.flatMap((lines) => lines.slice(2 * step, 2 * step + 2)),
  );
  expect(together.flat()).toEqual(whole);
  // Ended and taken up again, by another number of machines even.
  const position = join(folder, "at.json");
  const first = await run(...common, "--batch", "6", "--steps", "3", "--position", position);
  const second = await run(...common, "--batch", "3", "--steps", "5", "--share", "0/2", "--position", position);
  expect(first.trimEnd().split("\n")).toEqual(whole.slice(0, 18));
  const halves = Array.from({ length: 5 }, (_, step) => whole.slice(18 + 6 * step, 21 + 6 * step));
  expect(second.trimEnd().split("\n")).toEqual(halves.flat());
});

test("int32 files hold each step's tokens and targets; a dataset alone is streamed too", async () => {
  const { folder } = await datasets();
  const path = join(folder, "out.i32");
  const args = [join(folder, "a"), "-T", "8", "--batch", "2", "--steps", "2"];
  const lines = (await run(...args))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  await run(...args, "--format", "i32", "-o", path);
  const content = readFileSync(path);
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const numbers = Array.from({ length: content.length / 4 }, (_, i) => view.getInt32(4 * i, true));
  const step = (k: number) => [
    ...lines[k].tokens,
    ...lines[k + 1].tokens,
    ...lines[k].targets,
    ...lines[k + 1].targets,
  ];
  expect(numbers).toEqual([...step(0), ...step(2)]);
});

test("the length that a dataset was packed for is the default", async () => {
  const folder = temporaryFolder();
  const text = join(folder, "text.txt");
  writeFileSync(text, "abcdefgh".repeat(20));
  const outDir = join(folder, "packed");
  const packing = { kind: "concatenate", sequence: 16 } as const;
  await prepareShards({ inputs: [{ name: "text", paths: [text] }], tokenizer: bytes, packing, outDir, threads: 0 });
  const [line] = (await run(outDir, "--steps", "1", "--batch", "1")).split("\n");
  expect(JSON.parse(line).tokens).toHaveLength(16);
});

test("what cannot be streamed is refused in one line, and nothing is left", async () => {
  const { folder, mixture } = await datasets();
  const text = join(folder, "a.txt");
  writeFileSync(text, "text");
  const position = join(folder, "position.json");
  writeFileSync(position, '{"kind":"text"}');
  const steps = ["--steps", "1"];
  const cases: [string[], string, number][] = [
    [[mixture, ...steps], "was not packed for one sequence length; name yours with --sequence", 2],
    [["--mix", `a=1:${text}`, ...steps], "is no prepared dataset; prepare it first", 2],
    [[mixture, "--mix", "a=1:a", ...steps], "name a mixture.yaml or a dataset's folder", 2],
    [[mixture, "-T", "8", "--share", "2/2", ...steps], "Expected I/N with I below N", 2],
    [[mixture, "-T", "8", ...steps, "--position", position, "-o", join(folder, "out")], "is no position that", 1],
  ];
  for (const [args, message, code] of cases) {
    const error = await run(...args).catch((error) => error);
    expect(describeError(error)).toMatchObject({ code, message: expect.stringContaining(message) });
  }
  expect(existsSync(join(folder, "out"))).toBe(false);
});
