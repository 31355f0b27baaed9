/**
 * The share of problems that a model answers right, by greedy decoding, to the end of the answer. Read off one forward
 * pass over prompt and answer: greedy decoding gives the answer exactly if, at each of its places and at the end-of-text
 * behind it, the most likely token is the right one.
 */
import type { TokenBatch } from "../model/index.ts";
import { DataError } from "../platform/errors.ts";
import type { Runtime, Tensor } from "../tensor/index.ts";

export interface AnsweringModel {
  readonly runtime: Runtime;
  readonly config: { readonly vocabSize: number };
  logits(batch: TokenBatch): Tensor;
}

export interface AnswerEncoder {
  readonly endOfText: number | null;
  encode(text: string): ArrayLike<number>;
}

export interface Question {
  prompt: string;
  answer: string;
}

/**
 * Whether each question is answered right. Each stands behind an end-of-text token, as documents do in training.
 *
 * @throws DataError for a tokenizer without an end-of-text token, or where prompt and answer do not encode one by one
 */
export async function scoreAnswers(
  model: AnsweringModel,
  tokenizer: AnswerEncoder,
  questions: readonly Question[],
): Promise<boolean[]> {
  const { endOfText } = tokenizer;
  if (endOfText === null) throw new DataError("answers: the tokenizer has no end-of-text token to end an answer with");
  const V = model.config.vocabSize;
  const rows = questions.map(({ prompt, answer }) => {
    const asked = [endOfText, ...Array.from(tokenizer.encode(prompt))];
    return { tokens: [...asked, ...Array.from(tokenizer.encode(answer)), endOfText], from: asked.length };
  });
  const right: boolean[] = [];
  const perBatch = 64;
  for (let at = 0; at < rows.length; at += perBatch) {
    const some = rows.slice(at, at + perBatch);
    const length = Math.max(...some.map(({ tokens }) => tokens.length)) - 1;
    const tokens = new Int32Array(some.length * length).fill(endOfText);
    for (const [b, row] of some.entries()) tokens.set(row.tokens.slice(0, -1), b * length);
    const logits = model.logits({ tokens, batch: some.length, length });
    const values = await model.runtime.readFloats(logits);
    logits.dispose();
    for (const [b, row] of some.entries()) {
      let good = true;
      for (let t = row.from; t < row.tokens.length && good; t++)
        good = mostLikely(values, (b * length + t - 1) * V, V) === row.tokens[t];
      right.push(good);
    }
  }
  return right;
}

function mostLikely(logits: Float32Array, start: number, V: number): number {
  let best = 0;
  for (let v = 1; v < V; v++) if (logits[start + v] > logits[start + best]) best = v;
  return best;
}
