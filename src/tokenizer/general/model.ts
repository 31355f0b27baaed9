/** What a model is to general.ts: a pre-token to ids. models.ts makes one of a file's. */
import type { IdBuffer } from "../id-buffer.ts";

/**
 * Appends the ids of a text, which is not empty.
 *
 * @throws UnknownText
 */
export type Model = (text: string, out: IdBuffer) => void;

/** Text that the model has no tokens for, unknown or otherwise; general.ts makes an error of it. */
export class UnknownText {
  constructor(readonly text: string) {}
}
