/** Files: as Node has them. A browser's twin would be browser/files.ts (platform/README.md). */
export * from "./node/files.ts";
