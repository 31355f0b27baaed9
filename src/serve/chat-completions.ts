/**
 * `/v1/chat/completions`: the next message of a talk, through the model's chat template. OpenAI's shapes of requests, answers
 * and chunks, as pure functions; routes.ts serves them.
 */
import { z } from "zod";
import { HttpError } from "../http/errors.ts";
import type { ChatMessage } from "../infer/index.ts";
import { finishReason, type Reply, type Shape, usageOf } from "./answers.ts";
import type { NamedToken, TextPiece, TextsRequest } from "./messages.ts";
import { absent, parseRequest, settingsOf, sharedFields, tools } from "./request-fields.ts";

const textPart = z.strictObject({
  type: z.literal("text", "only parts of type text are supported: these models read no images, sound or files"),
  text: z.string(),
});
const content = z.union([z.string(), z.array(textPart)], {
  error: 'expected a text, or a list of parts {type: "text", text}; these models read no images, sound or files',
});
const named = absent("names of those who speak are not supported; say them in the content", "");

const message = z.discriminatedUnion(
  "role",
  [
    z.strictObject({ role: z.enum(["system", "developer"]), content, name: named }),
    z.strictObject({ role: z.literal("user"), content, name: named }),
    z.strictObject({
      role: z.literal("assistant"),
      // OpenAI's answers have null here beside tool calls, and clients send them back: no text.
      content: content.nullable().transform((said) => said ?? ""),
      name: named,
      // What an answer of this server has besides, so that it can be sent back as it came.
      refusal: z.null().optional(),
      annotations: absent("not supported"),
      audio: z.null().optional(),
      tool_calls: tools,
      function_call: tools,
    }),
  ],
  { error: "role: expected system, developer, user or assistant (tools are not supported)" },
);

const noAudio = "only text is written";
const schema = z.strictObject({
  ...sharedFields,
  messages: z.array(message).min(1),
  max_completion_tokens: z.int().min(0).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  tools,
  tool_choice: tools,
  parallel_tool_calls: absent("there are no tools to call", true, false),
  functions: tools,
  function_call: tools,
  modalities: z.tuple([z.literal("text")], noAudio).nullish(),
  audio: absent(noAudio),
  prediction: absent("prediction is not supported"),
  web_search_options: absent("web search is not supported"),
  // These models do not reason apart from their answers: it has no effect.
  reasoning_effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh"]).nullish(),
  verbosity: absent("verbosity is not supported; say it in a message", "medium"),
});

export function readChatRequest(body: unknown, newSeed: () => number): { request: TextsRequest; reply: Reply } {
  const fields = parseRequest(schema, body);
  const { max_tokens: older, max_completion_tokens: newer } = fields;
  if (typeof older === "number" && typeof newer === "number" && older !== newer)
    throw new HttpError(400, `max_tokens is ${older} and max_completion_tokens ${newer}; give one`, {
      param: "max_tokens",
    });
  if (fields.top_logprobs && !fields.logprobs)
    throw new HttpError(400, "top_logprobs: give logprobs: true with it", { param: "top_logprobs" });
  const settings = settingsOf(fields, {
    maxTokens: newer ?? older ?? null,
    logProbabilities: fields.logprobs ? (fields.top_logprobs ?? 0) : null,
    newSeed,
  });
  return {
    request: {
      prompts: [{ messages: fields.messages.map(plainMessage) }],
      copies: fields.n ?? 1,
      settings,
      echo: false,
    },
    reply: {
      stream: fields.stream ?? false,
      includeUsage: fields.stream_options?.include_usage ?? false,
      logProbabilities: fields.logprobs ?? false,
    },
  };
}

function plainMessage({ role, content }: z.output<typeof message>): ChatMessage {
  const text = typeof content === "string" ? content : content.map((part) => part.text).join("\n");
  return { role: role === "developer" ? "system" : role, content: text };
}

function logprobsOf(pieces: readonly TextPiece[]) {
  const shown = ({ token, bytes, logProbability }: NamedToken) => ({ token, logprob: logProbability, bytes });
  return {
    content: pieces.flatMap(({ named }) =>
      named ? [{ ...shown(named), top_logprobs: named.alternatives.map(shown) }] : [],
    ),
    refusal: null,
  };
}

const choice = (index: number, delta: object, logprobs: unknown, finish_reason: string | null) => ({
  index,
  delta,
  logprobs,
  finish_reason,
});

export const chatShape: Shape = {
  idPrefix: "chatcmpl-",
  whole(head, reply, texts, promptTokens) {
    return {
      ...head("chat.completion"),
      choices: texts.map(({ pieces, report }, index) => ({
        index,
        message: { role: "assistant", content: pieces.map(({ text }) => text).join(""), refusal: null },
        logprobs: reply.logProbabilities ? logprobsOf(pieces) : null,
        finish_reason: finishReason(report),
      })),
      usage: usageOf(
        promptTokens,
        texts.map(({ report }) => report),
      ),
    };
  },
  opening(head, _reply, index) {
    const delta = { role: "assistant", content: "", refusal: null };
    return { ...head("chat.completion.chunk"), choices: [choice(index, delta, null, null)] };
  },
  chunk(head, reply, index, piece) {
    const logprobs = reply.logProbabilities ? logprobsOf([piece]) : null;
    return { ...head("chat.completion.chunk"), choices: [choice(index, { content: piece.text }, logprobs, null)] };
  },
  closing(head, _reply, index, report) {
    return { ...head("chat.completion.chunk"), choices: [choice(index, {}, null, finishReason(report))] };
  },
  usage: (head) => ({ ...head("chat.completion.chunk"), choices: [] }),
};
