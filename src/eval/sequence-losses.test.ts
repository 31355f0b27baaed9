// Oracle: the same scoring, left alone; the files that an ended one left, damaged byte by byte.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { integers } from "../../test/support/random.ts";
import { createSmallEngine } from "../../test/support/small-model.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { openUnfinishedScores, type SequenceReader } from "../data/index.ts";
import { UsageError } from "../platform/errors.ts";
import { sequenceLosses } from "./sequence-losses.ts";

const length = 12;
const count = 23;
const text = Int32Array.from(integers(count * length + 1, 0, 256));
interface Counted extends SequenceReader {
  /** Which sequences were asked for. */
  reads: number[];
}
function reader(): Counted {
  const reads: number[] = [];
  return {
    count,
    length,
    identity: "made here",
    reads,
    read(index, tokens, targets) {
      reads.push(index);
      tokens.set(text.subarray(index * length, (index + 1) * length));
      targets.set(text.subarray(index * length + 1, (index + 1) * length + 1));
    },
  };
}

test("a scoring that is ended again and again scores no part twice, and comes to the same bits", async () => {
  const { model } = createSmallEngine();
  const options = { batch: 2, vocabSize: 257 };
  const whole = reader();
  const expected = await sequenceLosses(model, whole, { ...options, batch: 1 });
  expect(whole.reads).toHaveLength(count);
  const where = { folder: temporaryFolder(), split: "train" as const, sequence: length, name: "loss" };
  const open = (about = { model: "a" }, restart = false) =>
    openUnfinishedScores(where, reader(), about, { partSequences: 5, restart });
  const folder = open().path;
  // Nothing is finished: nothing stays.
  expect(open().removeIfEmpty()).toBe(true);
  expect(existsSync(folder)).toBe(false);
  // Ended at the fourth, the ninth and the thirteenth sequence.
  const read: number[] = [];
  for (const end of [4, 9, 13]) {
    const sequences = reader();
    const controller = new AbortController();
    const parts = open();
    const onProgress = ({ tokens }: { tokens: number }) => {
      if (tokens >= end * length) controller.abort(new Error("ended"));
    };
    const scoring = sequenceLosses(model, sequences, { ...options, parts, signal: controller.signal, onProgress });
    await expect(scoring).rejects.toThrow("ended");
    expect(parts.removeIfEmpty()).toBe(end === 4);
    read.push(...sequences.reads);
  }
  expect(readdirSync(folder).sort()).toEqual(["000000.part", "000001.part", "run.json"]);
  // A part that was damaged is scored again.
  const damaged = readFileSync(join(folder, "000001.part"));
  damaged[40] ^= 1;
  writeFileSync(join(folder, "000001.part"), damaged);
  const last = reader();
  const losses = await sequenceLosses(model, last, { ...options, parts: open() });
  expect(Math.min(...last.reads)).toBe(5);
  expect(read.filter((index) => index < 5)).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 4]);
  for (let i = 0; i < count; i++) expect(losses[i]).toBeCloseTo(expected[i], 5);
  const again = await sequenceLosses(model, reader(), { ...options, parts: open() });
  expect(again).toEqual(losses);
  const fresh = await sequenceLosses(model, reader(), { ...options, parts: open({ model: "a" }, true) });
  expect(fresh).toEqual(losses);
  // Another model's are not gone on with.
  expect(() => open({ model: "b" })).toThrow(UsageError);
  expect(() => open({ model: "b" })).toThrow(/differs in: model; .*--restart/);
  const other = open({ model: "b" }, true);
  expect([0, 1, 2, 3, 4].map((part) => other.read(part))).toEqual([null, null, null, null, null]);
  other.remove();
  expect(existsSync(folder)).toBe(false);
});
