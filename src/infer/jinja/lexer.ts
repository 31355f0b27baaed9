/**
 * A template to tokens, with white space as jinja2 treats it under trim_blocks and lstrip_blocks (transformers' setting): a
 * line break behind a block goes, and so does the space before a block that begins its line; "-" strips, "+" keeps.
 * Called by parser.ts.
 */
import { TemplateError } from "./values.ts";

export interface Token {
  kind: "text" | "name" | "string" | "integer" | "float" | "operator" | "begin" | "end";
  text: string;
  /** "block" or "variable", of "begin" and "end". */
  line: number;
}

const operators = [
  ...["//", "**", "==", "!=", ">=", "<="],
  ...["+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"],
];
const integer = /0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*/y;
const float = /\d(?:_?\d)*(?:\.\d(?:_?\d)*(?:[eE][+-]?\d(?:_?\d)*)?|[eE][+-]?\d(?:_?\d)*)/y;
const name = /[\p{ID_Start}_][\p{ID_Continue}]*/uy;
const string = /'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"/y;

export function tokenize(source: string): Token[] {
  const text = source.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  const tokens: Token[] = [];
  let at = 0;
  let lineStarting = true;
  const lineAt = (index: number) => {
    let line = 1;
    for (let i = text.indexOf("\n"); i >= 0 && i < index; i = text.indexOf("\n", i + 1)) line++;
    return line;
  };
  const fail = (message: string, index: number) => new TemplateError(`${message} (line ${lineAt(index)})`);
  const opening = /\{%[-+]?\s*raw\s*-?%\}|\{\{|\{%|\{#/g;

  /** The text before a tag, as its sign and the setting leave it. */
  const before = (from: number, to: number, sign: string, isVariable: boolean): string => {
    const part = text.slice(from, to);
    if (sign === "-") return part.replace(/\s+$/u, "");
    if (sign === "+" || isVariable) return part;
    const start = part.lastIndexOf("\n") + 1;
    return (start > 0 || lineStarting) && /^\s+$/u.test(part.slice(start)) ? part.slice(0, start) : part;
  };
  const push = (kind: Token["kind"], content: string, index: number) =>
    tokens.push({ kind, text: content, line: index });
  const pushText = (content: string, index: number) => {
    if (content !== "") push("text", content, index);
  };
  /** Behind the end of a block or comment: "-" takes white space, nothing takes one line break. */
  const behind = (index: number, sign: string): number => {
    if (sign === "-") {
      while (index < text.length && /\s/u.test(text[index])) index++;
    } else if (sign !== "+" && text[index] === "\n") index++;
    lineStarting = text[index - 1] === "\n";
    return index;
  };

  while (at < text.length) {
    opening.lastIndex = at;
    const match = opening.exec(text);
    if (!match) {
      pushText(text.slice(at), at);
      break;
    }
    const begin = match.index;
    const raw = match[0].length > 2;
    const kind = text.slice(begin, begin + 2);
    const sign = /[-+]/.test(text[begin + 2] ?? "") ? text[begin + 2] : "";
    pushText(before(at, begin, sign, kind === "{{"), at);
    if (raw) {
      const inside = behind(begin + match[0].length, match[0].at(-3) === "-" ? "-" : "");
      const closing = /\{%([-+]?)\s*endraw\s*([-+]?)%\}/g;
      closing.lastIndex = inside;
      const end = closing.exec(text);
      if (!end) throw fail("missing endraw", begin);
      pushText(before(inside, end.index, end[1], false), inside);
      at = behind(end.index + end[0].length, end[2]);
      continue;
    }
    if (kind === "{#") {
      const end = text.indexOf("#}", begin + 2);
      if (end < 0) throw fail("missing end of comment tag", begin);
      const last = end > begin + 2 ? text[end - 1] : "";
      at = behind(end + 2, last === "-" || last === "+" ? last : "");
      continue;
    }
    const isVariable = kind === "{{";
    push("begin", isVariable ? "variable" : "block", begin);
    let i = begin + 2 + sign.length;
    const open: string[] = [];
    for (;;) {
      while (i < text.length && /\s/u.test(text[i])) i++;
      if (i >= text.length) throw fail("unexpected end of template", begin);
      if (open.length === 0) {
        const end = (isVariable ? /(-?)\}\}/y : /([-+]?)%\}/y) as RegExp;
        end.lastIndex = i;
        const closed = end.exec(text);
        if (closed) {
          const stop = i + closed[0].length;
          push("end", isVariable ? "variable" : "block", i);
          if (isVariable) {
            at = closed[1] === "-" ? behind(stop, "-") : stop;
            lineStarting = text[at - 1] === "\n";
          } else at = behind(stop, closed[1]);
          break;
        }
      }
      const scanned = scan(text, i);
      if (!scanned) throw fail(`unexpected character ${JSON.stringify(text[i])}`, i);
      const [found, content] = scanned;
      if (found === "operator") {
        const pair = { "(": ")", "[": "]", "{": "}" }[content];
        if (pair) open.push(pair);
        else if (")]}".includes(content) && open.pop() !== content) throw fail(`unexpected '${content}'`, i);
      }
      push(found, found === "string" ? unescaped(content.slice(1, -1)) : content, i);
      i += content.length;
    }
  }
  let line = 1;
  let next = text.indexOf("\n");
  for (const token of tokens) {
    for (; next >= 0 && next < token.line; next = text.indexOf("\n", next + 1)) line++;
    token.line = line;
  }
  return tokens;
}

function scan(text: string, at: number): [Token["kind"], string] | null {
  for (const [kind, pattern] of [
    ["float", float],
    ["integer", integer],
    ["name", name],
    ["string", string],
  ] as const) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) return [kind, match[0]];
  }
  const operator = operators.find((each) => text.startsWith(each, at));
  return operator ? ["operator", operator] : null;
}

const escapes: Record<string, string> = {
  ...{ n: "\n", t: "\t", r: "\r", "\\": "\\", "'": "'", '"': '"', a: "\x07", b: "\b", f: "\f", v: "\v", "\n": "" },
};

/** Python's escapes; a letter that begins none keeps its backslash. */
function unescaped(text: string): string {
  return text.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([\s\S]))/gu,
    (whole, hex2, hex4, hex8, octal, letter: string | undefined) => {
      const hex = hex2 ?? hex4 ?? hex8;
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
      if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8));
      return escapes[letter!] ?? whole;
    },
  );
}
