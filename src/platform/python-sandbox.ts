/** Programs in Python, walled in: as Node has them. A browser's twin would be browser/python-sandbox.ts (platform/README.md). */
export * from "./node/python-sandbox.ts";
