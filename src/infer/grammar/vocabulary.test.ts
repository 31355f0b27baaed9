// A real vocabulary of 50,257 tokens under a grammar. Oracles: every token by itself, its bytes checked by the grammar one by
// one; decoding behind another token, for what a token's bytes are.
import { expect } from "vitest";
import { gpt2Files, gpt2Json } from "../../../test/support/tokenizers.ts";
import { testShared } from "../../../test/support/shared.ts";
import { createTokenizer } from "../../tokenizer/index.ts";
import { jsonSchemaToGbnf } from "./json-schema.ts";
import { Grammar } from "./token-mask.ts";

testShared("shared: GPT-2's vocabulary: masks are what each token by itself gives", gpt2Files, () => {
  const tokenizer = createTokenizer(gpt2Json());
  const schema = { type: "object", properties: { name: { type: "string" }, size: { type: "integer" } } };
  const grammar = new Grammar(jsonSchemaToGbnf(schema)).over(tokenizer);
  const ends = new Set([tokenizer.endOfText!]);
  let state = grammar.start;
  for (const piece of ['{"', "name", '":"', "cat é", '"', "}"]) {
    for (const id of tokenizer.encode(piece)) state = grammar.next(state, id)!;
    const logits = new Float32Array(tokenizer.vocabSize);
    const count = grammar.mask(logits, state, ends);
    const wrong: number[] = [];
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      const alone = ends.has(id) ? state.accepts : grammar.next(state, id) !== null;
      if (alone !== (logits[id] === 0)) wrong.push(id);
    }
    expect(wrong).toEqual([]);
    expect(count).toBe(logits.filter((x) => x === 0).length);
  }
  expect(state.complete).toBe(true);
});

testShared("shared: a token's bytes are what decoding it behind others appends", gpt2Files, () => {
  for (const engine of ["byte-level", "general"] as const) {
    const tokenizer = createTokenizer(gpt2Json(), { engine });
    const before = tokenizer.encode("x");
    const utf8 = new TextEncoder();
    for (let id = 0; id < 50256; id += engine === "general" ? 5003 : 101) {
      const text = tokenizer.decode([...before, id]).slice(1);
      if (!text.includes("\ufffd")) expect(tokenizer.bytesOf(id)).toEqual(utf8.encode(text));
    }
    expect(tokenizer.bytesOf(tokenizer.endOfText!)).toBeNull();
    expect(tokenizer.bytesOf(99999)).toBeNull();
  }
});
