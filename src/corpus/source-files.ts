/**
 * Which files a list of sources means: files, folders, globs, addresses (http, https) and data sets on the Hugging Face hub
 * (`hf://datasets/org/name@revision/path/*.parquet`). What is far away is listed at once and downloaded when its turn
 * comes. Reads no text.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { baseName, describePath, exists, joinPath, listFolder, sha256OfFile } from "../platform/files.ts";
import { type FetchOptions, fetchAddress } from "../platform/fetch-file.ts";
import { globMatcher } from "./glob.ts";
import { isAddress, isHubDataset } from "../data/source-names.ts";
import { type DatasetFilesOptions, listDatasetFiles } from "./hub-dataset.ts";

export const sourceFormats = ["text", "jsonl", "wikitext", "parquet", "arrow"] as const;
export type SourceFormat = (typeof sourceFormats)[number];

const formatOfEnding: Record<string, SourceFormat> = {
  ".txt": "text",
  ".text": "text",
  ".md": "text",
  ".jsonl": "jsonl",
  ".ndjson": "jsonl",
  ".raw": "wikitext",
  ".tokens": "wikitext",
  ".parquet": "parquet",
  ".arrow": "arrow",
};
/** They are read at any place, so they cannot be compressed as a whole. */
const rangedFormats: readonly SourceFormat[] = ["parquet", "arrow"];

/** The format that a file's name tells, or undefined. */
export function formatOfName(path: string): SourceFormat | undefined {
  const match = /(\.[a-z]+)(\.gz|\.zst)?$/.exec(path.toLowerCase().replace(/[?#].*$/, ""));
  const format = match ? formatOfEnding[match[1]] : undefined;
  return match?.[2] && format && rangedFormats.includes(format) ? undefined : format;
}

const endings = Object.keys(formatOfEnding).join(", ");
const known = `${endings} (or those of text with .gz or .zst)`;

/** Names that tell a format which is not read, with what to do instead. */
function unknownKind(path: string): UsageError {
  const name = path.replace(/[?#].*$/, "");
  if (/\.[ct]sv(\.gz|\.zst)?$/i.test(name)) {
    const parquet = baseName(name).replace(/\.[ct]sv(\.gz|\.zst)?$/i, ".parquet");
    return new UsageError(
      `${path}: tables of comma or tab separated values are not read; turn it into Parquet first, with DuckDB for one: COPY (FROM read_csv('${name}')) TO '${parquet}'`,
    );
  }
  return new UsageError(
    `${path}: unknown kind of file; names end in ${known}, or rename it; commands and functions of data preparation also take its format: --format (${sourceFormats.join(", ")})`,
  );
}

/** One file of a source, here or far away. */
export interface SourceFile {
  /** The path or address, for people, errors and manifests. */
  name: string;
  format: SourceFormat;
  /** Null where it is not known before the download. */
  sizeBytes: number | null;
  /** Names the content without reading it (the hub's checksum); null: it must be hashed. */
  identity: string | null;
  /** The path of the file on this disk; downloads it if need be. */
  open(): Promise<string>;
}

export interface LocateOptions extends DatasetFilesOptions, FetchOptions {
  /** What the files are, where their names do not tell. */
  format?: SourceFormat;
}

const isGlob = (path: string): boolean => /[*?[]/.test(path) && !exists(path);

/**
 * Local files as given, and for each folder the files in it (and below) whose names tell a known format, sorted by name.
 * A glob (`*`, `?`, `**`, where no file has that very name) gives the files that match, sorted by name.
 *
 * @throws FileError for a missing path, UsageError for an unknown kind of file, DataError for a folder or glob without any
 */
export function expandSources(paths: readonly string[], format?: SourceFormat): string[] {
  return paths.flatMap((path) => {
    if (isAddress(path) || isHubDataset(path))
      throw new UsageError(`${path}: is far away; bring it here first: bitnet data filter ${path} -o text.jsonl`);
    if (isGlob(path)) {
      const files = filesOfGlob(path).filter((file) => format || formatOfName(file));
      if (files.length === 0) throw new DataError(`${path}: no file matches whose name ends in ${known}`);
      return files;
    }
    if (describePath(path).kind === "folder") {
      const files = filesBelow(path).filter((file) => formatOfName(file));
      if (files.length === 0) throw new DataError(`${path}: no file in this folder ends in ${known}`);
      return files;
    }
    if (!format && !formatOfName(path)) throw unknownKind(path);
    return [path];
  });
}

const filesBelow = (folder: string): string[] =>
  listFolder(folder).flatMap((name) => {
    const path = joinPath(folder, name);
    return describePath(path).kind === "folder" ? filesBelow(path) : [path];
  });

function filesOfGlob(pattern: string): string[] {
  const parts = pattern.split("/");
  const magic = parts.findIndex((part) => /[*?[]/.test(part));
  const base = parts.slice(0, magic).join("/") || (pattern.startsWith("/") ? "/" : ".");
  const matches = globMatcher(parts.slice(magic).join("/"));
  if (!exists(base) || describePath(base).kind !== "folder") return [];
  const prefix = joinPath(base, "x").length - 1; // "./a" comes as "a"
  return filesBelow(base)
    .filter((path) => matches(path.slice(prefix)))
    .sort();
}

/**
 * The files that sources mean, in order, with those far away listed but not yet fetched.
 *
 * @throws as expandSources, and FileError where a server cannot be reached or refuses, naming the option for a local copy
 */
export async function locateSources(paths: readonly string[], options: LocateOptions = {}): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for (const path of paths) {
    if (isHubDataset(path)) files.push(...(await locateDataset(path, options)));
    else if (isAddress(path)) files.push(locateAddress(path, options));
    else
      for (const file of expandSources([path], options.format))
        files.push({
          name: file,
          format: options.format ?? formatOfName(file)!,
          sizeBytes: describePath(file).sizeBytes,
          identity: null,
          open: async () => file,
        });
  }
  return files;
}

async function locateDataset(path: string, options: LocateOptions): Promise<SourceFile[]> {
  const files = await listDatasetFiles(path, {
    ...options,
    accepts: (name) => !!(options.format ?? formatOfName(name)),
  });
  if (files.length === 0) throw new DataError(`${path}: has no file whose name ends in ${known}`);
  return files.map((file) => ({ ...file, format: options.format ?? formatOfName(file.name)! }));
}

function locateAddress(address: string, options: LocateOptions): SourceFile {
  const name = baseName(new URL(address).pathname);
  const format = options.format ?? formatOfName(name);
  if (!format) throw unknownKind(address);
  const copy = options.localCopy === undefined ? undefined : joinPath(options.localCopy, name);
  return {
    name: address,
    format,
    sizeBytes: copy ? describePath(copy).sizeBytes : null,
    identity: null,
    open: async () => copy ?? (await fetchAddress(address, options)),
  };
}

/** What names a file's content: the hub's checksum, or else its SHA-256, for which one far away is downloaded. */
export async function identityOf(file: SourceFile): Promise<string> {
  return file.identity ?? sha256OfFile(await file.open());
}
