/** What this machine and process are: processors, environment variables, the package's own files, native addons. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

/** Processors that this process may use; what one thread for each means. */
export const processorCount = (): number => availableParallelism();

/** An environment variable; undefined where unset or empty. */
export const environmentVariable = (name: string): string | undefined => process.env[name] || undefined;

/** The full path of a file of the package, the same from src/ and from dist/. */
export const packageFile = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

/** A whole file of the package (files of users are read through files.ts). */
export const readBytes = (path: string): Uint8Array => readFileSync(path);

export const fileExists = (path: string): boolean => existsSync(path);

/** Loads an N-API addon. @throws Error of the system's loader */
export const loadAddon = (path: string): unknown => createRequire(import.meta.url)(path);
