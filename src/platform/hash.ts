/** SHA-256, of bytes and text, without files. By Node; a browser takes browser/hash.ts (platform/README.md). */
export * from "./node/hash.ts";
