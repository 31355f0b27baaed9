/**
 * The walls of ARCHITECTURE.md as functions: imports read off a source text, import circles, rooms and their floors, paths
 * that a page names. Nothing here reads a file; test/walls.test.ts does, and shows that each function can find a fault.
 */
import { posix } from "node:path";

export interface Import {
  /** Importing file, relative to src/. */
  file: string;
  room: string;
  specifier: string;
  /** The file that a relative import means, relative to src/; null for a package. */
  path: string | null;
  /** Room of a relative import. */
  target: string | null;
  typeOnly: boolean;
}

const pattern =
  /(?:^|\n)\s*(?:import|export)\s+(type\s+)?[^;"']*?from\s*"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s*"([^"]+)"/g;

export function importsOf(file: string, text: string): Import[] {
  return [...withoutComments(text).matchAll(pattern)].map((match) => {
    const specifier = match[2] ?? match[3] ?? match[4];
    const path = specifier.startsWith(".") ? posix.join(posix.dirname(file), specifier) : null;
    return {
      file,
      room: file.split("/")[0],
      specifier,
      path,
      target: path?.split("/")[0] ?? null,
      typeOnly: match[1] !== undefined,
    };
  });
}

export const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");

/** Imports that climb, or go to a neighbour on the same floor. */
export const climbing = (imports: readonly Import[], floorOf: ReadonlyMap<string, number>): Import[] =>
  imports.filter(({ room, target }) => {
    if (target === null || target === room) return false;
    const [from, to] = [floorOf.get(room), floorOf.get(target)];
    return from === undefined || to === undefined || to >= from;
  });

/** Groups of files that import each other, directly or over others, types included: the strongly connected components. */
export function circles(imports: readonly Pick<Import, "file" | "path">[]): string[][] {
  const edges = new Map<string, Set<string>>();
  for (const { file, path } of imports)
    if (path !== null) edges.set(file, (edges.get(file) ?? new Set<string>()).add(path));
  const found: string[][] = [];
  const order = new Map<string, number>();
  const stack: string[] = [];
  const open = new Set<string>();
  const visit = (file: string): number => {
    let lowest = order.size;
    const own = lowest;
    order.set(file, own);
    stack.push(file);
    open.add(file);
    for (const next of edges.get(file) ?? [])
      if (!order.has(next)) lowest = Math.min(lowest, visit(next));
      else if (open.has(next)) lowest = Math.min(lowest, order.get(next)!);
    if (lowest < own) return lowest;
    const group = stack.splice(stack.indexOf(file));
    for (const one of group) open.delete(one);
    if (group.length > 1 || edges.get(file)?.has(file)) found.push(group.sort());
    return lowest;
  };
  for (const file of edges.keys()) if (!order.has(file)) visit(file);
  return found;
}

/** Rooms and their floors, from the table of ARCHITECTURE.md: | floor | `room/` | ... */
export const floorsIn = (page: string): Map<string, number> =>
  new Map([...page.matchAll(/^\| *(\d+) *\| *`([\w-]+)\//gm)].map(([, floor, room]) => [room, Number(floor)]));

/** Paths that a page names in backticks: all with a slash, `<name>` standing for any one name. */
export const pathsIn = (page: string): string[] =>
  [...page.matchAll(/`([^`\s]+)`/g)]
    .map(([, name]) => name)
    .filter((name) => /^[\w.<>-]+(\/[\w.<>-]*)+$/.test(name) && !/^bitnet\.ts\//.test(name));

/** Those of `paths` that no file of the repository has, or has below it. */
export const absent = (paths: readonly string[], files: readonly string[]): string[] =>
  paths.filter((path) => {
    const parts = path.split(/<[^>]*>/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const wanted = new RegExp(`^${parts.join("[^/]+")}${path.endsWith("/") ? "" : "(/|$)"}`);
    return !files.some((file) => wanted.test(file));
  });

/** The Mermaid picture of a page: boxes `id["path"]`, and arrows `a --> b`, with or without a label. */
export function pictureIn(page: string): { boxes: [id: string, path: string][]; arrows: [from: string, to: string][] } {
  const picture = /```mermaid\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  const boxes = [...picture.matchAll(/(\w+)\["([^"]+)"\]/g)].map(([, id, path]): [string, string] => [id, path]);
  const arrows = [...picture.replace(/\["[^"]+"\]/g, "").matchAll(/(\w+) -->(?:\|[^|]*\|)? (\w+)/g)].map(
    ([, from, to]): [string, string] => [from, to],
  );
  return { boxes, arrows };
}

/**
 * What is wrong in a picture: a path is a file of src/, or a folder with a slash at its end. An import of a room's index.ts is
 * also one of what that file passes on.
 */
export function wrongInPicture(
  boxes: readonly [string, string][],
  arrows: readonly [string, string][],
  files: readonly string[],
  imports: readonly Pick<Import, "file" | "path">[],
): string[] {
  const paths = new Map(boxes);
  const has = (path: string, file: string) => (path.endsWith("/") ? file.startsWith(path) : file === path);
  const absentBoxes = boxes.filter(([, path]) => !files.some((file) => has(path, file)));
  return [
    ...absentBoxes.map(([, path]) => `${path}: no such file or room`),
    ...arrows.flatMap(([a, b]) => {
      const [from, to] = [paths.get(a), paths.get(b)];
      if (from === undefined || to === undefined) return [`${a} --> ${b}: no such box`];
      const targets = imports.flatMap(({ file, path }) => (has(from, file) && path !== null ? [path] : []));
      const doors = new Set(targets.filter((path) => path.endsWith("/index.ts")));
      const behind = imports.flatMap(({ file, path }) => (doors.has(file) && path !== null ? [path] : []));
      const found = [...targets, ...behind].some((path) => has(to, path));
      return found ? [] : [`${from} does not import ${to}`];
    }),
  ];
}
