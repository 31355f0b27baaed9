/** Patterns of file names: local globs, and those of files on the hub. */

/** `*` and `?` stay within a folder, `**` does not, `[a-z]` is one character. */
export function globMatcher(pattern: string): (path: string) => boolean {
  const source = pattern.replace(/\*\*\/|\*\*|\*|\?|\[!?[^\]/]+\]|[\\^$.|+(){}[\]]/g, (found) => {
    if (found === "**/") return "(?:[^/]+/)*";
    if (found === "**") return ".*";
    if (found === "*") return "[^/]*";
    if (found === "?") return "[^/]";
    if (found.length > 2 && found.startsWith("[")) return found.replace(/^\[!/, "[^").replaceAll("\\", "\\\\");
    return `\\${found}`;
  });
  const expression = new RegExp(`^${source}$`, "u");
  return (path) => expression.test(path);
}
