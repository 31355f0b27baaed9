/** Append-only files: as Node has them. A browser's twin would be browser/append-file.ts (platform/README.md). */
export * from "./node/append-file.ts";
