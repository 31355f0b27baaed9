/**
 * From what the engine sends to an answer: whole, or chunk by chunk as server-sent events. What an answer looks like is told
 * by a `Shape` (completions.ts, chat-completions.ts).
 */
import { type HttpError, RequestEnded } from "../http/errors.ts";
import type { GenerationReport } from "../infer/index.ts";
import type { RunningTexts } from "./engine-client.ts";
import { streamHttpError } from "./errors.ts";
import type { PromptPiece, TextPiece, TextsRequest } from "./messages.ts";

export { eventBody } from "../http/event-stream.ts";

/** How the asker wants the answer. */
export interface Reply {
  stream: boolean;
  /** A last chunk with the usage. */
  includeUsage: boolean;
  logProbabilities: boolean;
}

/** What every answer and chunk begins with. */
export type Head = (object: string) => Record<string, unknown>;

export interface WrittenText {
  pieces: TextPiece[];
  report: GenerationReport;
  /** The echoed prompt; "" without. */
  before: string;
  /** Its tokens, where they were asked for. */
  prompt: PromptPiece[];
}

export interface Shape {
  idPrefix: string;
  /** A stream ends with `[DONE]`; default true. */
  endsWithDone?: boolean;
  whole(head: Head, reply: Reply, texts: readonly WrittenText[], promptTokens: number): object;
  /** A text's first chunk; null: none. @param prompt the tokens of the echoed text, where they were asked for */
  opening(head: Head, reply: Reply, index: number, before: string, prompt: readonly PromptPiece[]): object | null;
  /** @param offset characters of the text before the piece */
  chunk(head: Head, reply: Reply, index: number, piece: TextPiece, offset: number): object;
  closing(head: Head, reply: Reply, index: number, report: GenerationReport): object;
  /** The chunk that the usage is put into. */
  usage(head: Head): object;
}

/** OpenAI has two reasons for a whole answer. A text that the context ended is as one that was long enough. */
export function finishReason({ finish }: GenerationReport): "stop" | "length" {
  return finish === "length" || finish === "context" ? "length" : "stop";
}

/** @param promptTokens of each prompt once, however many texts it has */
export function usageOf(promptTokens: number, reports: readonly GenerationReport[]) {
  const sum = (key: "generatedTokens" | "cachedTokens") => reports.reduce((total, report) => total + report[key], 0);
  const completion = sum("generatedTokens");
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completion,
    total_tokens: promptTokens + completion,
    prompt_tokens_details: { cached_tokens: Math.min(promptTokens, sum("cachedTokens")) },
  };
}

const sumOf = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

/** A text that something else than itself ended has no sound answer. @throws RequestEnded */
function checkEnded({ finish }: GenerationReport): void {
  if (finish === "aborted" || finish === null) throw new RequestEnded("shutdown");
}

/** All of it. @throws what the events throw */
export async function wholeAnswer(
  shape: Shape,
  head: Head,
  { request, reply }: { request: TextsRequest; reply: Reply },
  running: RunningTexts,
): Promise<{ body: object; reports: GenerationReport[] }> {
  const texts = Array.from({ length: request.prompts.length * request.copies }, (_, i) => ({
    pieces: [] as TextPiece[],
    report: null as unknown as GenerationReport,
    before: running.promptTexts[Math.floor(i / request.copies)] ?? "",
    prompt: [] as PromptPiece[],
  }));
  for await (const event of running.events)
    if ("piece" in event) texts[event.text].pieces.push(event.piece);
    else if ("prompt" in event) texts[event.text].prompt = event.prompt;
    else {
      checkEnded(event.report);
      texts[event.text].report = event.report;
    }
  const body = shape.whole(head, reply, texts, sumOf(running.promptTokens));
  return { body, reports: texts.map(({ report }) => report) };
}

const dataLine = (data: unknown) => `data: ${JSON.stringify(data)}\n\n`;

/**
 * The answer as server-sent events, in OpenAI's order: a text's opening, its pieces, its end; the usage; [DONE]. An error
 * amid the answer is an event {"error"}, and the last.
 *
 * @param onReport told of each text's end, and of an error
 */
export async function* streamedAnswer(
  shape: Shape,
  head: Head,
  { request, reply }: { request: TextsRequest; reply: Reply },
  running: RunningTexts,
  told: {
    onText?(): void;
    onReport?(report: GenerationReport): void;
    onError?(error: HttpError, cause: unknown): void;
  } = {},
): AsyncGenerator<string> {
  // With the usage asked for, all other chunks say that it is not in them.
  const line = (chunk: object) => dataLine(reply.includeUsage ? { ...chunk, usage: null } : chunk);
  const count = request.prompts.length * request.copies;
  const offsets = new Array<number>(count).fill(0);
  const reports: GenerationReport[] = [];
  try {
    const before = (text: number) => running.promptTexts[Math.floor(text / request.copies)] ?? "";
    // Where the prompt's tokens are wanted too, a text opens when they are known.
    if (!(request.echo && reply.logProbabilities))
      for (let i = 0; i < count; i++) {
        const opening = shape.opening(head, reply, i, before(i), []);
        if (opening) yield line(opening);
      }
    for await (const event of running.events)
      if ("piece" in event) {
        told.onText?.();
        yield line(shape.chunk(head, reply, event.text, event.piece, offsets[event.text]));
        offsets[event.text] += event.piece.text.length;
      } else if ("prompt" in event) {
        const opening = shape.opening(head, reply, event.text, before(event.text), event.prompt);
        if (opening) yield line(opening);
        offsets[event.text] = before(event.text).length;
      } else {
        checkEnded(event.report);
        reports.push(event.report);
        told.onReport?.(event.report);
        yield line(shape.closing(head, reply, event.text, event.report));
      }
    if (reply.includeUsage)
      yield dataLine({ ...shape.usage(head), usage: usageOf(sumOf(running.promptTokens), reports) });
    if (shape.endsWithDone !== false) yield "data: [DONE]\n\n";
  } catch (cause) {
    // A reader that has gone reads no error.
    if (cause instanceof RequestEnded && (cause.why === "disconnected" || cause.why === "stalled")) return;
    const error = streamHttpError(cause);
    told.onError?.(error, cause);
    yield dataLine(error.body());
  }
}
