/** Tokenizers: training, running, saving. The public door (`bitnet.ts/tokenizer`); docs/tokenizers.md tells how. */
export { formatTokenizerJson, type TokenizerJson } from "./tokenizer-json.ts";
export type { DecodeOptions, EncodeOptions, Tokenizer, TokenizerEngine } from "./tokenizer.ts";
export {
  defaultSpecialTokens,
  type TrainBpeOptions,
  type TrainedTokenizer,
  type TrainProgress,
  trainBpe,
} from "./train-bpe.ts";
