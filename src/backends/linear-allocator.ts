/**
 * An allocator over one growing range of addresses, for the WASM backend's linear memory: first fit from the lowest
 * address, neighbours merged when freed. What it says about memory is kept outside that memory. Buffers of equal size
 * are reused above it (processor.ts), so it is not on the hot path.
 */
export interface LinearAllocator {
  /** An address, a multiple of 64; 0 where there is no room. `sizeBytes` is a multiple of 64. */
  allocate(sizeBytes: number): number;
  /** @throws Error for an address that allocate did not give, or that was freed */
  free(address: number): void;
}

/**
 * @param start  first address, above 0, a multiple of 64
 * @param end    end of the range as it is now, a multiple of 64
 * @param grow   makes the range at least so many bytes longer; returns the new end, or 0 where it cannot
 */
export function createLinearAllocator(
  start: number,
  end: number,
  grow: (sizeBytes: number) => number,
): LinearAllocator {
  /** By address; no two touch. */
  const gaps: { address: number; size: number }[] = end > start ? [{ address: start, size: end - start }] : [];
  const sizes = new Map<number, number>();

  /** Puts a range back among the gaps. */
  function putBack(address: number, size: number): void {
    let at = gaps.findIndex((gap) => gap.address > address);
    if (at < 0) at = gaps.length;
    const before = gaps[at - 1];
    const after = gaps[at];
    const joinsBefore = before && before.address + before.size === address;
    const joinsAfter = after && address + size === after.address;
    if (joinsBefore) {
      before.size += size + (joinsAfter ? after.size : 0);
      if (joinsAfter) gaps.splice(at, 1);
    } else if (joinsAfter) {
      after.address = address;
      after.size += size;
    } else {
      gaps.splice(at, 0, { address, size });
    }
  }

  function take(sizeBytes: number): number {
    const at = gaps.findIndex((gap) => gap.size >= sizeBytes);
    if (at < 0) return 0;
    const gap = gaps[at];
    const { address } = gap;
    gap.address += sizeBytes;
    gap.size -= sizeBytes;
    if (gap.size === 0) gaps.splice(at, 1);
    sizes.set(address, sizeBytes);
    return address;
  }

  return {
    allocate(sizeBytes) {
      const address = take(sizeBytes);
      if (address) return address;
      const last = gaps.at(-1);
      const newEnd = grow(sizeBytes - (last && last.address + last.size === end ? last.size : 0));
      if (!newEnd) return 0;
      putBack(end, newEnd - end);
      end = newEnd;
      return take(sizeBytes);
    },
    free(address) {
      const size = sizes.get(address);
      if (size === undefined) throw new Error(`linear allocator: free of address ${address}, which is not in use`);
      sizes.delete(address);
      putBack(address, size);
    },
  };
}
