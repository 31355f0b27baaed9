/**
 * The packed engine's cache: keys and values of all sequences in pages of 16 tokens, shared by forks until one of them
 * writes (copy on write), counted, and given back when the last sequence lets go. The pool grows to what is asked for, by a
 * quarter at least.
 */
import type { Backend, NDArray } from "../../backends/backend.ts";
import {
  type CacheShape,
  copyPages,
  type LayerPages,
  pageBytes,
  pageTokens,
} from "../../ops/cached-attention/index.ts";
import { DeviceArrays } from "./device-arrays.ts";

/** The pool grows by so many pages at least, and by this share of what it has: copying costs a page a few times its bytes. */
const leastGrowth = 8;
const growthShare = 1 / 4;
/** Kernels read whole vectors past what they use. */
const paddingBytes = 64;
/**
 * Layers lie together in slabs of at least so many bytes, if there are as many: the system gives them huge pages, without
 * which each head of a page of keys is looked up for itself (native/addon/addon.cc).
 */
const slabBytes = 4 * 2 ** 20;

export class PagePool {
  layers: LayerPages[] = [];
  /** Rises whenever the memory moves: what was recorded over it is stale. */
  generation = 0;
  private readonly arrays: DeviceArrays;
  private holders: number[] = [];
  private free: number[] = [];

  constructor(
    private readonly backend: Backend,
    private readonly layerCount: number,
    readonly shape: CacheShape,
  ) {
    this.arrays = new DeviceArrays(backend);
  }

  get sizeBytes(): number {
    return 2 * this.layerCount * this.holders.length * pageBytes(this.shape);
  }

  get freePages(): number {
    return this.free.length;
  }

  /** A page of the caller's own. */
  take(): number {
    this.reserve(1);
    const page = this.free.pop() as number;
    this.holders[page] = 1;
    return page;
  }

  /** Grows, once, so that so many pages can be taken. */
  reserve(pages: number): void {
    const missing = pages - this.free.length;
    if (missing > 0) this.grow(Math.max(missing, leastGrowth, Math.ceil(growthShare * this.holders.length)));
  }

  share(page: number): void {
    this.holders[page]++;
  }

  release(page: number): void {
    if (--this.holders[page] === 0) this.free.push(page);
  }

  /** The page itself if it is the caller's alone, else a copy that is. */
  own(page: number): number {
    if (this.holders[page] === 1) return page;
    const copy = this.take();
    this.copy(
      [page, copy],
      this.layers.map((layer) => [layer, layer]),
    );
    this.release(page);
    return copy;
  }

  dispose(): void {
    this.arrays.dispose();
    this.layers = [];
  }

  private copy(pairs: number[], layers: [from: LayerPages, to: LayerPages][]): void {
    const ids = this.arrays.create([pairs.length / 2, 2], "i32");
    this.backend.upload(ids.buffer, Int32Array.from(pairs));
    const bytes = pageBytes(this.shape);
    for (const [from, to] of layers) {
      copyPages(this.backend, ids, from.keys, to.keys, bytes);
      copyPages(this.backend, ids, from.values, to.values, bytes);
    }
    this.arrays.free(ids);
  }

  /** One slab at a time, and what it was copied from goes back to the system: no more than a slab or two are there twice. */
  private grow(by: number): void {
    const before = this.holders.length;
    const count = before + by;
    const all = Array.from({ length: before }, (_, i) => [i, i]).flat();
    const side = Math.ceil((count * pageBytes(this.shape) + paddingBytes) / 64) * 64;
    const slabs = Math.max(1, Math.min(this.layerCount, Math.floor((2 * side * this.layerCount) / slabBytes)));
    const inSlab = Math.ceil(this.layerCount / slabs);
    /** Of each old slab, layers that are still to be copied. */
    const left = new Map<NDArray, number>();
    for (const { keys } of this.layers) left.set(keys.array, (left.get(keys.array) ?? 0) + 1);
    for (let first = 0; first < this.layerCount; first += inSlab) {
      const layers = Math.min(inSlab, this.layerCount - first);
      const array = this.arrays.create([2 * side * layers], "u8");
      for (let i = 0; i < layers; i++) {
        const made = { keys: { array, at: 2 * i * side }, values: { array, at: (2 * i + 1) * side } };
        const old = this.layers[first + i];
        this.layers[first + i] = made;
        if (!old) continue;
        this.copy(all, [[old, made]]);
        const rest = (left.get(old.keys.array) as number) - 1;
        left.set(old.keys.array, rest);
        if (rest > 0) continue;
        this.arrays.free(old.keys.array);
        this.backend.trim();
      }
    }
    for (let page = count - 1; page >= before; page--) this.free.push(page);
    for (let page = before; page < count; page++) this.holders.push(0);
    this.generation++;
  }
}

/** The pages of one sequence, in order, from page number `first` (position / 16) on. */
export class PageList {
  private pages: number[] = [];
  first = 0;

  constructor(private readonly pool: PagePool) {}

  get ids(): readonly number[] {
    return this.pages;
  }

  /** Pages that are missing to hold `to` positions. */
  missing(to: number): number {
    return Math.max(0, Math.ceil(to / pageTokens) - this.first - this.pages.length);
  }

  /** Makes room to write positions [from, to). */
  makeRoom(from: number, to: number): void {
    const at = Math.floor(from / pageTokens) - this.first;
    if (at < this.pages.length) this.pages[at] = this.pool.own(this.pages[at]);
    const missing = this.missing(to);
    this.pool.reserve(missing);
    for (let i = 0; i < missing; i++) this.pages.push(this.pool.take());
  }

  /** Forgets positions from `length` on. */
  truncate(length: number): void {
    const keep = Math.max(0, Math.ceil(length / pageTokens) - this.first);
    for (const page of this.pages.splice(keep)) this.pool.release(page);
    if (length === 0) this.first = 0;
  }

  /** Forgets pages wholly before a position. */
  dropBefore(position: number): void {
    const count = Math.min(Math.floor(position / pageTokens) - this.first, this.pages.length);
    if (count <= 0) return;
    for (const page of this.pages.splice(0, count)) this.pool.release(page);
    this.first += count;
  }

  fork(): PageList {
    const copy = new PageList(this.pool);
    copy.first = this.first;
    copy.pages = [...this.pages];
    for (const page of copy.pages) this.pool.share(page);
    return copy;
  }
}
