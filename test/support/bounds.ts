/**
 * How near a backend must come to the reference, by what it says it has (`Backend.supports`). A processor is held to the
 * last bit where arithmetic allows it; a backend without IEEE division or float64 sums to the bounds stated here, and a
 * test of what it does not have at all is skipped with the reason. Its own tests stand beside it.
 */
import type { Backend, BackendSupports } from "../../src/backends/backend.ts";
import { type Bound, expectClose } from "./expect-close.ts";

type Supported = Pick<Backend, "name" | "isa" | "supports">;
/** What may be missing: true or false. */
export type Ability = {
  [K in keyof BackendSupports]: BackendSupports[K] extends boolean ? K : never;
}[keyof BackendSupports];

const missing: Record<Ability, string> = {
  bf16: "has no bfloat16 products",
  int8Gradients: "has no int8 gradients",
  float64Sums: "sums in float32",
  ieee: "promises nothing for NaN, infinity and denormals",
  anyByteWidth: "takes rows of bytes only in multiples of 4",
};

/** Skips the test, with the reason, where the backend lacks one of these. */
export function needs(backend: Supported, skip: (reason: string) => void, ...abilities: Ability[]): void {
  for (const ability of abilities)
    if (!backend.supports[ability]) skip(`${backend.name} ${backend.isa} ${missing[ability]}`);
}

/** Skips the cases whose rows of bytes the backend does not take. */
export function needsWidth(backend: Supported, skip: (reason: string) => void, ...widths: number[]): void {
  if (widths.some((width) => width % 4 !== 0)) needs(backend, skip, "anyByteWidth");
}

/** The first bound where sums are float64, the second where they are float32. */
export const bySums = ({ supports }: Supported, float64: Bound, float32: Bound): Bound =>
  supports.float64Sums ? float64 : float32;

/** The first bound where float32 is IEEE's and sums are float64, so that results are determined; else the second. */
export const byRounding = ({ supports }: Supported, exact: Bound, loose: Bound): Bound =>
  supports.ieee && supports.float64Sums ? exact : loose;

/** Of codes, at most so many are off by one where division is off by an ulp: those that lay at a tie. */
const codesOff = 1e-3;

/** int8 or ternary codes: the same; without IEEE division or float64 sums at most 1 in 1,000 (or one) off, by 1. */
export function expectCodes(
  backend: Supported,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  what = "codes",
): void {
  expectClose(actual, expected, byRounding(backend, {}, { abs: 1 }), what);
  let off = 0;
  for (let i = 0; i < actual.length; i++) if (actual[i] !== expected[i]) off++;
  if (off > Math.max(1, codesOff * actual.length))
    throw new Error(`${what}: ${off} of ${actual.length} codes are off by 1; expected at most 1 in ${1 / codesOff}`);
}
