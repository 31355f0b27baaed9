/**
 * The names of tokenizer.ggml.pre: how llama.cpp cuts a text into pieces before byte-pair merges, by name. Names whose cuts
 * are regular expressions that run the same here are in the table; the rest are listed, so that a refusal can say that the
 * name is known. Called by tokenizer-from-gguf.ts; the way back, a tokenizer's name, is in tokenizer-to-gguf.ts.
 *
 * Source: llama.cpp, src/llama-vocab.cpp (names, regular expressions, add_bos, ignore_merges); "falcon_e" is ik_llama.cpp's.
 */
import { UnsupportedError } from "../../platform/errors.ts";
import { GPT2_PATTERN, LLAMA3_PATTERN } from "../../tokenizer/pretokenize.ts";

export interface PreTokenizer {
  /** Applied one after the other, each to the pieces that the one before made. */
  patterns: readonly string[];
  /** Whole words come before merges. */
  ignoreMerges: boolean;
  /** Begin-of-text stands before a text where tokenizer.ggml.add_bos_token does not say. */
  addBos: boolean;
}

const kind = (patterns: readonly string[], rest: Partial<PreTokenizer> = {}): PreTokenizer => ({
  patterns,
  ignoreMerges: false,
  addBos: false,
  ...rest,
});

const qwen2 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const kinds = {
  gpt2: kind([GPT2_PATTERN]),
  llama3: kind([LLAMA3_PATTERN], { ignoreMerges: true, addBos: true }),
  llama3WithMerges: kind([LLAMA3_PATTERN]),
  qwen2: kind([qwen2]),
  singleDigits: kind(["\\p{N}", GPT2_PATTERN]),
  default: kind(["[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2_PATTERN, "\\p{N}+", "[0-9][0-9][0-9]"]),
};

const namesOf: Record<keyof typeof kinds, readonly string[]> = {
  gpt2: [
    ...["gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum"],
    ...["modern-bert", "exaone4", "mpt", "olmo", "jais", "trillion", "granite-docling"],
  ],
  llama3: [
    ...["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon_e", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
    "jina-v5-nano",
  ],
  llama3WithMerges: ["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"],
  qwen2: ["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"],
  singleDigits: ["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"],
  default: ["default"],
};

export const preTokenizers: ReadonlyMap<string, PreTokenizer> = new Map(
  Object.entries(namesOf).flatMap(([name, names]) =>
    names.map((one): [string, PreTokenizer] => [one, kinds[name as keyof typeof kinds]]),
  ),
);

/** Names that llama.cpp has and that cut otherwise, or that put a separator behind a text. */
export const otherPreTokenizers: readonly string[] = [
  ...["deepseek-llm", "deepseek-coder", "deepseek-v3", "youtu", "falcon", "jais-2", "gemma4"],
  ...["granite-embed-multi-311m", "granite-embed-multi-97m", "sarvam-moe", "jina-v1-en", "jina-v2-code"],
  ...["roberta-bpe", "whitespace", "qwen35", "poro-chat", "viking", "tekken", "bloom", "gpt3-finnish", "exaone-moe"],
  ...["chameleon", "gpt-4o", "llama4", "kanana2", "talkie", "tiny_aya", "cohere2moe", "superbpe", "bailingmoe"],
  ...["bailingmoe2", "llada-moe", "seed-coder", "hunyuan-dense", "hy_v4", "joyai-llm", "kimi-k2", "ufakzeka"],
  ...["afmoe", "laguna", "minimax-m2", "minicpm5", "spark2_5", "glm5"],
];

/**
 * @param from  where the name stands, for messages: "model.gguf: tokenizer.ggml.pre", "--pre"
 * @throws UnsupportedError for a name that does not cut as one of ours
 */
export function preTokenizerOf(name: string, from: string): PreTokenizer {
  const found = preTokenizers.get(name);
  if (found) return found;
  const what = otherPreTokenizers.includes(name)
    ? "which cuts text in a way that is not supported"
    : "which is unknown";
  throw new UnsupportedError(
    `${from} is ${JSON.stringify(name)}, ${what}; put the model's tokenizer.json beside the file, or name one that cuts alike with --pre: ${[...preTokenizers.keys()].join(", ")}`,
  );
}
