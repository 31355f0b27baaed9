/** A worker thread that talks both ways: as Node has them. A browser's twin would be browser/service-worker.ts (platform/README.md). */
export * from "./node/service-worker.ts";
