/** Tables that several threads read: copied once into shared memory, so that each thread gets them without a copy. */

/**
 * The same plain value with every typed array in shared memory. Where there is none (a page that is not isolated), the
 * value itself, which each thread then copies.
 */
export function shared<T>(value: T): T {
  return typeof SharedArrayBuffer === "undefined" ? value : (copyOf(value) as T);
}

function copyOf(value: unknown): unknown {
  if (value instanceof Int32Array || value instanceof Uint8Array) {
    const copy = new (value.constructor as Int32ArrayConstructor)(new SharedArrayBuffer(value.byteLength));
    copy.set(value);
    return copy;
  }
  if (Array.isArray(value)) return value.map(copyOf);
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, copyOf(inner)]));
  return value;
}
