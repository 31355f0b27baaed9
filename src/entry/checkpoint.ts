/** `bitnet.ts/checkpoint`: models as folders and files. Two rooms behind one public name, as it was before they were two. */
export * from "../checkpoint/index.ts";
export * from "../exchange/index.ts";
