// Oracle: a Map of strings.
import fc from "fast-check";
import { expect, test } from "vitest";
import { OWN, SpanTable } from "./span-table.ts";
import { SLACK_BEFORE, Utf8Buffer } from "./utf8-buffer.ts";

/** Keys around the length that lies in a slot, many of which differ in their last byte or in their length alone. */
const keys = fc
  .tuple(fc.integer({ min: 0, max: 40 }), fc.constantFrom("a", "\0", "é"), fc.constantFrom("", "b", "c", "\0"))
  .map(([length, fill, last]) => fill.repeat(length) + last)
  .filter((key) => key !== "");

test("numbers distinct stretches in order of meeting, finds each again, and keeps the owner's numbers as it grows", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(keys, fc.nat().map(String)), { maxLength: 3000, size: "max" }), (words) => {
      const known = new Map<string, number>();
      const table = new SpanTable();
      const text = new Utf8Buffer();
      for (const word of words) {
        // What lies behind a stretch is not part of it.
        const end = text.write(`${word}`);
        text.bytes.fill(0xaa, end, end + 16);
        const found = table.find(text, SLACK_BEFORE, end);
        if (known.has(word)) {
          expect(table.numberAt(found)).toBe(known.get(word));
          expect(table.slots[found + OWN]).toBe(7 * known.get(word)!);
          continue;
        }
        expect(found).toBe(-1);
        const at = table.add(text, SLACK_BEFORE, end);
        table.slots[at + OWN] = 7 * known.size;
        known.set(word, known.size);
      }
      expect(table.size).toBe(known.size);
      for (const [word, number] of known) expect(Buffer.from(table.bytesOf(number)).toString()).toBe(word);
      const copy = SpanTable.of(table.tables());
      for (const [word, number] of known)
        expect(copy.numberAt(copy.find(text, SLACK_BEFORE, text.write(word)))).toBe(number);
      table.clear();
      for (const word of known.keys()) expect(table.find(text, SLACK_BEFORE, text.write(word))).toBe(-1);
    }),
    { seed: 22, numRuns: 8 },
  );
});
