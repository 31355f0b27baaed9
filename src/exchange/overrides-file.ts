/**
 * An overrides file: `model.quantization` alone, as YAML, which `bitnet sensitivity` and `bitnet calibrate` write and `train
 * --overrides`, `eval --overrides` and `export --overrides` take. It is a part of a training's config, so the same text may
 * stand in one.
 */
import { parse as parseYaml, stringify as stringifyYaml } from "yaml";
import { type QuantizationConfig, quantizationSchema } from "../model/index.ts";
import { UsageError } from "../platform/errors.ts";
import { readWhole } from "../platform/files.ts";
import { issueWords } from "../platform/issue.ts";

/** A line for each layer of a large model is some hundred kilobytes. */
const maxBytes = 4 * 2 ** 20;

type Section = Record<string, unknown>;
const isSection = (value: unknown): value is Section =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** @throws FileError; UsageError for what is no overrides file */
export const readOverrides = (path: string): QuantizationConfig =>
  parseOverridesFile(new TextDecoder().decode(readWhole(path, maxBytes)), path);

/** @param from names the text in messages */
export function parseOverridesFile(text: string, from: string): QuantizationConfig {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (cause) {
    throw new UsageError(`${from}: is not YAML: ${(cause as Error).message.split("\n")[0]}`, { cause });
  }
  const quantization = only(only(value, "model", from), "quantization", from);
  const parsed = quantizationSchema.safeParse(quantization);
  if (!parsed.success)
    throw new UsageError(`${from}: model.quantization: ${issueWords(parsed.error.issues[0])}`, {
      cause: parsed.error,
    });
  return parsed.data;
}

function only(value: unknown, key: string, from: string): unknown {
  if (!isSection(value) || value[key] === undefined)
    throw new UsageError(
      `${from}: expected an overrides file, with model.quantization in it; bitnet sensitivity --help tells how one is made`,
    );
  const other = Object.keys(value).find((name) => name !== key);
  if (other !== undefined)
    throw new UsageError(
      `${from}: has "${other}" beside "${key}"; an overrides file holds model.quantization alone (a whole config is for bitnet train FILE)`,
    );
  return value[key];
}

/** The file's text. @param comments lines above it, without their "#" */
export function overridesText(quantization: QuantizationConfig, comments: readonly string[] = []): string {
  const head = comments.map((line) => `# ${line.replace(/\s+/g, " ")}\n`).join("");
  return head + stringifyYaml({ model: { quantization } }, { lineWidth: 0 });
}
