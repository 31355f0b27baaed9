// What a request may hold and would hold up a server. Oracles: the texts that the small forms of the same grammars have,
// and the refusal's own words. None of these ended, or ended within seconds, before the limits were there; a test that
// hangs is the failure.
import { expect, test } from "vitest";
import { DataError, UnsupportedError, UsageError } from "../../platform/errors.ts";
import { jsonSchemaToGbnf } from "./json-schema.ts";
import { Grammar } from "./token-mask.ts";

const bytes = { vocabSize: 256, bytesOf: (id: number) => Uint8Array.of(id) };

test("oneOf over a ring of names: its types are found once each, and the ring is refused for what it is", () => {
  const n = 40;
  const ref = (i: number) => ({ $ref: `#/$defs/d${i % n}` });
  const ring = (leaf: object[]) => ({
    $defs: Object.fromEntries(
      Array.from({ length: n }, (_, i) => [`d${i}`, { anyOf: [ref(i + 1), ref(i + 2), ...leaf] }]),
    ),
    oneOf: [ref(0), { type: "null" }],
  });
  expect(() => new Grammar(jsonSchemaToGbnf(ring([])))).toThrow("no text ends the rule");
  // A leaf of null anywhere in the ring is null for all of it.
  expect(() => jsonSchemaToGbnf(ring([{ type: "null" }]))).toThrow('"oneOf" is supported where the alternatives');
});

test("a recursive schema is oneOf's alternative by its own type", () => {
  const schema = {
    $defs: { tree: { type: "array", items: { $ref: "#/$defs/tree" } } },
    oneOf: [{ $ref: "#/$defs/tree" }, { type: "null" }],
  };
  const grammar = new Grammar(jsonSchemaToGbnf(schema));
  expect(["[[],[[]]]", "null"].map((text) => grammar.accepts(text))).toEqual([true, true]);
  expect(grammar.accepts("[1]")).toBe(false);
});

test.for(["forwards", "backwards"])("a chain of 8,000 rules written %s compiles", (order) => {
  const rules = Array.from({ length: 8000 }, (_, i) => `r${i} ::= ${i === 7999 ? '"a"' : `r${i + 1}`}`);
  if (order === "backwards") rules.reverse();
  const grammar = new Grammar(["root ::= r0", ...rules].join("\n"));
  expect([grammar.accepts("a"), grammar.accepts("aa")]).toEqual([true, false]);
});

test("the shortest text of a rule is found whatever order rules stand in", () => {
  // Each rule may go through the next, or end by more bytes: the shortest is always the last's.
  const n = 2000;
  const rules = Array.from(
    { length: n },
    (_, i) => `r${i} ::= "${"x".repeat(5)}" | ${i + 1 < n ? `r${i + 1}` : '"y"'}`,
  );
  const grammar = new Grammar(["root ::= r0", ...rules].join("\n"));
  expect(grammar.over(bytes).start.least).toBe(1);
});

test("many values of enum become a tree: few ways at once, and exactly these texts", () => {
  const values = [...Array.from({ length: 5000 }, (_, i) => `v${i}`), "", 'q"uote', "é€", 17, null, { a: [1] }];
  const grammar = new Grammar(jsonSchemaToGbnf({ enum: values }));
  for (const value of [...values.slice(0, 5), ...values.slice(-8)])
    expect(grammar.accepts(JSON.stringify(value))).toBe(true);
  for (const other of ['"v5000"', '"v"', "18", '"v12', "{}"]) expect(grammar.accepts(other)).toBe(false);
});

test.for<[string, unknown, RegExp]>([
  ["80,000 values", { enum: Array.from({ length: 80_000 }, (_, i) => `v${i}`) }, /takes more than 50000 steps/],
  [
    "20,000 properties",
    { properties: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`p${i}`, { type: "string" }])) },
    /at most 2000000 are supported|takes more than 50000 steps/,
  ],
  [
    "names over names: oneOf in each part",
    {
      $defs: Object.fromEntries(
        Array.from({ length: 2000 }, (_, i) => [
          `d${i}`,
          { oneOf: [{ $ref: `#/$defs/d${(i + 1) % 2000}` }, { type: "null" }] },
        ]),
      ),
      $ref: "#/$defs/d0",
    },
    /takes more than 50000 steps|alternatives have different types/,
  ],
  ["a long pattern", { type: "string", pattern: `^${"a".repeat(20_000)}$` }, /at most 10000 are supported/],
  [
    "a long name to differ from",
    { properties: { ["x".repeat(5000)]: {} }, additionalProperties: true },
    /more than 256/,
  ],
])("a schema of %s is refused by name", ([, schema, words]) => {
  const convert = () => jsonSchemaToGbnf(schema);
  expect(() => new Grammar(convert())).toThrow(UnsupportedError);
  expect(() => new Grammar(convert())).toThrow(words);
});

test("a schema nested 3,000 deep, and one that names 5,000 parts in a chain", () => {
  let deep: unknown = { type: "null" };
  for (let i = 0; i < 3000; i++) deep = { type: "array", items: deep };
  expect(() => jsonSchemaToGbnf(deep)).toThrow("schema #: nests more than 100 deep");
  const chain = {
    $defs: Object.fromEntries(
      Array.from({ length: 5000 }, (_, i) => [`d${i}`, i === 4999 ? { const: 1 } : { $ref: `#/$defs/d${i + 1}` }]),
    ),
    $ref: "#/$defs/d0",
  };
  expect(new Grammar(jsonSchemaToGbnf(chain)).accepts("1")).toBe(true);
});

test("a pointer that is no URI is the schema's fault", () => {
  expect(() => jsonSchemaToGbnf({ $ref: "#/%E0%A4%A" })).toThrow(UsageError);
  expect(() => jsonSchemaToGbnf({ $ref: "#/%E0%A4%A" })).toThrow("its % escapes are not UTF-8");
});

test("a grammar of too many ways at once ends in its own words, not in minutes", () => {
  const many = Array.from({ length: 2500 }, (_, i) => `[a-z]{1,${i + 1}} "${i}"`);
  const grammar = new Grammar(`root ::= ${many.join(" | ")}`).over({
    vocabSize: 26 ** 3,
    bytesOf: (id) => Uint8Array.of(97 + (id % 26), 97 + (Math.floor(id / 26) % 26), 97 + Math.floor(id / 676)),
  });
  const write = () => {
    let state = grammar.start;
    for (let i = 0; i < 1000; i++) {
      grammar.mask(new Float32Array(26 ** 3), state, new Set());
      state = grammar.next(state, i)!;
    }
  };
  expect(write).toThrow(DataError);
  expect(write).toThrow("fewer alternatives that begin alike");
});

test("messages about a schema show values cut short, on one line", () => {
  const long = "x".repeat(100_000);
  for (const schema of [
    { type: long },
    { [long]: 1 },
    { $ref: long },
    { format: long, type: "string" },
    [long],
    long,
  ]) {
    const message = (() => {
      try {
        return jsonSchemaToGbnf(schema);
      } catch (error) {
        return (error as Error).message;
      }
    })();
    expect(message.length).toBeLessThan(500);
    expect(message).not.toContain("\n");
  }
});
