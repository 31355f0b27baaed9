/** Damaged gzip files: as Node has them. A browser's twin would be browser/gzip.ts (platform/README.md). */
export * from "./node/gzip.ts";
