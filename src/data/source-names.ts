/**
 * What the name of a source means, without opening it: an address, or a data set on the hub. Anything else is a path.
 * Reading either is corpus/'s (source-files.ts, hub-dataset.ts).
 */

/** Does a name mean a file at an address (http, https)? */
export const isAddress = (path: string): boolean => /^https?:\/\//i.test(path);

/** Does a path mean a data set on the hub? */
export const isHubDataset = (path: string): boolean => path.startsWith("hf://");
