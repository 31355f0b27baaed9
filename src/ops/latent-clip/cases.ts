/** Latent weights and limits on which every backend's clipping must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

export const cases = [
  { name: "one value, never beyond itself", n: 1, limit: 1 },
  { name: "a size with a remainder", n: 37, limit: 1.5 },
  { name: "several threads' parts", n: 4099, limit: 1.5 },
  { name: "a limit below the mean", n: 1000, limit: 0.5 },
  { name: "a limit that nothing reaches", n: 300, limit: 100 },
].map((variant, i) => ({ ...variant, weight: normals(variant.n, 10 + i, 0.05) }));
