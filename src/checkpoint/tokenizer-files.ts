/**
 * The files that stand beside tokenizer.json: tokenizer_config.json and special_tokens_map.json, and a chat template
 * where the model came with one. What the source's own file says beyond ours is kept.
 */
import { exists, joinPath, readWhole } from "../platform/files.ts";
import { formatTokenizerConfig, type Tokenizer } from "../tokenizer/index.ts";
import { textAround } from "../tokenizer/tokenizer-json.ts";
import { jsonText, readJson } from "./json-file.ts";

const tokenizerConfigFile = "tokenizer_config.json";
const mapFile = "special_tokens_map.json";
const templateFile = "chat_template.jinja";
/** What only models from elsewhere have. */
export const besideTokenizer: readonly string[] = [mapFile, templateFile];
/** Templates have some kilobytes. */
const maxTemplateBytes = 2 ** 20;

/** @param source the folder that the model came from */
export function tokenizerTexts(tokenizer: Tokenizer, source?: string): Record<string, string> {
  const ours = JSON.parse(formatTokenizerConfig(tokenizer)) as Record<string, unknown>;
  const path = source === undefined ? undefined : joinPath(source, tokenizerConfigFile);
  const theirs = path !== undefined && exists(path) ? readJson(path) : {};
  const kept = typeof theirs === "object" && theirs !== null && !Array.isArray(theirs) ? theirs : {};
  const config: Record<string, unknown> = {
    ...kept,
    ...ours,
    // Python code of the repository's own: it is not here, and none is needed.
    auto_map: undefined,
  };
  // Some releases of transformers take these two over tokenizer.json's post-processor: they must say the same.
  const said = textAround(tokenizer.toJson());
  const around = typeof said === "string" ? null : said;
  if (around && typeof config.add_bos_token === "boolean")
    config.add_bos_token = tokenizer.bos !== null && around.prefix.includes(tokenizer.bos);
  if (around && typeof config.add_eos_token === "boolean")
    config.add_eos_token = tokenizer.eos !== null && around.suffix.includes(tokenizer.eos);
  const named = (id: number | null) => (id === null ? undefined : tokenizer.tokenOf(id));
  const text = (value: unknown) =>
    typeof value === "string" ? value : (value as { content?: string } | null | undefined)?.content;
  const map = {
    bos_token: named(tokenizer.bos),
    eos_token: named(tokenizer.eos),
    pad_token: text(config.pad_token),
    unk_token: text(config.unk_token),
  };
  const texts: Record<string, string> = {
    [tokenizerConfigFile]: jsonText(config),
    [mapFile]: jsonText(map),
  };
  const template = source === undefined ? undefined : joinPath(source, templateFile);
  if (template !== undefined && exists(template))
    texts[templateFile] = new TextDecoder().decode(readWhole(template, maxTemplateBytes));
  return texts;
}
