/** Filters, each a stage of a pipeline. */
export { type C4Options, c4Defaults, c4Filter, parseWordList } from "./c4.ts";
export { type GopherQualityOptions, gopherQuality, gopherQualityDefaults } from "./gopher-quality.ts";
export { type GopherRepetitionOptions, gopherRepetition, gopherRepetitionDefaults } from "./gopher-repetition.ts";
export {
  type LanguageDetector,
  type LanguageOptions,
  languageDefaults,
  languageFilter,
  loadLanguageDetector,
} from "./language.ts";
export { type LinesOptions, linesDefaults, linesFilter } from "./lines.ts";
export { type MaskOptions, maskDefaults, maskFilter } from "./mask.ts";
export { type ScoreOptions, scoreFilter } from "./score.ts";
export {
  createFilters,
  type FilterKind,
  type FilterName,
  type FilterSpec,
  filterNames,
  lengthFilter,
  readFilters,
  registerFilter,
} from "./spec.ts";
export { type UnicodeOptions, unicodeDefaults, unicodeFilter } from "./unicode.ts";
