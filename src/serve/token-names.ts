/** Tokens as answers show them: text, and bytes. Called by engine-host.ts. */
import { createTextStream, type PromptToken, type TokenProbability } from "../infer/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { NamedToken, PromptPiece } from "./messages.ts";

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

/**
 * A prompt's tokens with their offsets in its text. Tokens that share a character have that character's offset.
 *
 * @param startAdded the first token is one that the server put before the text: it is no part of the text
 */
export function namedPrompt(tokenizer: Names, tokens: readonly PromptToken[], startAdded: boolean): PromptPiece[] {
  const text = createTextStream(tokenizer);
  let offset = 0;
  return tokens.map(({ id, logProbability, alternatives }, i) => {
    const { piece: token, bytes } = pieceOf(tokenizer, id);
    const at = offset;
    // The name of a special token is a part of the text where it was given with it.
    if (bytes !== null) offset += text.push(id).length;
    else if (!(startAdded && i === 0)) offset += token.length;
    return { token, offset: at, logProbability, alternatives: alternatives.map((one) => namedToken(tokenizer, one)) };
  });
}
