/**
 * The texts that the recorded runs learn from, made here from a seed and of nothing else: a change to the project's own
 * generators or random numbers must not change what is replayed.
 */

/** Marsaglia's xorshift32: integers in [0, limit). */
function xorshift(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** Sums, differences and products, one a line and a document: 16 kinds of character. */
export function problems(lines: number): string {
  const draw = xorshift(7);
  return Array.from({ length: lines }, () => {
    const [a, b] = [draw(100), draw(100)];
    const [sign, value] = (
      [
        ["+", a + b],
        ["-", a - b],
        ["*", a * b],
      ] as const
    )[draw(3)];
    return `${a} ${sign} ${b} = ${value}\n`;
  }).join("");
}

/** Sentences over made-up words, some common and most rare, in documents of a few sentences. */
export function stories(documents: number): string {
  const draw = xorshift(11);
  const syllables = [
    "ba",
    "ket",
    "lo",
    "min",
    "ra",
    "sto",
    "vel",
    "zu",
    "an",
    "chi",
    "do",
    "fer",
    "gul",
    "hep",
    "ix",
    "jo",
    "nap",
    "pel",
    "qui",
  ];
  const words = Array.from({ length: 1600 }, () =>
    Array.from({ length: 1 + draw(4) }, () => syllables[draw(syllables.length)]).join(""),
  );
  // The smaller of two draws, squared: a few words are a good part of the text.
  const word = () => words[Math.floor((draw(words.length) * draw(words.length)) / words.length)];
  const sentence = () => {
    const text = Array.from({ length: 4 + draw(8) }, word).join(" ");
    return `${text[0].toUpperCase()}${text.slice(1)}.`;
  };
  return Array.from({ length: documents }, () => Array.from({ length: 2 + draw(4) }, sentence).join(" ")).join(
    "\n<|endoftext|>\n",
  );
}
