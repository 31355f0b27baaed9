/** Which tasks some files and folders hold: what `--task all` means, and where `wikitext` finds its text. */
import { baseName, describePath, joinPath, listFolder } from "../platform/files.ts";
import { filesByName } from "./task-source.ts";
import { humaneval } from "./tasks/humaneval.ts";
import { likelihoodTasks } from "./tasks/index.ts";

/** Where there are several: the test split before validation, raw text before words. */
const wikiTextNames = ["wiki.test.raw", "wiki.valid.raw", "wiki.test.tokens", "wiki.valid.tokens"];

/** The text of the task `wikitext` in these places; null: none of them has it. @throws FileError for one that is not there */
export function findWikiText(places: readonly string[]): string | null {
  const files = places.flatMap((place) =>
    describePath(place).kind === "folder" ? listFolder(place).map((name) => joinPath(place, name)) : [place],
  );
  const wanted = wikiTextNames.flatMap((name) => [name, `${name}.gz`]);
  for (const name of wanted) {
    const found = files.find((file) => baseName(file) === name);
    if (found !== undefined) return found;
  }
  return null;
}

/** Names of the tasks that have a file in these places, by its name. @throws as filesByName */
export function tasksIn(places: readonly string[]): string[] {
  const tasks = [...likelihoodTasks, humaneval].filter((task) => filesByName(task, places).length > 0);
  return [...tasks.map(({ name }) => name), ...(findWikiText(places) === null ? [] : ["wikitext"])];
}
