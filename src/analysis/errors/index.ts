/** Quantization errors of a model on a text, layer by layer. See docs/analysis.md. */
export { type AnalyzeOptions, analyzeErrors, type ErrorAnalysis, type LayerAnalysis } from "./analyze.ts";
