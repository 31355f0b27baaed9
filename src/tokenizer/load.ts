/**
 * Opening a tokenizer: a folder, a tokenizer.json, LLaMA-2's or LLaMA-3's tokenizer.model. Picks the engine: a
 * fast one where it gives the same tokens as the general one, else that. And saving one.
 */
import { show, showText } from "../platform/show.ts";
import { FormatError, UsageError } from "../platform/errors.ts";
import {
  absolutePath,
  baseName,
  describePath,
  exists,
  joinPath,
  readWhole,
  writeAtomically,
} from "../platform/files.ts";
import { ByteLevelTokenizer, planByteLevel } from "./byte-level.ts";
import { CodePointTokenizer, planCodePoints } from "./code-points.ts";
import { GeneralTokenizer } from "./general/general.ts";
import { checkGrowth, limitTime } from "./limits.ts";
import { sentencePieceToJson, templateAround } from "./sentencepiece.ts";
import { llama3ToJson } from "./tiktoken.ts";
import type { Tokenizer, TokenizerEngine, TokenizerRoles } from "./tokenizer.ts";
import { vocabularyOf } from "./tokenizer.ts";
import {
  checkTokenizerJson,
  formatTokenizerJson,
  isObject,
  parseTokenizerJson,
  textAround,
  type TokenizerJson,
} from "./tokenizer-json.ts";

/** The largest published tokenizer.json has some 35 MB. */
const MAX_FILE_BYTES = 256 * 2 ** 20;

export interface TokenizerOptions {
  /** For people and errors. Default: the file's or its folder's name. */
  name?: string;
  /** Names of the tokens, where the file beside does not tell or tells otherwise; null for none. */
  bos?: string | null;
  eos?: string | null;
  endOfText?: string | null;
  /** Insist on one engine; UsageError when it cannot run the file. Default: the fastest that can. */
  engine?: TokenizerEngine;
}

/** Names by which well-known tokenizers call the token between documents, and the one before a text. */
const endOfTextNames = ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"];
const beginNames = ["<|begin_of_text|>", "<s>", "<bos>"];

/**
 * A tokenizer from the content of a tokenizer.json.
 *
 * @throws FormatError when it is none, UsageError for a token or engine asked for that it has not
 */
export function createTokenizer(content: unknown, options: TokenizerOptions = {}): Tokenizer {
  const name = options.name ?? "tokenizer.json";
  const json = checkTokenizerJson(content, name);
  const ids = vocabularyOf(json);
  const role = (what: string, asked: string | null | undefined, usual: readonly string[]): number | null => {
    if (asked === null) return null;
    if (asked === undefined) return usual.map((token) => ids.get(token)).find((id) => id !== undefined) ?? null;
    const id = ids.get(asked);
    if (id === undefined)
      throw new UsageError(`${name}: the ${what} token ${JSON.stringify(asked)} is not in the vocabulary`);
    return id;
  };
  const special = new Set(json.added_tokens.map((t) => t.content));
  const usual = (names: readonly string[]) => names.filter((token) => special.has(token));
  const eos = role("eos", options.eos, usual(endOfTextNames));
  const roles: TokenizerRoles = {
    name,
    bos: role("bos", options.bos, usual(beginNames)),
    eos,
    endOfText:
      role("end-of-text", options.endOfText, usual(endOfTextNames)) ?? (options.endOfText === null ? null : eos),
  };
  const reasons: string[] = [];
  const { engine } = options;
  if (engine === undefined || engine === "byte-level") {
    const plan = planByteLevel(json, ids);
    if (typeof plan !== "string") return new ByteLevelTokenizer(json, roles, plan);
    reasons.push(plan);
  }
  if (engine === undefined || engine === "code-points") {
    const plan = planCodePoints(json, ids);
    if (typeof plan !== "string") return new CodePointTokenizer(json, roles, plan);
    reasons.push(plan);
  }
  if (engine === undefined || engine === "general") {
    checkGrowth(json, name);
    return limitTime(new GeneralTokenizer(json, roles));
  }
  throw new UsageError(`${name}: the ${engine} engine cannot run this tokenizer: ${reasons.join("; ")}`);
}

