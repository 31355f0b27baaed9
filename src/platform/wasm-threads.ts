/** WebAssembly on threads: as Node has them. A browser's twin would be browser/wasm-threads.ts (platform/README.md). */
export * from "./node/wasm-threads.ts";
