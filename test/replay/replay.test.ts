// Not one bit changes: short training runs, greedy texts and exported files are what they were when they were recorded.
// Oracle: records/, written by record.ts on a commit before the change under test; on any other commit they are this
// project's own past, and say that it is the same, not that it is right.
//
// What determines the bits is told in cases.ts: seed, two threads, backend and instruction set. A set that this machine
// lacks is skipped by name; one that has no record fails, and says how to record it.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type Curve, curves, Replay, sets, steps, numberOf } from "./cases.ts";
import { readExports, readSet } from "./records.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-replay-"));
afterAll(() => rmSync(folder, { recursive: true }));
const replay = new Replay(folder);

/** Decimals beside the bits, so that a failure says how far off. */
const told = (curve: Curve | null) =>
  curve && {
    ...curve,
    losses: curve.losses.map((hex) => `${hex} ${numberOf(hex)}`),
    gradNorms: curve.gradNorms.map((hex) => `${hex} ${numberOf(hex)}`),
    validation: curve.validation.map((hex) => `${hex} ${numberOf(hex)}`),
  };

// Four sets take minutes. CI replays all; elsewhere the one that `auto` chooses, so that the tests stay quick to run.
const all = Boolean(process.env.CI) || process.env.REPLAY === "all";
const chosen = sets.findLast(({ absent, name }) => !absent && name.startsWith("native")) ?? sets.find((s) => !s.absent);

for (const set of sets) {
  const reason = set.absent ?? (all || set === chosen ? null : "in CI, or with REPLAY=all");
  if (reason) {
    describe.skip(`${set.name} (${reason})`, () => {
      test("replays", () => {});
    });
    continue;
  }
  describe(set.name, () => {
    test("has a record of every case, and of no other", () => {
      const record = readSet(set);
      expect(record.threads).toBe(set.choice.threads);
      expect(Object.keys(record.curves)).toEqual(curves.map(({ name }) => name));
    });

    test.for(curves)("trains to the last bit as recorded: $name", async (entry) => {
      const recorded = readSet(set).curves[entry.name];
      const curve = await replay.curve(set, entry);
      if (recorded) expect(recorded.losses).toHaveLength(steps);
      expect(told(curve)).toEqual(told(recorded));
    });

    test("writes the recorded tokens, with the recorded probabilities, on both engines", async () => {
      expect(await replay.texts(set)).toEqual(readSet(set).texts);
    });
  });
}

test("exports are the recorded files, byte for byte", async () => {
  expect(await replay.exports()).toEqual(readExports());
});
