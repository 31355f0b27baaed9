// Budgets of a rendering. What templates that end say is template.test.ts's.
import { expect, test } from "vitest";
import { createChatTemplate } from "../chat-template.ts";

const messages = [
  { role: "system", content: "Be kind.\nAlways." },
  { role: "user", content: "a-b-c" },
];

const doubling = (body: string) => `{% set ns = namespace(x=${body}) %}`;
test.for([
  ["a range of 10^9", "{% for i in range(1000000000) %}{% endfor %}", /makes a value of more than 16777216/],
  [
    "loops in loops",
    `${"{% for i in range(3000) %}".repeat(3)}${"{% endfor %}".repeat(3)}`,
    /more than 2000000 steps|takes too long/,
  ],
  [
    "a text that doubles",
    `${doubling("'ab'")}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}`,
    /more than 16777216/,
  ],
  [
    "a text replaced by itself",
    `${doubling("'aa'")}{% for i in range(60) %}{% set ns.x = ns.x | replace('a', ns.x) %}{% endfor %}`,
    /more than 16777216/,
  ],
  [
    "the same by a method",
    `${doubling("'aa'")}{% for i in range(60) %}{% set ns.x = ns.x.replace('a', ns.x) %}{% endfor %}`,
    /more than 16777216/,
  ],
  [
    "the same by a block",
    `${doubling("'aa'")}{% for i in range(60) %}{% set ns.x %}{% filter replace('a', ns.x) %}{{ ns.x }}{% endfilter %}{% endset %}{% endfor %}`,
    /more than 16777216/,
  ],
  [
    "a join by a long text",
    "{% set s = range(5000) | join('xxxxxxxxxx') %}{{ range(5000) | join(s) }}",
    /more than 16777216/,
  ],
  [
    "lists of lists",
    `${doubling("[1]")}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}`,
    /more than 16777216/,
  ],
  ["a wide indent", "{{ messages | tojson(indent=100000000) }}", /tojson: indents and separators of more than 64/],
  ["a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", /nests more than 400/],
  [
    "a list in a list in a list",
    `${doubling("[]")}{% for i in range(5000) %}{% set ns.x = [ns.x] %}{% endfor %}`,
    /more than 400 deep/,
  ],
] as const)("%s is refused by name", ([, source, words]) => {
  expect(() => createChatTemplate(source).render(messages as never)).toThrow(words);
});

test("a template that cannot be parsed for its depth or its size is refused in words of ours", () => {
  const deep = `{{ ${"(".repeat(100_000)}1${")".repeat(100_000)} }}`;
  expect(() => createChatTemplate(deep)).toThrow("chat template: cannot be read: it nests too deep");
  expect(() => createChatTemplate("x".repeat(2 ** 20 + 1))).toThrow("at most 1048576 are read");
});
