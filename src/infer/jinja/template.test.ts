// Oracle: jinja2 3.1.6 in the environment that transformers 5.24 makes for chat templates; what it gives is written down by
// test/fixtures/chat-templates/make.py. null: an error there, and one here.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { formatTime } from "./strftime.ts";
import { Template } from "./template.ts";
import { Float, fromJson, TemplateError, textOf, type Value } from "./values.ts";

const source = readFileSync(new URL("../../../test/fixtures/chat-templates/expected.json", import.meta.url), "utf8");
const { data, cases }: { data: Record<string, unknown>; cases: [string, string | null][] } = JSON.parse(source);
/** JSON has one kind of number: the data's floats that are whole. */
const floats = ["floats"];
const variables = new Map<string, Value>(
  Object.entries(data).map(([name, value]) => [
    name,
    floats.includes(name) ? (value as number[]).map((n) => new Float(n)) : fromJson(value),
  ]),
);
/** Refused by name, where jinja2 gives a text. */
const refused = [
  ...["{{ 10 ** 20 }}", "{{ big * big }}", "{{ 'a'.isidentifier() }}", "{{ 'x'.encode() }}", "{{ s | pprint }}"],
  ...["{{ 1024 | filesizeformat }}", "{{ s | wordwrap(3) }}", "{{ s | urlize }}"],
];
/** Newer versions of Python take `count` by name; a range is a list to us, which JSON can hold. */
const wider: Record<string, string> = {
  "{{ s.replace('l', 'L', count=1) }}": "HeLlo World",
  "{{ range(3) | tojson }}": "[0, 1, 2]",
};
const run = (template: string, said = false) => {
  const own = said ? new Map([...variables, ["messages", fromJson(data.messages, true)]]) : variables;
  try {
    return textOf(new Template(template).render(own));
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return null;
  }
};

test.for(cases)("%s", ([template, text]) => {
  if (refused.includes(template)) expect(() => new Template(template).render(variables)).toThrow("not supported");
  else expect(run(template)).toBe(wider[template] ?? text);
});

test("what is not supported is refused when the template is read", () => {
  for (const [template, words] of [
    ["{% if no %}{{ s | urlize }}{% endif %}", "the filter 'urlize' is not supported (line 1)"],
    ["a\n{{ s | nope }}", "no filter named 'nope' (line 2)"],
    ["{% if s is nope %}{% endif %}", "no test named 'nope' (line 1)"],
    ["{{ s.encode() }}", "the method 'encode' is not supported (line 1)"],
    ["{% include 'x' %}", "the tag 'include' is not supported (line 1)"],
    ["{% nope %}", "encountered unknown tag 'nope' (line 1)"],
  ])
    expect(() => new Template(template)).toThrow(words);
});

test("strftime_now writes a time as Python does", () => {
  // Python: datetime(2024, 3, 7, 15, 4, 5).strftime(...)
  const now = new Date(2024, 2, 7, 15, 4, 5);
  expect(formatTime("%d %b %Y|%A, %B %-d|%I:%M:%S %p|%j %U %W %w %u|%y %e|%F %T|%H%%", now)).toBe(
    "07 Mar 2024|Thursday, March 7|03:04:05 PM|067 09 10 4 4|24  7|2024-03-07 15:04:05|15%",
  );
  expect(() => formatTime("%Q", now)).toThrow("the field %Q is not supported");
});

test("what messages said changes no template's text", () => {
  for (const [template, text] of cases)
    if (template.includes("messages")) expect(run(template, true), template).toBe(text);
});
