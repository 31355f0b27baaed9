/** A pool of worker threads: as Node has them. A browser's twin would be browser/workers.ts (platform/README.md). */
export * from "./node/workers.ts";
