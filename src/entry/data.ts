/** `bitnet.ts/data`: text to tokens to batches. Two rooms behind one public name, as it was before they were two. */
export * from "../corpus/index.ts";
export * from "../data/index.ts";
