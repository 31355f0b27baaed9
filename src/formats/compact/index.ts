/** Compact model files of our own (`bitnet.ts/formats/compact`): ternary weights at their entropy. docs/compact.md. */
export {
  type CompactEncoding,
  type CompactEntry,
  type CompactHeader,
  compactVersion,
  isTernary,
  startsCompact,
  type TernaryEncoding,
} from "./header.ts";
export { type CompactFile, isCompactFile, openCompact } from "./reader.ts";
export { type CompactTensor, type WrittenTensor, writeCompact } from "./writer.ts";
