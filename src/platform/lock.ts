/** One process at a time in a folder: as Node has it. */
export * from "./node/lock.ts";
