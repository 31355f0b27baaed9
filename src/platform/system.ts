/**
 * Facts about this process and machine: as Node has them. A browser's twin would be browser/system.ts (platform/README.md).
 * The clock is neutral, and stands here too for those who want both.
 */
export * from "./clock.ts";
export * from "./node/system.ts";
