/** This machine and process: as Node has them. A browser's twin would be browser/machine.ts (platform/README.md). */
export * from "./node/machine.ts";
