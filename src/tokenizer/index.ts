/** Tokenizers: training, running, saving. The public door (`bitnet.ts/tokenizer`); docs/tokenizers.md tells how. */
export { withPrefixToken } from "./prefix-token.ts";
export {
  createDocumentEncoder,
  type DocumentEncoder,
  type DocumentEncoderOptions,
  type EncodedTexts,
  encodeDocuments,
} from "./encode-documents.ts";
export { createTokenizer, formatTokenizerConfig, loadTokenizer, saveTokenizer, type TokenizerOptions } from "./load.ts";
export type { DecodeOptions, EncodeOptions, Tokenizer, TokenizerEngine } from "./tokenizer.ts";
export { formatTokenizerJson, type TokenizerJson } from "./tokenizer-json.ts";
export { type TrainBpeOptions, trainBpe } from "./train-bpe.ts";
export { type TrainCharactersOptions, trainCharacters } from "./train-characters.ts";
export {
  defaultSpecialTokens,
  type TrainedTokenizer,
  type TrainProgress,
  type TrainReport,
} from "./trained-tokenizer.ts";
