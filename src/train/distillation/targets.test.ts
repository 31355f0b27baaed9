// Oracles: the file's own definition (what was drawn is what is read, for any order), a second writing from nothing to the byte,
// and the teacher itself for entropies and losses.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { expectClose } from "../../../test/support/expect-close.ts";
import { smallModel, smallText } from "../../../test/support/small-run.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { sequencesOf } from "../../data/index.ts";
import { Transformer } from "../../model/index.ts";
import { Runtime } from "../../tensor/index.ts";
import { hasTargets, partName, recordBytes, targetsFile, targetsKey } from "./targets.ts";
import type { Teacher } from "./teacher.ts";
import { type TargetsRequest, teacherTargets } from "./write-targets.ts";

function request(root: string, changes: Partial<TargetsRequest> = {}) {
  const runtime = new Runtime(createReferenceBackend());
  const model = new Transformer(runtime, { ...smallModel, variant: "full", initStd: 0.5 }, 8);
  let passes = 0;
  runtime.observe(({ op }) => {
    if (op === "embedding") passes++;
  });
  const teacher = { name: "small", model, hash: "0".repeat(64) } as unknown as Teacher;
  const source = { name: null, sequences: sequencesOf(smallText(), 8), endOfText: 16 };
  const made: TargetsRequest = {
    ...{ root, teacher, runtime, source, temperature: 2, samples: 12, seed: 1, maskDocuments: false, microBatch: 4 },
    ...changes,
  };
  return { made, passes: () => passes };
}

const room = (T = 8, S = 12) => ({
  ids: new Int32Array(T * S),
  entropy: new Float32Array(T),
  targetLoss: new Float32Array(T),
});

test("what was drawn is read in any order, by the sequence's number, and the teacher reads the text once", async () => {
  const root = temporaryFolder();
  const first = request(root, { partBytes: 5000 });
  const targets = await teacherTargets(first.made);
  const { sequences } = first.made.source;
  expect(first.passes()).toBeGreaterThan(0);
  // The micro-batches of 4 do not fill a part evenly.
  expect(Math.floor(5000 / recordBytes(targets.identity))).toBe(19);

  const one = room();
  const tokens = new Int32Array(8);
  const wanted = new Int32Array(8);
  for (const index of [sequences.count - 1, 0, 20, 19]) {
    targets.read(index, one);
    sequences.read(index, tokens, wanted);
    const { runtime, teacher } = first.made;
    const logits = await runtime.readFloats(teacher.model.logits({ tokens, batch: 1, length: 8 }));
    for (let t = 0; t < 8; t++) {
      const y = logits.subarray(t * 17, (t + 1) * 17);
      const log = (temperature: number) => {
        const total = y.reduce((sum, v) => sum + Math.exp(v / temperature), 0);
        return Array.from(y, (v) => v / temperature - Math.log(total));
      };
      expectClose([one.entropy[t]], [log(2).reduce((sum, p) => sum - Math.exp(p) * p, 0)], { abs: 1e-5 }, "entropy");
      expectClose([one.targetLoss[t]], [-log(1)[wanted[t]]], { abs: 1e-5 }, "loss of the target");
    }
    expect(one.ids.every((id) => id >= 0 && id < 17)).toBe(true);
    // Not one draw for all.
    expect(new Set(one.ids).size).toBeGreaterThan(3);
  }
  targets.close();

  const again = request(root);
  (await teacherTargets(again.made)).close();
  expect(again.passes()).toBe(0);
});

test("an unfinished folder goes on behind its whole parts, and ends with the same bytes", async () => {
  const roots = [temporaryFolder(), temporaryFolder()];
  const folders: string[] = [];
  for (const root of roots) {
    const { made } = request(root, { partBytes: 5000 });
    const targets = await teacherTargets(made);
    folders.push(join(root, targetsKey(targets.identity)));
    targets.close();
  }
  const [whole, killed] = folders;
  // Killed in the second part, whose bytes are torn, and before the list of parts.
  rmSync(join(killed, targetsFile));
  const torn = readFileSync(join(killed, partName(1)));
  torn[100] ^= 1;
  writeFileSync(join(killed, partName(1)), torn);
  expect(hasTargets(killed)).toBe(false);
  const notes: string[] = [];
  const resumed = request(roots[1], { partBytes: 5000, onNote: (text) => notes.push(text) });
  (await teacherTargets(resumed.made)).close();
  expect(notes.filter((note) => note.startsWith("drawing 12 tokens a position from small"))).toHaveLength(1);
  for (const name of [partName(0), partName(1), partName(2), targetsFile])
    expect(readFileSync(join(killed, name)).equals(readFileSync(join(whole, name))), name).toBe(true);
});

test("another temperature, seed or number of samples has a folder of its own; damage is refused by the file's name", async () => {
  const root = temporaryFolder();
  const keys = new Set<string>();
  for (const changes of [{}, { temperature: 1 }, { seed: 2 }, { samples: 3 }, { maskDocuments: true }]) {
    const targets = await teacherTargets(request(root, changes).made);
    keys.add(targetsKey(targets.identity));
    targets.close();
  }
  expect(keys.size).toBe(5);
  const [key] = keys;
  const part = join(root, key, partName(0));
  const bytes = readFileSync(part);
  bytes[40] ^= 1;
  writeFileSync(part, bytes);
  await expect(teacherTargets(request(root).made)).rejects.toThrow(
    `${part}: does not match its SHA-256 in targets.json; it was changed or damaged; remove ${join(root, key)}, and it is made again`,
  );
  writeFileSync(join(root, key, targetsFile), "{}");
  await expect(teacherTargets(request(root).made)).rejects.toThrow(/targets\.json: .*and it is made again$/);
});
