/** Shapes and values on which every backend's z-loss must agree with reference.ts: the shapes of cross-entropy's. */
import { rowLossCases } from "../../../test/support/row-loss.ts";

export const cases = rowLossCases(400);
