/** Deflate and gzip: as Node has them. A browser's twin would be browser/compress.ts (platform/README.md). */
export * from "./node/compress.ts";