/**
 * Opens a tokenizer.
 *
 * @param path  a tokenizer.json; a folder with one, or with a tokenizer.model; LLaMA-2's tokenizer.model (SentencePiece
 *              BPE); LLaMA-3's (tiktoken ranks). What a file is is told from its bytes, not its name. A
 *              tokenizer_config.json beside it tells the bos and eos tokens; and for a tokenizer.model, whose format has
 *              no rule of its own, its add_bos_token and add_eos_token say what stands around a text. A tokenizer.json has
 *              such a rule (its post-processor), and transformers too follows that alone.
 * @throws FileError when it cannot be read, FormatError when it is none of these, UnsupportedError for a SentencePiece
 *         model of another kind
 */
export function loadTokenizer(path: string, options: TokenizerOptions = {}): Tokenizer {
  const folder = describePath(path).kind === "folder";
  let file = path;
  if (folder) {
    const found = ["tokenizer.json", "tokenizer.model"].map((name) => joinPath(path, name)).find(exists);
    if (!found) throw new FormatError(`${path}: has neither a tokenizer.json nor a tokenizer.model`);
    file = found;
  }
  const bytes = readWhole(file, MAX_FILE_BYTES);
  const beside = configBeside(file);
  const name = options.name ?? nameOf(file);
  const merged: TokenizerOptions = {
    ...withoutUndefined({ bos: beside.bos, eos: beside.eos }),
    ...withoutUndefined(options),
    name,
  };
  switch (kindOf(bytes)) {
    case "json":
      return createTokenizer(parseTokenizerJson(textOf(bytes, file), file), { ...merged, name: options.name ?? name });
    case "sentencepiece": {
      const model = sentencePieceToJson(bytes, file);
      const nameOfId = (id: number | null) =>
        id === null ? null : Object.entries(model.json.model.vocab!).find(([, other]) => other === id)![0];
      const roles = { bos: nameOfId(model.bos), eos: nameOfId(model.eos), ...merged };
      return createTokenizer(withEdges(model.json, beside, roles, file), roles);
    }
    case "ranks":
      return createTokenizer(withEdges(llama3ToJson(textOf(bytes, file), file), beside, merged, file), merged);
    default:
      throw new FormatError(
        `${file}: is no tokenizer that we read; expected a Hugging Face tokenizer.json, LLaMA-2's tokenizer.model (SentencePiece) or LLaMA-3's (tiktoken ranks)`,
      );
  }
}

/** What a file is, by how it begins. */
function kindOf(bytes: Uint8Array): "json" | "sentencepiece" | "ranks" | undefined {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, 200));
  if (/^(\xef\xbb\xbf)?\s*\{/.test(head)) return "json";
  if (/^[A-Za-z0-9+/]+={0,2} \d+\r?\n/.test(head)) return "ranks";
  // Field 1, length-delimited (a piece), whose first field is its text.
  if (bytes[0] === 0x0a && bytes[2] === 0x0a) return "sentencepiece";
  return undefined;
}

function textOf(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new FormatError(`${path}: is not UTF-8 text`);
  }
}

/** "tokenizer.json" and "tokenizer.model" say nothing: their folder's name does. */
function nameOf(file: string): string {
  const base = baseName(file);
  return /^tokenizer\.(json|model)$/.test(base) ? baseName(absolutePath(joinPath(file, ".."))) : base;
}

function withoutUndefined<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** What a tokenizer_config.json beside the file says: the bos and eos tokens, and whether they stand around a text. */
interface ConfigBeside {
  bos?: string;
  eos?: string;
  addBos?: boolean;
  addEos?: boolean;
}

