/**
 * Which words of two texts the other lacks: for showing duplicates side by side. The longest common subsequence of words
 * stays unmarked (Hunt & McIlroy, 1976); a word is what stands between white space.
 */

export interface MarkedText {
  /** A stretch with the white space before its words; stretches end to end are the text. */
  text: string;
  differs: boolean;
}

/** Words of each text that are compared: the table has the square of it. What is beyond is not marked. */
const MOST_WORDS = 1500;

/** @returns the stretches of each text */
export function markDifferences(a: string, b: string): [MarkedText[], MarkedText[]] {
  const [piecesA, piecesB] = [piecesOf(a), piecesOf(b)];
  const [wordsA, wordsB] = [piecesA, piecesB].map((pieces) => pieces.slice(0, MOST_WORDS).map((piece) => piece.trim()));
  const { length: n } = wordsA;
  const { length: m } = wordsB;
  // best[i][j]: words in common of what follows i in a and j in b.
  const width = m + 1;
  const best = new Uint16Array((n + 1) * width);
  for (let i = n - 1; i >= 0; i--)
    for (let j = m - 1; j >= 0; j--)
      best[i * width + j] =
        wordsA[i] === wordsB[j]
          ? best[(i + 1) * width + j + 1] + 1
          : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
  const differsA = new Array<boolean>(n).fill(true);
  const differsB = new Array<boolean>(m).fill(true);
  for (let i = 0, j = 0; i < n && j < m; ) {
    if (wordsA[i] === wordsB[j]) {
      differsA[i++] = false;
      differsB[j++] = false;
    } else if (best[(i + 1) * width + j] >= best[i * width + j + 1]) i++;
    else j++;
  }
  return [gathered(piecesA, differsA), gathered(piecesB, differsB)];
}

/** Words, each with the white space before it; the last also with what follows it. */
function piecesOf(text: string): string[] {
  const pieces: string[] = text.match(/\s*\S+/g) ?? [];
  const rest = text.slice(pieces.reduce((sum, piece) => sum + piece.length, 0));
  if (rest !== "") pieces.push(`${pieces.pop() ?? ""}${rest}`);
  return pieces;
}

function gathered(pieces: readonly string[], differs: readonly boolean[]): MarkedText[] {
  const stretches: MarkedText[] = [];
  for (const [i, piece] of pieces.entries()) {
    const marked = differs[i] ?? false;
    const last = stretches.at(-1);
    if (last && last.differs === marked) last.text += piece;
    else stretches.push({ text: piece, differs: marked });
  }
  return stretches;
}
