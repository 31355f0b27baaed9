/** Random keys: as Node has them. A browser's twin would be browser/secrets.ts (platform/README.md). */
export * from "./node/secrets.ts";
