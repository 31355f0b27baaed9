/**
 * JSON records and questions on them, in the notation of jq:
 *
 *     {"id":17,"name":"Mira","tags":["red","old"],"address":{"city":"Oslo","zip":"0150"}}
 *     .address.city -> "Oslo"
 *
 * Questions: a field, a field of a nested object, an element of a list, a list's length, the sorted keys, an object of
 * some of the fields. Held out by problem: records with the same fields and values in another order, asked the same, are
 * one problem.
 */
import { UsageError } from "../../platform/errors.ts";
import { createRandom, type Random } from "../../platform/random.ts";
import { answerLine, drawSplit, isHeldOutForm, type ProblemSet } from "./problem-set.ts";

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

const names = "Ada Bo Cleo Dov Ebba Finn Gwen Hugo Ines Jun Kai Lena Mira Nils Olga Pia Quinn Rosa Sven Tara".split(
  " ",
);
const cities = "Accra Bergen Cork Delft Eger Faro Ghent Hanoi Izmir Kyoto Lima Malmo Nice Oslo Porto Quito Riga".split(
  " ",
);
const tags = "red blue green old new big small fast slow open shut hot cold".split(" ");
const streets = "Mill Hill Oak Elm Lake Park Bay Fox Rose Station".split(" ");

const pick = <T>(random: Random, list: readonly T[]): T => list[random.integer(list.length)];

/** Fields and how their values are drawn. */
const fields: Record<string, (random: Random) => Json> = {
  id: (random) => random.integer(1000),
  name: (random) => pick(random, names),
  age: (random) => 1 + random.integer(99),
  city: (random) => pick(random, cities),
  active: (random) => random.integer(2) === 1,
  price: (random) => (1 + random.integer(9999)) / 100,
  tags: (random) => Array.from({ length: random.integer(4) }, () => pick(random, tags)),
  scores: (random) => Array.from({ length: 1 + random.integer(4) }, () => random.integer(101)),
  address: (random) => ({ street: `${pick(random, streets)} ${1 + random.integer(40)}`, city: pick(random, cities) }),
  manager: (random) => (random.integer(3) === 0 ? null : pick(random, names)),
};

/** `count` of a list, in a random order. */
function choose<T>(random: Random, list: readonly T[], count: number): T[] {
  const rest = [...list];
  return Array.from({ length: count }, () => rest.splice(random.integer(rest.length), 1)[0]);
}

function draw(random: Random): string {
  const keys = choose(random, Object.keys(fields), 3 + random.integer(4));
  const record = Object.fromEntries(keys.map((key) => [key, fields[key](random)]));
  return `${JSON.stringify(record)}\n${drawQuery(random, record)}`;
}

function drawQuery(random: Random, record: Record<string, Json>): string {
  const keys = Object.keys(record);
  const kind = random.integer(10);
  if (kind === 0) return "keys";
  if (kind <= 2) return `{${choose(random, keys, 1 + random.integer(3)).join(",")}}`;
  const key = pick(random, keys);
  const value = record[key];
  if (Array.isArray(value)) {
    if (value.length === 0 || random.integer(2) === 0) return `.${key}|length`;
    return `.${key}[${random.integer(value.length)}]`;
  }
  if (typeof value === "object" && value !== null) return `.${key}.${pick(random, Object.keys(value))}`;
  return `.${key}`;
}

const isObject = (value: Json | undefined): value is { [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Answers a question as jq does. UsageError for one that this set does not ask, or that the record has no answer to. */
export function queryRecord(record: { [key: string]: Json }, query: string): Json {
  const missing = () => new UsageError(`the question "${query}" has no answer in this record`);
  const fieldOf = (object: Json | undefined, key: string): Json => {
    if (!isObject(object) || !Object.hasOwn(object, key)) throw missing();
    return object[key];
  };
  if (query === "keys") return Object.keys(record).sort();
  const some = /^\{(\w+(?:,\w+)*)\}$/.exec(query);
  if (some) return Object.fromEntries(some[1].split(",").map((key) => [key, fieldOf(record, key)]));
  const path = /^\.(\w+)(?:\.(\w+)|\[(\d+)\]|(\|length))?$/.exec(query);
  if (!path)
    throw new UsageError(`"${query}" is not a question of this set; expected one such as .name or .tags|length`);
  const [, key, inner, at, length] = path;
  const value = fieldOf(record, key);
  if (inner !== undefined) return fieldOf(value, inner);
  if (at === undefined && !length) return value;
  if (!Array.isArray(value)) throw missing();
  if (length) return value.length;
  if (Number(at) >= value.length) throw missing();
  return value[Number(at)];
}

/** JSON with the keys of every object sorted: equal for equal values. */
const sorted = (value: Json): string =>
  JSON.stringify(value, (_, inner: Json) =>
    isObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner,
  );

function split(problem: string): { record: { [key: string]: Json }; query: string } {
  const [line, query, ...more] = problem.split("\n");
  let record: Json | undefined;
  try {
    record = JSON.parse(line) as Json;
  } catch {
    record = undefined;
  }
  if (!isObject(record) || query === undefined || more.length > 0)
    throw new UsageError(`"${problem}" is not a JSON record and a question, each on a line`);
  return { record, query };
}

const solve = (problem: string): Json => {
  const { record, query } = split(problem);
  return queryRecord(record, query);
};

/** A problem is the record, a newline and the question; the prompt adds ` -> `; the answer is JSON. */
export const jsonRecords: ProblemSet = {
  name: "json",
  identity: "json:1",
  characters: `${[...new Set([...Object.keys(fields), ...names, ...cities, ...tags, ...streets, '0123456789 {}[]",:.->|\n', "length keys street true false null"].join(""))].sort().join("")}`,
  generate: (side, seed) => drawSplit(jsonRecords, side, createRandom(seed), draw),
  isHeldOut(problem) {
    const { record, query } = split(problem);
    return isHeldOutForm("json", `${sorted(record)}\n${query}`);
  },
  prompt: (problem) => `${problem} -> `,
  answer: (problem) => JSON.stringify(solve(problem)),
  check(prompt, answer) {
    const right = solve(prompt.replace(/\s*->\s*$/, ""));
    try {
      return sorted(JSON.parse(answerLine(answer)) as Json) === sorted(right);
    } catch {
      return false; // not JSON: a wrong answer, not an error
    }
  },
};
