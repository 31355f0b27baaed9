/** `/v1/completions`: texts continued. OpenAI's shapes of requests, answers and chunks, as pure functions; routes.ts serves them. */
import { z } from "zod";
import type { GenerationReport } from "../infer/index.ts";
import { finishReason, type Reply, type Shape, usageOf } from "./answers.ts";
import type { NamedToken, Prompt, PromptPiece, TextPiece, TextsRequest } from "./messages.ts";
import { absent, parseRequest, settingsOf, sharedFields } from "./request-fields.ts";

/** Prompts of one request: OpenAI's most. The queue sets the lower bound. */
const mostPrompts = 2048;

const tokenIds = z.array(z.int().min(0)).min(1);
const prompt = z.union(
  [z.string(), tokenIds, z.array(z.string()).min(1).max(mostPrompts), z.array(tokenIds).min(1).max(mostPrompts)],
  { error: "expected a text, a list of tokens, or a list of texts or of lists of tokens" },
);

const schema = z.strictObject({
  ...sharedFields,
  // OpenAI's: without a prompt, a new document.
  prompt: prompt.nullish(),
  logprobs: z.int().min(0).max(20).nullish(),
  echo: z.boolean().nullish(),
  best_of: absent("best_of is not supported; ask for n texts and choose among them", 1),
  suffix: absent("suffix is not supported: these models write forward only", ""),
});

/** OpenAI's; where this server allows fewer, that. */
const defaultMaxTokens = 16;

export function readCompletionRequest(
  body: unknown,
  newSeed: () => number,
  mostTokens: number,
): { request: TextsRequest; reply: Reply } {
  const fields = parseRequest(schema, body);
  const logProbabilities = fields.logprobs ?? null;
  const maxTokens = fields.max_tokens ?? Math.min(defaultMaxTokens, mostTokens);
  const settings = settingsOf(fields, { maxTokens, logProbabilities, newSeed });
  return {
    request: { prompts: promptsOf(fields.prompt ?? ""), copies: fields.n ?? 1, settings, echo: fields.echo ?? false },
    reply: {
      stream: fields.stream ?? false,
      includeUsage: fields.stream_options?.include_usage ?? false,
      logProbabilities: logProbabilities !== null,
    },
  };
}

function promptsOf(given: z.output<typeof prompt>): Prompt[] {
  if (typeof given === "string") return [{ text: given }];
  if (typeof given[0] === "number") return [{ tokens: given as number[] }];
  return (given as (string | number[])[]).map((one) => (typeof one === "string" ? { text: one } : { tokens: one }));
}

/**
 * Log-probabilities as this endpoint has them.
 *
 * @param offset characters of the text before these pieces, the echoed prompt's among them
 * @param prompt tokens of an echoed prompt, which stand before them: of the first, null
 */
function logprobsOf(pieces: readonly TextPiece[], offset: number, prompt: readonly PromptPiece[] = []) {
  const named = pieces.flatMap(({ named }) => (named ? [named] : []));
  let at = offset;
  const offsets: number[] = [];
  for (const piece of pieces) {
    if (piece.named) offsets.push(at);
    at += piece.text.length;
  }
  const table = (tokens: readonly NamedToken[]) => {
    const byName = new Map<string, number>();
    // The most probable first: of two tokens with the same characters, that one stays.
    for (const { token, logProbability } of tokens) if (!byName.has(token)) byName.set(token, logProbability);
    return Object.fromEntries(byName);
  };
  return {
    tokens: [...prompt, ...named].map(({ token }) => token),
    token_logprobs: [...prompt, ...named].map(({ logProbability }) => logProbability),
    top_logprobs: [
      ...prompt.map(({ logProbability, alternatives }) => (logProbability === null ? null : table(alternatives))),
      ...named.map(({ alternatives }) => table(alternatives)),
    ],
    text_offset: [...prompt.map(({ offset }) => offset), ...offsets],
  };
}

export const completionShape: Shape = {
  idPrefix: "cmpl-",
  whole(head, reply, texts, promptTokens) {
    return {
      ...head("text_completion"),
      choices: texts.map(({ pieces, report, before, prompt }, index) => ({
        text: before + pieces.map(({ text }) => text).join(""),
        index,
        logprobs: reply.logProbabilities ? logprobsOf(pieces, before.length, prompt) : null,
        finish_reason: finishReason(report),
      })),
      usage: usageOf(
        promptTokens,
        texts.map(({ report }) => report),
      ),
    };
  },
  opening(head, _reply, index, before, prompt) {
    if (before === "" && prompt.length === 0) return null;
    const logprobs = prompt.length > 0 ? logprobsOf([], before.length, prompt) : null;
    return { ...head("text_completion"), choices: [choice(index, before, logprobs, null)] };
  },
  chunk(head, reply, index, piece, offset) {
    const logprobs = reply.logProbabilities ? logprobsOf([piece], offset) : null;
    return { ...head("text_completion"), choices: [choice(index, piece.text, logprobs, null)] };
  },
  closing(head, _reply, index, report: GenerationReport) {
    return { ...head("text_completion"), choices: [choice(index, "", null, finishReason(report))] };
  },
  usage: (head) => ({ ...head("text_completion"), choices: [] }),
};

const choice = (index: number, text: string, logprobs: unknown, finish_reason: string | null) => ({
  text,
  index,
  logprobs,
  finish_reason,
});