function configBeside(file: string): ConfigBeside {
  const path = joinPath(file, "..", "tokenizer_config.json");
  if (!/^tokenizer\.(json|model)$/.test(baseName(file)) || !exists(path)) return {};
  let config: unknown;
  try {
    config = JSON.parse(textOf(readWhole(path, MAX_FILE_BYTES), path));
  } catch (error) {
    if (error instanceof SyntaxError) throw new FormatError(`${path}: is not JSON (${showText(error.message, 120)})`);
    throw error;
  }
  if (!isObject(config)) throw new FormatError(`${path}: is not a JSON object`);
  const named = (value: unknown) => {
    const content = isObject(value) ? value.content : value;
    return typeof content === "string" ? content : undefined;
  };
  const said = (value: unknown) => (typeof value === "boolean" ? value : undefined);
  return {
    bos: named(config.bos_token),
    eos: named(config.eos_token),
    addBos: said(config.add_bos_token),
    addEos: said(config.add_eos_token),
  };
}

/**
 * The tokens around a text of a file without a rule of its own, where a config beside it says so; what it does not say stays
 * as the format's own program has it (bos before, nothing behind).
 *
 * @throws FormatError for a token that is to be added and is not in the vocabulary
 */
function withEdges(
  json: TokenizerJson,
  { addBos, addEos }: ConfigBeside,
  { bos, eos }: Pick<TokenizerOptions, "bos" | "eos">,
  file: string,
): TokenizerJson {
  if (addBos === undefined && addEos === undefined) return json;
  const edge = (name: string | null | undefined, key: string) => {
    const token = json.added_tokens.find(({ content }) => content === name);
    if (!token)
      throw new FormatError(
        `${file}: tokenizer_config.json beside it asks for ${key}, but its token ${show(name ?? null)} is not in the vocabulary`,
      );
    return [{ name: token.content, id: token.id }];
  };
  const around = textAround(json);
  const usual = typeof around === "object" && around !== null ? around.prefix : [];
  const begin = json.added_tokens
    .filter(({ id }) => usual.includes(id))
    .map(({ content, id }) => ({ name: content, id }));
  const prefix = addBos === false ? [] : addBos && (bos || begin.length === 0) ? edge(bos, "add_bos_token") : begin;
  const suffix = addEos ? edge(eos, "add_eos_token") : [];
  const template = prefix.length + suffix.length > 0 ? templateAround(prefix, suffix) : null;
  const before = json.post_processor;
  const plain =
    before?.type === "Sequence" && Array.isArray(before.processors)
      ? before.processors.filter((part) => isObject(part) && part.type !== "TemplateProcessing")
      : [];
  const processors = [...plain, ...(template ? [template] : [])];
  const post_processor = (
    processors.length > 1 ? { type: "Sequence", processors } : (processors[0] ?? null)
  ) as TokenizerJson["post_processor"];
  return { ...json, post_processor };
}

/** The tokenizer_config.json that Hugging Face's transformers wants beside a tokenizer.json. */
export function formatTokenizerConfig(tokenizer: Tokenizer): string {
  const named = (id: number | null) => (id === null ? null : (tokenizer.tokenOf(id) ?? null));
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: named(tokenizer.bos),
    eos_token: named(tokenizer.eos),
    clean_up_tokenization_spaces: false,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/**
 * Writes a tokenizer.json, whole or not at all; into a folder, with a tokenizer_config.json beside it. The same tokenizer
 * gives the same bytes. Returns the paths written.
 */
export function saveTokenizer(tokenizer: Tokenizer, path: string): string[] {
  const folder = exists(path) && describePath(path).kind === "folder";
  const file = folder ? joinPath(path, "tokenizer.json") : path;
  writeAtomically(file, formatTokenizerJson(tokenizer.toJson()));
  if (!folder) return [file];
  const config = joinPath(path, "tokenizer_config.json");
  writeAtomically(config, formatTokenizerConfig(tokenizer));
  return [file, config];
}
