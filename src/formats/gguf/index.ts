/** GGUF files (`bitnet.ts/formats/gguf`): header, metadata and tensors, to and from bytes. Which tensors make a model is exchange/gguf's business. */
export type { GgmlTypeName } from "../../quant/ggml-types.ts";
export { describeTensor, type GgufHeader, type GgufTensor } from "./header.ts";
export { type GgufFile, readGguf } from "./read.ts";
export {
  bool,
  float,
  type GgufArray,
  GgufMetadata,
  type GgufNumbers,
  type GgufType,
  type GgufValue,
  text,
  texts,
  u32,
} from "./values.ts";
export { type GgufTensorSource, writeGguf } from "./write.ts";
