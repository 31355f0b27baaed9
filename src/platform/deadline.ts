/** A time limit on synchronous work: as Node has it. A browser's twin would be browser/deadline.ts (platform/README.md). */
export * from "./node/deadline.ts";
