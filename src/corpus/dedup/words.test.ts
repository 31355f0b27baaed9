// Oracle: JavaScript's own regular expressions over Unicode properties, string comparison, Node's Latin-1 decoder; bytes 0x80 to
// 0x9f of Windows-1252 as Unicode's table has them (unicode.org/Public/MAPPINGS/VENDORS/MICSFT/WINDOWS/CP1252.TXT).
import fc from "fast-check";
import { expect, test } from "vitest";
import { exactText, hashWords, IntList, repairMisread } from "./words.ts";

const hashes = (text: string): number[] => {
  const list = new IntList();
  hashWords(text, list);
  return [...list.values.subarray(0, list.length)];
};

const wordsOf = (text: string): string[] =>
  (
    text
      .normalize("NFKC")
      .toLowerCase()
      .match(/[\p{L}\p{N}\p{M}]+/gu) ?? []
  )
    .flatMap((run) =>
      // A character of a script without spaces stands alone; the runs between them are words.
      run.split(
        /([\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}])/u,
      ),
    )
    .filter((word) => word !== "");

test("words are runs of letters, digits and marks; punctuation, case and compatibility forms do not matter", () => {
  expect(hashes("The cat, the CAT!")).toEqual(hashes("the cat the cat"));
  expect(hashes("ﬁne ①２")).toEqual(hashes("fine 12"));
  expect(hashes("caf\u00e9")).toEqual(hashes("cafe\u0301"));
  expect(hashes("ab c")).not.toEqual(hashes("a bc"));
  expect(hashes(" ... !? ")).toEqual([]);
  expect(hashes("")).toEqual([]);
});

test("characters of scripts without spaces are words of their own, beyond the first plane too", () => {
  expect(hashes("我爱北京")).toHaveLength(4);
  expect(hashes("ภาษาไทย")).toHaveLength("ภาษาไทย".length);
  expect(hashes("\u{20000}\u{20001}")).toHaveLength(2);
  expect(hashes("GPT模型v2")).toEqual([...hashes("GPT"), ...hashes("模"), ...hashes("型"), ...hashes("v2")]);
  expect(hashes("\u{10400}x")).toEqual(hashes("\u{10428}X")); // Deseret has case
  expect(hashes("a😀b")).toEqual(hashes("a b"));
});

test("any text has as many words as the regular expression finds, equal where those are equal", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "grapheme", maxLength: 6 }), { maxLength: 12 }), (parts) => {
      const text = parts.join(" ").toLowerCase();
      const [words, got] = [wordsOf(text), hashes(text)];
      expect(got).toHaveLength(words.length);
      for (const [i, word] of words.entries()) expect(got[i]).toBe(got[words.indexOf(word)]);
      expect(new Set(got).size).toBe(new Set(words).size);
    }),
    { numRuns: 300, seed: 5 },
  );
});

test("exact text forgets case, white space and composition, and nothing else", () => {
  expect(exactText(" A\t b\n\nC ")).toBe("a b c");
  expect(exactText("e\u0301")).toBe("\u00e9");
  expect(exactText("2 + 2")).not.toBe(exactText("2 - 2"));
});

test("UTF-8 read as Windows-1252 or Latin-1 counts as the characters that were meant; other text stays", () => {
  const table = Object.entries({ "€": 0x80, "‚": 0x82, ƒ: 0x83, "„": 0x84, "…": 0x85, "†": 0x86, "‡": 0x87, ˆ: 0x88 });
  table.push(...Object.entries({ "‰": 0x89, Š: 0x8a, "‹": 0x8b, Œ: 0x8c, Ž: 0x8e, "‘": 0x91, "’": 0x92, "“": 0x93 }));
  table.push(
    ...Object.entries({ "”": 0x94, "•": 0x95, "–": 0x96, "—": 0x97, "˜": 0x98, "™": 0x99, š: 0x9a, "›": 0x9b }),
  );
  table.push(...Object.entries({ œ: 0x9c, ž: 0x9e, Ÿ: 0x9f }));
  const shown = new Map(table.map(([character, byte]) => [byte, character]));
  const codes = [...Array(128).keys()].map((i) => 0x80 + i).concat([...Array(64).keys()].map((i) => 0x2000 + i));
  for (const code of codes) {
    const character = String.fromCharCode(code);
    const bytes = Buffer.from(character, "utf8");
    expect(repairMisread(bytes.toString("latin1"))).toBe(character);
    expect(repairMisread([...bytes].map((byte) => shown.get(byte) ?? String.fromCharCode(byte)).join(""))).toBe(
      character,
    );
  }
  expect(hashes("she saidâ€ she donâ€™t, cafÃ©")).toEqual(hashes("she said” she don’t, café"));
  for (const text of ["São Tomé, même à Paris: 5 € pour l’été", "日本語 und Straße", "Ça va â", "20 °C – ¿sí?"])
    expect(repairMisread(text)).toBe(text);
});
