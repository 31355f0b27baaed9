/**
 * Training recipes: named differences from a preset, one YAML file each in recipes/training/ of the package, or a copy of a
 * user's own. `bitnet train tiny --recipe paper`. Resolved by config.ts; knows nothing of what the keys mean.
 */
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { UsageError } from "../platform/errors.ts";
import { exists, listFolder, readWhole } from "../platform/files.ts";
import { issueWords } from "../platform/issue.ts";
import { packageFile } from "../platform/machine.ts";
import { nearest } from "../platform/edit-distance.ts";

const schema = z.strictObject({
  /** What it does and where its values come from, in a sentence or two. */
  about: z.string().min(1),
  /** Presets that it is for: those that it was checked with. */
  presets: z.array(z.string()).min(1),
  /** The difference: any keys of a run's config. */
  config: z.record(z.string(), z.unknown()),
});

export interface Recipe extends z.infer<typeof schema> {
  path: string;
}

const folder = () => packageFile("recipes/training");

/** Names of the recipes that come with the package. */
export const recipeNames = (): string[] =>
  exists(folder())
    ? listFolder(folder())
        .filter((name) => name.endsWith(".yaml"))
        .map((name) => name.slice(0, -".yaml".length))
    : [];

/** Far above any recipe: a file named by mistake is not read whole. */
const maxRecipeBytes = 2 ** 20;

/**
 * @param name of a recipe of the package; or a file, whose name ends in .yaml or .yml
 * @throws UsageError for a name that there is not, or a file that is no recipe; FileError where it cannot be read
 */
export function readRecipe(name: string): Recipe {
  const path = /\.ya?ml$/i.test(name) ? name : packagedRecipe(name);
  let value: unknown;
  try {
    value = parseYaml(new TextDecoder().decode(readWhole(path, maxRecipeBytes)));
  } catch (cause) {
    if ((cause as Error).name === "FileError" || (cause as Error).name === "FormatError") throw cause;
    throw new UsageError(`${path}: is not YAML: ${(cause as Error).message.split("\n")[0]}`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new UsageError(
      `${path}: is no recipe: ${issueWords(parsed.error.issues[0])}; a recipe has the keys about, presets and config (see recipes/training/paper.yaml)`,
    );
  for (const key of ["preset", "recipe"])
    if (Object.hasOwn(parsed.data.config, key))
      throw new UsageError(`${path}: config.${key} cannot stand in a recipe; leave it out`);
  return { ...parsed.data, path };
}

function packagedRecipe(name: string): string {
  const names = recipeNames();
  if (names.includes(name)) return packageFile(`recipes/training/${name}.yaml`);
  const near = nearest(name, names);
  throw new UsageError(
    `unknown recipe "${name}"; ${near === undefined ? "" : `did you mean "${near}"? `}recipes are: ${names.join(", ")}; or name a file of your own (.yaml)`,
  );
}
