// Oracles: JavaScript's regular expressions (the same language, tested by another engine on the same texts), TextEncoder
// for UTF-8, JSON.parse and zod's own JSON Schemas for what constrained texts must be, and a walk of every token by itself
// in place of the trie.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createRandom } from "../../platform/random.ts";
import { utf8Ranges } from "./byte-grammar.ts";
import { jsonSchemaToGbnf, type JsonSchema } from "./json-schema.ts";
import { buildTrie, Grammar } from "./token-mask.ts";

describe("GBNF", () => {
  /** Grammars and regular expressions of the same language. */
  const twins: [name: string, gbnf: string, regexp: RegExp][] = [
    ["literals and alternatives", 'root ::= "ab" | "a" "c"', /^(ab|ac)$/u],
    ["repetition", 'root ::= "a"* "b"+ "c"? "d"{2} "a"{1,} "b"{0,2}', /^a*b+c?d{2}a+b{0,2}$/u],
    ["a repeated group", 'root ::= ("ab" | "c"){2,3} "d"', /^(ab|c){2,3}d$/u],
    ["repetition of what may be empty", 'root ::= ("a"?){2,3} ("b"*)* "c"', /^a{0,3}b*c$/u],
    ["classes, ranges, negation", "root ::= [a-c]+ [^a-c] [\\]-]? .", /^[a-c]+[^a-c][\]-]?.$/su],
    ["characters of several bytes", 'root ::= [à-ü€😀]+ "é" [^é]', /^[à-ü€😀]+é[^é]$/u],
    ["escapes", 'root ::= "\\x61\\u0062\\U00000063\\\\\\"" [\\n\\x64]', /^abc\\"[\nd]$/u],
    ["rules, right recursion, comments", 'root ::= x # one\nx ::=\n "a" x |\n "b"', /^a*b$/u],
    ["nothing at all", 'root ::= ""', /^$/u],
  ];
  const alphabet = [...'abcd-]^\n"\\éü€😀 '];
  test.for(twins)("%s: has the texts that the regular expression has", ([, gbnf, regexp]) => {
    const grammar = new Grammar(gbnf);
    let matched = 0;
    const check = (text: string) => {
      expect({ text, has: grammar.accepts(text) }).toEqual({ text, has: regexp.test(text) });
      if (regexp.test(text)) matched++;
    };
    check("");
    for (const a of alphabet) for (const b of alphabet) for (const c of ["", ...alphabet]) check(a + b + c);
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...alphabet), { maxLength: 9 }), (cs) => check(cs.join(""))),
      { seed: 1, numRuns: 500 },
    );
    for (const text of ["bdda", "abbcddabb", "abcd", "cabd", "aabbc", "éaéa", "üéa", 'abc\\"d']) check(text);
    expect(matched).toBeGreaterThan(0);
  });

  test("nesting is counted, as no regular expression can", () => {
    const grammar = new Grammar('root ::= "(" root* ")" | "[" root "]"');
    for (const good of ["()", "(()())", "[()]", `${"(".repeat(500)}${")".repeat(500)}`])
      expect(grammar.accepts(good)).toBe(true);
    for (const bad of ["", "(", "())", "([)]", "[]", `${"(".repeat(500)}${")".repeat(499)}`])
      expect(grammar.accepts(bad)).toBe(false);
  });

  test("a range of characters is exactly their UTF-8, in few ways", () => {
    fc.assert(
      fc.property(fc.nat(0x10ffff), fc.nat(0x10ffff), fc.nat(0x10ffff), (a, b, probe) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const ways = utf8Ranges(from, to);
        expect(ways.length).toBeLessThan(24);
        for (const codePoint of [from, to, probe, from + 1, to + 1, from - 1]) {
          if (codePoint < 0 || codePoint > 0x10ffff || (codePoint >= 0xd800 && codePoint <= 0xdfff)) continue;
          const bytes = new TextEncoder().encode(String.fromCodePoint(codePoint));
          const has = ways.filter(
            (way) => way.length === bytes.length && way.every(([low, high], i) => low <= bytes[i] && bytes[i] <= high),
          ).length;
          expect(has).toBe(codePoint >= from && codePoint <= to ? 1 : 0);
        }
      }),
      { seed: 2, numRuns: 1000 },
    );
  });

  test("mistakes are told with line and column, what was wanted and what came", () => {
    const wrong: [string, string][] = [
      ["", 'there is no rule "root"'],
      ['a ::= "x"', 'there is no rule "root"'],
      ["root ::= x", 'line 1, column 10: the rule "x" is not defined'],
      ['root ::= "x\n', "line 1, column 10: this text has no end"],
      ["root ::= [a", "this class of characters has no end"],
      ['root ::= ("a"', 'expected ")"'],
      ["root ::= *", 'expected something before "*" to repeat'],
      ['root ::= "a"{3,2}', "repeats from 3 to 2"],
      ['root ::= "a"{x}', "expected {m}, {m,} or {m,n}"],
      ['root ::= "a"{1000000}', "repeats more than 100000 times"],
      ['root ::= "\\q"', "expected an escape"],
      ['root ::= "a" ?? "b" !', "references to tokens are not supported"],
      ["root ::= [b-a]", "the wrong way round"],
      ['root ::= "a"\nroot ::= "b"', 'line 2, column 1: the rule "root" is there already; at "root ::= "b""'],
      ['root = "a"', 'expected "::="'],
      [`root ::= ${"(".repeat(300)}`, "nested deeper than 200"],
      ['root ::= root "a" | "b"', 'the rule "root" is left-recursive'],
      ['root ::= "x"? y\ny ::= "z"* root | "b"', "is left-recursive"],
      ['root ::= "a" root', 'no text ends the rule "root"'],
      ['root ::= "a" | []', ""],
    ];
    for (const [source, message] of wrong.slice(0, -1)) expect(() => new Grammar(source)).toThrow(message);
  });

  test("a grammar that reads a text in ever more ways is told, not run out of memory with", () => {
    const grammar = new Grammar('root ::= ("a"{0,200} "b"? "a"{0,200}){0,200} "c"');
    expect(() => grammar.accepts("a".repeat(200))).toThrow("in more than 10000 ways at once");
  });
});

