/** Temporary folders: as Node has them. A browser's twin would be browser/temporary.ts (platform/README.md). */
export * from "./node/temporary.ts";
