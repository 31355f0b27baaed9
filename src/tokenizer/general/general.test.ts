// Oracle: the Rust library `tokenizers` 0.23.3, whose ids and texts test/fixtures/tokenizers/make.py wrote down, for each
// component that it has, with each of its settings, over 200 texts.
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { DataError } from "../../platform/errors.ts";
import { createTokenizer } from "../load.ts";
import type { Tokenizer } from "../tokenizer.ts";

interface Case {
  name: string;
  file: Record<string, unknown>;
  model: number;
  ids?: (number[] | null)[];
  /** Special tokens in the text taken as text. */
  plainIds?: (number[] | null)[];
  addSpecial?: boolean;
  /** The library leaves out in silence what the vocabulary has not. We refuse it, by name. */
  dropsUnknown?: boolean;
  texts?: (string | null)[];
  skipped?: (string | null)[];
}

const expected: { texts: string[]; sequences: number[][]; models: object[]; cases: Case[] } = JSON.parse(
  gunzipSync(readFileSync(new URL("../../../test/fixtures/tokenizers/expected.json.gz", import.meta.url))).toString(),
);

/** What tells cases apart: the file's parts, shortened. */
const titleOf = ({ name, file, model }: Case, index: number) => {
  const { added_tokens: added, ...parts } = file as { added_tokens?: object[] };
  const shown = JSON.stringify(name === "model" ? { ...expected.models[model], vocab: 0, merges: 0, ...parts } : parts);
  const tokens = name === "added token" ? ` ${JSON.stringify(added![0])}` : "";
  return `${index} ${name}: ${shown.slice(0, 150)}${tokens}`;
};

/** Either what the library gives; or, where it gives nothing, our refusal. */
function compare(call: () => unknown, wanted: unknown, refusalIsFine: boolean): unknown {
  let came: unknown;
  try {
    came = call();
  } catch (error) {
    if (!(error instanceof DataError) || !(wanted === null || refusalIsFine)) throw error;
    return undefined;
  }
  return JSON.stringify(came) === JSON.stringify(wanted) ? undefined : { came, wanted };
}

function differences(tokenizer: Tokenizer, { ids, plainIds, addSpecial, dropsUnknown, texts, skipped }: Case) {
  const wrong: unknown[] = [];
  const check = (from: unknown, call: () => unknown, wanted: unknown) => {
    const differs = compare(call, wanted, dropsUnknown === true);
    if (differs) wrong.push({ from, ...differs });
  };
  for (const [i, text] of expected.texts.entries()) {
    if (ids) check(text, () => [...tokenizer.encode(text, { addSpecialTokens: addSpecial })], ids[i]);
    if (plainIds) check(text, () => [...tokenizer.encode(text, { parseSpecialTokens: false })], plainIds[i]);
  }
  for (const [i, sequence] of expected.sequences.entries()) {
    // Where the library's code fails over a token shorter than what is to be stripped, ours strips what there is.
    if (texts && texts[i] !== null) check(sequence, () => tokenizer.decode(sequence), texts[i]);
    if (skipped && skipped[i] !== null)
      check(sequence, () => tokenizer.decode(sequence, { skipSpecialTokens: true }), skipped[i]);
  }
  return wrong;
}

describe.each([undefined, "general"] as const)("engine %s", (engine) => {
  test.each(expected.cases.map((each, index) => [titleOf(each, index), each] as const))("%s", (_, each) => {
    const tokenizer = createTokenizer({ ...each.file, model: expected.models[each.model] }, { engine });
    const wrong = differences(tokenizer, each);
    expect(wrong.slice(0, 2), `${wrong.length} differ`).toEqual([]);
  });
});
