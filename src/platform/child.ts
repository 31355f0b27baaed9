/** Work in a process of its own: as Node has it. A browser has none (platform/README.md). */
export * from "./node/child.ts";
