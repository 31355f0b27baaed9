/** Lines that a person types: as Node has them. A browser's twin would be browser/terminal.ts (platform/README.md). */
export * from "./node/terminal.ts";
