/**
 * WikiText pages, words and bytes, as lm-evaluation-harness's `wikitext` task counts them: document-level word
 * perplexity is exp(-sum of log-likelihoods / sum of words), with the words counted in the page as it stands in the file,
 * and the model scoring the page after `detokenizeWikiText`.
 *
 * Works for the raw form (.raw) and the tokenised one (.tokens, with <unk>). Scores nothing itself; eval/ does.
 */
import { DataError } from "../platform/errors.ts";
import { decodePiece, type PieceOptions, readPieces } from "./pieces.ts";

// Python's str.strip() and its \s: Unicode white space with U+001C to U+001F and U+0085, without U+FEFF. JavaScript's
// own trim() and \s differ in exactly these.
const pythonSpace = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const leadingSpace = new RegExp(`^[${pythonSpace}]+`, "u");
const trailingSpace = new RegExp(`[${pythonSpace}]+$`, "u");
const spaces = new RegExp(`[${pythonSpace}]+`, "u");

/**
 * Whether a line opens a page: a heading of level 1, ` = Title = `, and not ` = = Section = = `. The harness's rule, its
 * oddity kept: a level-1 title that itself contains "= =" is judged after those are joined.
 */
export function isPageHeading(line: string): boolean {
  const text = line
    .replaceAll("= = =", "===")
    .replaceAll("= =", "==")
    .replace(leadingSpace, "")
    .replace(trailingSpace, "");
  return text.startsWith("= ") && text.endsWith(" =");
}

/**
 * Pages of a WikiText file, in groups, each with its heading line, newlines and spaces as in the file. What stands before
 * the first heading belongs to the first page if it is more than white space, else it is dropped, as the harness does.
 * `onBad` hears of a line that cannot be read, and throws to end the reading.
 */
export async function* readPages(
  path: string,
  {
    maxDocumentBytes = 64 * 2 ** 20,
    onRead,
    tap,
    onBad,
  }: { maxDocumentBytes?: number } & Pick<PieceOptions, "onRead" | "tap" | "onBad"> = {},
): AsyncGenerator<string[]> {
  const pieces = readPieces(path, {
    delimiter: Uint8Array.of(10),
    noun: "line",
    maxPieceBytes: maxDocumentBytes,
    hint: "is it a WikiText file? Else raise the limit",
    onRead,
    tap,
    onBad,
  });
  let lines: string[] = [];
  for await (const group of pieces) {
    const pages: string[] = [];
    for (const piece of group) {
      // Python's text mode reads "\r\n" as "\n".
      let line: string;
      try {
        line = decodePiece(piece, path, `line ${piece.index + 1}`).replace(/\r$/, "");
      } catch (error) {
        if (!onBad || !(error instanceof DataError)) throw error;
        onBad(error); // the page goes on without the line
        continue;
      }
      if (isPageHeading(line)) {
        const page = lines.join("\n");
        if (page.replace(leadingSpace, "") !== "") pages.push(page);
        lines = [];
      }
      lines.push(line);
    }
    yield pages;
  }
  yield [lines.join("\n")];
}

/** What perplexities over a WikiText file divide by. */
export interface WikiTextCounts {
  pages: number;
  /** Sum of countWords over the pages: word perplexity at document level. */
  words: number;
  /** Sum of countBytes over the pages: bits per byte at document level. */
  bytes: number;
  /** Words and one <eos> a line, as the data set's authors count: perplexity by tokens (217,646 in the validation file). */
  tokens: number;
}

/** Counts a WikiText file, page by page. */
export async function countWikiText(path: string): Promise<WikiTextCounts> {
  const counts: WikiTextCounts = { pages: 0, words: 0, bytes: 0, tokens: 0 };
  for await (const group of readPages(path))
    for (const page of group) {
      counts.pages++;
      counts.words += countWords(page);
      counts.bytes += countBytes(page);
    }
  const lines = readPieces(path, {
    delimiter: Uint8Array.of(10),
    noun: "line",
    maxPieceBytes: 64 * 2 ** 20,
    hint: "is it a WikiText file?",
  });
  for await (const group of lines)
    for (const line of group) {
      const words = decodePiece(line, path, `line ${line.index + 1}`).split(spaces);
      counts.tokens += words.filter((word) => word !== "").length;
      if (line.index > 0) counts.tokens++; // the <eos> of the line before
    }
  return counts;
}

/** Words of a page for word perplexity: the pieces between runs of white space, empty ones at the ends included. */
export const countWords = (page: string): number => page.split(spaces).length;

/** Bytes of a page for byte perplexity and bits per byte: its UTF-8. */
export const countBytes = (page: string): number => new TextEncoder().encode(page).length;

/**
 * Undoes WikiText's tokenisation before a page is scored: the harness's `wikitext_detokenizer`, step for step in its
 * order, including the step that never matches real text (slashes inside the pattern).
 */
export function detokenizeWikiText(page: string): string {
  const s = `[${pythonSpace}]*`;
  const replaceAll: [string | RegExp, string][] = [
    ["s '", "s'"],
    [/\/' [0-9]\//gu, "/'[0-9]/"],
    [" @-@ ", "-"],
    [" @,@ ", ","],
    [" @.@ ", "."],
    [" : ", ": "],
    [" ; ", "; "],
    [" . ", ". "],
    [" ! ", "! "],
    [" ? ", "? "],
    [" , ", ", "],
    [new RegExp(`\\(${s}([^)]*?)${s}\\)`, "gu"), "($1)"],
    [new RegExp(`\\[${s}([^\\]]*?)${s}\\]`, "gu"), "[$1]"],
    [new RegExp(`\\{${s}([^}]*?)${s}\\}`, "gu"), "{$1}"],
    [new RegExp(`"${s}([^"]*?)${s}"`, "gu"), '"$1"'],
    [new RegExp(`'${s}([^']*?)${s}'`, "gu"), "'$1'"],
    ["= = = =", "===="],
    ["= = =", "==="],
    ["= =", "=="],
    [" ° ", "°"],
    [" \n", "\n"],
    ["\n ", "\n"],
    [" N ", " 1 "],
    [" 's", "'s"],
  ];
  return replaceAll.reduce((text, [from, to]) => text.replaceAll(from, to), page);
}
