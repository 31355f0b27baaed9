/** Tokens as answers show them: text, and bytes. Called by engine-host.ts. */
import type { TokenProbability } from "../infer/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { NamedToken } from "./messages.ts";

type Names = Pick<Tokenizer, "bytesOf" | "tokenOf" | "decode">;

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A token's characters and bytes. As OpenAI's API has it: a token that is a part of a character is written
 * `bytes:\xe2\x96`; a special token goes by its name and has no bytes.
 */
export function pieceOf(tokenizer: Names, id: number): { piece: string; bytes: number[] | null } {
  const bytes = tokenizer.bytesOf(id);
  if (bytes === null) return { piece: tokenizer.tokenOf(id) ?? tokenizer.decode([id]), bytes: null };
  try {
    return { piece: strict.decode(bytes), bytes: [...bytes] };
  } catch {
    const escaped = Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`);
    return { piece: `bytes:${escaped.join("")}`, bytes: [...bytes] };
  }
}

export function namedToken(tokenizer: Names, { id, logProbability }: TokenProbability): NamedToken {
  const { piece, bytes } = pieceOf(tokenizer, id);
  return { id, token: piece, bytes, logProbability };
}
