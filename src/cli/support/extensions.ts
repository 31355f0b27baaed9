/** `--extension MODULE`, which every command takes, anywhere on the line; and the variable that stands for it. */
import { UsageError } from "../../platform/errors.ts";

/** Paths of modules, separated by commas: as if each were given by --extension. */
export const extensionsVariable = "BITNET_EXTENSIONS";

/**
 * @param words what follows `bitnet`
 * @param listed the value of BITNET_EXTENSIONS
 * @returns the words without the option, and the modules in order: the variable's, then the option's
 * @throws UsageError for an option without its module
 */
export function takeExtensions(words: readonly string[], listed = ""): { rest: string[]; modules: string[] } {
  const rest: string[] = [];
  const modules = listed.split(",").filter((path) => path.trim() !== "");
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === "--") {
      rest.push(...words.slice(i));
      break;
    }
    if (word !== "--extension" && !word.startsWith("--extension=")) {
      rest.push(word);
      continue;
    }
    const module = word === "--extension" ? words[++i] : word.slice("--extension=".length);
    if (module === undefined || module === "" || (word === "--extension" && module.startsWith("-")))
      throw new UsageError(`--extension: names no module; expected a file such as my-parts.mjs (docs/extending.md)`);
    modules.push(module);
  }
  return { rest, modules };
}
