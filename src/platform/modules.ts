/** Loads a module by its path: as Node does. A browser's twin would be browser/modules.ts (platform/README.md). */
export * from "./node/modules.ts";
