/** Names of unfinished files and folders: as Node has them. files.ts uses these; callers want its functions. */
export * from "./node/leftovers.ts";