describe("tokens", () => {
  const pieces = ["a", "b", "ab", "abc", "b", "é", "\u00e9x", "", '{"', '"}', '":', "aaaa"].map((text) =>
    new TextEncoder().encode(text),
  );
  pieces.push(Uint8Array.of(0xc3), Uint8Array.of(0xa9, 0x61), Uint8Array.of(0xff));
  const tokenizer = { vocabSize: pieces.length + 1, bytesOf: (id: number) => pieces[id] ?? null };

  test("the trie holds every token once, branch by branch", () => {
    const trie = buildTrie(tokenizer.vocabSize, tokenizer.bytesOf);
    const found: [number, number[]][] = [];
    const path: number[] = [];
    for (let node = 1; node < trie.byte.length; node++) {
      path.length = trie.depth[node] - 1;
      path.push(trie.byte[node]);
      expect(trie.end[node]).toBeGreaterThan(node);
      for (let i = trie.first[node]; i < trie.first[node + 1]; i++) found.push([trie.tokens[i], [...path]]);
    }
    found.sort((a, b) => a[0] - b[0]);
    expect(found).toEqual([...pieces.entries()].filter(([, p]) => p.length > 0).map(([id, p]) => [id, [...p]]));
  });

  test("a token is allowed exactly if the grammar has a text that goes on with its bytes, mid-character too", () => {
    const grammar = new Grammar('root ::= "a"{0,3} ("b" | "é") "x"? | "{" "\\"" [^\\"]* "\\"}"').over(tokenizer);
    const ends = new Set([pieces.length]);
    const random = createRandom(3);
    let masked = 0;
    for (let run = 0; run < 60; run++) {
      let state = grammar.start;
      for (let step = 0; step < 8 && !state.complete; step++) {
        const logits = new Float32Array(tokenizer.vocabSize);
        const count = grammar.mask(logits, state, ends);
        const alone = pieces.map((p) => p.length > 0 && grammar.next(state, pieces.indexOf(p)) !== null);
        const allowed = [...logits].map((x) => x === 0);
        expect(allowed).toEqual([...alone, state.accepts]);
        expect(count).toBe(allowed.filter(Boolean).length);
        masked += allowed.filter((x) => !x).length;
        const ids = [...alone.keys()].filter((id) => alone[id]);
        if (ids.length === 0) break;
        state = grammar.next(state, ids[random.integer(ids.length)])!;
      }
    }
    expect(masked).toBeGreaterThan(100);
  });

  test("near the limit only tokens come after which the text can still be ended", () => {
    const grammar = new Grammar('root ::= "a"* "b"{4}').over(tokenizer);
    const allowed = (left: number) => {
      const logits = new Float32Array(tokenizer.vocabSize);
      grammar.mask(logits, grammar.start, new Set(), left);
      return [...logits.keys()].filter((id) => logits[id] === 0);
    };
    expect(allowed(Number.POSITIVE_INFINITY)).toEqual([0, 1, 2, 4, 11]);
    expect(allowed(5)).toEqual([0, 1, 2, 4, 11]); // after "a" four bytes are left, and four tokens
    expect(allowed(4)).toEqual([1, 2, 4]); // "b" and "ab" leave three
    expect(allowed(2)).toEqual([0, 1, 2, 4, 11]); // it cannot be ended any more
  });
});

