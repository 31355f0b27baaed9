/**
 * Values from outside as messages show them: on one line, without control characters, cut short, whatever they are. A
 * message that prints what it refuses must not fail, or fill a screen, by what it prints. Pure; called by every room.
 */

/** Characters of a value that a message shows. */
const maxShown = 80;
/** Lists in lists that are shown; what is inside these is "...". */
const maxShownDepth = 4;

/**
 * A value as JSON would have it, cut to 80 characters; what JSON has not (undefined, functions, bigints) by name.
 *
 * @param max characters at most, the mark of the cut included
 */
export function show(value: unknown, max = maxShown): string {
  // One more than is shown tells that something was cut.
  const parts: string[] = [];
  let left = max + 1;
  const put = (text: string) => {
    parts.push(left < text.length ? text.slice(0, left) : text);
    left -= text.length;
  };
  const write = (one: unknown, depth: number): void => {
    if (left <= 0) return;
    if (typeof one === "string") put(quoted(one, left));
    else if (one === undefined) put("nothing");
    else if (one === null || typeof one !== "object") put(typeof one === "function" ? "a function" : String(one));
    else if (ArrayBuffer.isView(one)) put(`${one.constructor.name} of ${one.byteLength} bytes`);
    else if (depth >= maxShownDepth) put("...");
    else if (Array.isArray(one)) {
      put("[");
      for (let i = 0; i < one.length && left > 0; i++) {
        if (i > 0) put(",");
        write(one[i], depth + 1);
      }
      put("]");
    } else {
      put("{");
      let first = true;
      for (const key in one) {
        if (left <= 0) break;
        if (!Object.hasOwn(one, key)) continue;
        if (!first) put(",");
        first = false;
        put(`${quoted(key, left)}:`);
        write((one as Record<string, unknown>)[key], depth + 1);
      }
      put("}");
    }
  };
  write(value, 0);
  return cut(parts.join(""), max);
}

/** A text as it stands, for a message: control characters escaped, cut to 80 characters. */
export function showText(text: string, max = maxShown): string {
  return cut(escapeControls(text.slice(0, max + 1)), max);
}

/**
 * A text of several words or lines (a library's message, a model's output) with its control characters shown as escapes:
 * it cannot move the cursor, clear the screen or set a title. Newlines and tabs stay where `lines` is true.
 */
export function escapeControls(text: string, { lines = false } = {}): string {
  return text.replace(controls, (c) => {
    if (lines && (c === "\n" || c === "\t" || c === "\r")) return c;
    const short: Record<string, string> = { "\n": "\\n", "\t": "\\t", "\r": "\\r" };
    return short[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** C0, DEL, C1, line and paragraph separators, and the marks that turn the direction of a text. */
const controls = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Whether lists and objects stand in each other deeper than `limit`. Needs no stack of its own. */
export function nestsDeeper(value: unknown, limit: number): boolean {
  const isContainer = (one: unknown): one is object => typeof one === "object" && one !== null;
  let level = isContainer(value) ? [value] : [];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= limit) return true;
    const next: object[] = [];
    for (const container of level)
      if (!ArrayBuffer.isView(container))
        for (const inner of Object.values(container)) if (isContainer(inner)) next.push(inner);
    level = next;
  }
  return false;
}

const quoted = (text: string, left: number): string => {
  const whole = text.length <= left;
  const json = JSON.stringify(whole ? text : text.slice(0, left));
  return escapeControls(whole ? json : json.slice(0, -1));
};

function cut(text: string, max: number): string {
  if (text.length <= max) return text;
  // Not amid a pair.
  const end = /[\ud800-\udbff]/.test(text[max - 4]) ? max - 4 : max - 3;
  return `${text.slice(0, end)}...`;
}