/** A text of the grammar, drawn byte by byte like a model that knows nothing, of some 400 bytes at most. */
function drawText(grammar: Grammar, seed: number): string {
  const bytes = { vocabSize: 257, bytesOf: (id: number) => (id < 256 ? Uint8Array.of(id) : null) };
  const over = grammar.over(bytes);
  const random = createRandom(seed);
  const written: number[] = [];
  let state = over.start;
  const limit = 40 + random.integer(360);
  while (!state.complete && written.length < limit + 10_000) {
    const logits = new Float32Array(257);
    over.mask(logits, state, new Set([256]), Math.max(limit - written.length, state.least + 1));
    const ids = [...logits.keys()].filter((id) => logits[id] === 0);
    const id = ids[random.integer(ids.length)];
    if (id === 256) break;
    written.push(id);
    state = over.next(state, id)!;
  }
  expect(state.accepts).toBe(true);
  return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(written));
}

describe("JSON Schema", () => {
  const person = z.strictObject({
    name: z.string().min(1).max(8),
    age: z.int().min(0).max(150),
    tags: z
      .array(z.enum(["a", 'b"c', "\u00e9\n"]))
      .min(1)
      .max(3),
    married: z.boolean().optional(),
    "a key": z.null().optional(),
    rating: z.union([z.number(), z.literal("none")]).optional(),
  });
  interface Tree {
    value: number;
    children: Tree[];
  }
  const tree: z.ZodType<Tree> = z.strictObject({
    value: z.int().min(-12).max(345),
    get children() {
      return z.array(tree).max(2);
    },
  });
  const loose = z.object({ id: z.int(), note: z.string().optional() }).catchall(z.boolean());
  const cases: [string, JsonSchema, z.ZodType][] = [
    ["an object with properties that need not be", z.toJSONSchema(person) as JsonSchema, person],
    ["a recursive schema", z.toJSONSchema(tree) as JsonSchema, tree],
    ["additional properties, none of a name that is taken", z.toJSONSchema(loose) as JsonSchema, loose],
    [
      "a tuple",
      {
        type: "array",
        prefixItems: [{ type: "integer" }, { type: "string" }],
        items: { type: "null" },
        minItems: 2,
        maxItems: 4,
      },
      z
        .tuple([z.int()])
        .rest(z.union([z.string(), z.null()]))
        .refine((x) => x.length >= 2 && x.length <= 4),
    ],
    ["a record", { type: "object", additionalProperties: { type: "integer" } }, z.record(z.string(), z.number().int())],
    [
      "a pattern",
      { type: "string", pattern: '^(\\d{3}-[A-F]+|x[^ab"]{2}\\\\)?$' },
      z.string().regex(/^(\d{3}-[A-F]+|x[^ab"]{2}\\)?$/u),
    ],
    ["a date and time", { type: "string", format: "date-time" }, z.iso.datetime({ offset: true })],
    ["a uuid", { type: "string", format: "uuid" }, z.guid()],
    ["several types", { type: ["integer", "null", "boolean"] }, z.union([z.number().int(), z.null(), z.boolean()])],
    [
      "bounds that exclude",
      { type: "integer", exclusiveMinimum: -1000, exclusiveMaximum: -7 },
      z.int().min(-999).max(-8),
    ],
    [
      "one of different types",
      { oneOf: [{ type: "string", maxLength: 2 }, { const: 7 }, { type: "array", maxItems: 0 }] },
      z.union([z.string().max(4), z.literal(7), z.tuple([])]),
    ],
    ["any JSON", true, z.json()],
  ];
  test.for(cases)("%s: every text parses and is valid (zod)", ([, schema, judge]) => {
    const grammar = new Grammar(jsonSchemaToGbnf(schema));
    const texts = new Set<string>();
    fc.assert(
      fc.property(fc.nat(2 ** 31), (seed) => {
        const text = drawText(grammar, seed);
        texts.add(text);
        expect(judge.safeParse(JSON.parse(text))).toMatchObject({ success: true });
      }),
      { seed: 5, numRuns: 25 },
    );
    expect(texts.size).toBeGreaterThan(2);
  });

  test("integers from a to b are exactly those", () => {
    fc.assert(
      fc.property(fc.integer({ min: -2500, max: 2500 }), fc.nat(1500), (low, size) => {
        const grammar = new Grammar(jsonSchemaToGbnf({ type: "integer", minimum: low, maximum: low + size }));
        for (const x of [
          low - 1,
          low,
          low + 1,
          low + size - 1,
          low + size,
          low + size + 1,
          0,
          -1,
          9,
          10,
          99,
          100,
          1000,
        ])
          expect({ x, has: grammar.accepts(String(x)) }).toEqual({ x, has: x >= low && x <= low + size });
        for (const text of ["", "-", "-0", "00", "01", "1.0"]) expect(grammar.accepts(text)).toBe(false);
      }),
      { seed: 6, numRuns: 60 },
    );
  });

  test("common JSON of a schema is in its grammar", () => {
    const schema = {
      type: "object",
      properties: { a: { type: "number" }, b: { type: "array", items: {} } },
      required: ["a"],
    };
    const grammar = new Grammar(jsonSchemaToGbnf(schema));
    for (const good of ['{"a":1}', '{ "a": -1.5e+10, "b": [1, "x", {"y": null}] }', '{"a":0,\n  "b":[]}'])
      expect(grammar.accepts(good)).toBe(true);
    for (const bad of ["{}", '{"b":[]}', '{"a":01}', '{"a":1,}', '{"a":1,"c":2}', '{"a":"1"}', '{"b":[],"a":1}'])
      expect(grammar.accepts(bad)).toBe(false);
  });

  test("what is not supported is refused by name and place", () => {
    const refused: [JsonSchema, string][] = [
      [{ type: "object", properties: { a: { not: {} } } }, '#/properties/a: the keyword "not" is not supported'],
      [{ type: "number", multipleOf: 3 }, 'the keyword "multipleOf" is not supported'],
      [{ type: "number", minimum: 3 }, '"minimum" is supported for integers alone'],
      [{ type: "array", uniqueItems: true }, '"uniqueItems"'],
      [{ $ref: "https://example.com/x" }, '"$ref" to "https://example.com/x" is not supported'],
      [{ $ref: "#/$defs/no" }, "which is not there"],
      [{ $ref: "#" }, 'no text ends the rule "root"'],
      [{ allOf: [{}, {}] }, '"allOf" is supported with one schema alone'],
      [
        { oneOf: [{ type: "integer" }, { type: "number" }] },
        '"oneOf" is supported where the alternatives have different types',
      ],
      [{ anyOf: [{}], type: "string" }, '"type" beside "anyOf" is not supported'],
      [{ type: "string", format: "email" }, 'the format "email" is not supported'],
      [{ type: "string", pattern: "abc" }, "a pattern for a part of the string"],
      [{ type: "string", pattern: "^(?=a)b$" }, '"(?=" is not supported'],
      [{ type: "string", pattern: "^a|b$" }, '"|" outside a group'],
      [{ type: "string", pattern: "^($" }, "is no regular expression"],
      [{ type: "text" }, 'the type "text" is not known'],
      [{ type: "string", minimum: 1 }, '"minimum" is for a type other than string'],
      [{ type: "integer", minimum: 3, maximum: 2 }, "no integer is from 3 to 2"],
      [
        { type: "object", properties: { a: false }, required: ["a"] },
        'the property "a" is required, but none is valid',
      ],
      [false, "false, for which nothing is valid"],
    ];
    for (const [schema, message] of refused) expect(() => new Grammar(jsonSchemaToGbnf(schema))).toThrow(message);
    expect(() => jsonSchemaToGbnf(3)).toThrow("is 3; expected an object or true");
  });
});

test("alternatives may each begin a line, with blank lines and comments between", () => {
  const grammar = new Grammar('root ::=\n    "yes"\n  | "no"   # or\n\n  # perhaps\n  | item\nitem ::= "a"\n| "b"');
  expect(["yes", "no", "a", "b", "yesno"].map((text) => grammar.accepts(text))).toEqual([
    true,
    true,
    true,
    true,
    false,
  ]);
  expect(() => new Grammar('root ::= "a"\n  "b"')).toThrow("expected a rule's name");
});
