/**
 * The engine's side of the server: opens a model, runs its scheduler, answers messages. Lives on a thread of its own
 * (engine-thread.ts), so that neither a pass nor a tokenizer holds up HTTP; nothing here knows HTTP.
 */
import {
  type ChatTemplate,
  createChatTemplate,
  type Engine,
  Grammar,
  jsonSchemaToGbnf,
  type OpenedEngine,
  QueueFullError,
  type ScheduledText,
  Scheduler,
  withStartToken,
} from "../infer/index.ts";
import type { Clock } from "../platform/clock.ts";
import { UnsupportedError, UsageError } from "../platform/errors.ts";
import type { Service } from "../platform/service-worker.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { embedText, meanPooled, oneAtATime } from "./embed.ts";
import {
  type Answers,
  type Constraint,
  type FromHost,
  type HostLimits,
  type Prompt,
  type Question,
  type TextPiece,
  type TextsRequest,
  type ToHost,
  type WireError,
  windowPieces,
} from "./messages.ts";
import { namedPrompt, namedToken, pieceOf } from "./token-names.ts";

/** What the host needs of an opened model. */
export type HostedModel = Pick<OpenedEngine, "engine" | "startToken" | "stopTokens" | "chatTemplate" | "close"> & {
  tokenizer: Pick<
    Tokenizer,
    "encode" | "decode" | "vocabSize" | "bos" | "eos" | "endOfText" | "bytesOf" | "tokenOf" | "specialTokens"
  >;
};

/** Compiled grammars are kept: clients ask for the same schema again and again. */
const keptGrammars = 8;

/**
 * Log-probabilities of echoed prompts in one answer: tokens, each with its alternatives. They are all in memory at once, some
 * hundred bytes each on their way, and some 20 MB as JSON.
 */
const mostPromptProbabilities = 500_000;

/** A request whose texts are being written. */
interface Running {
  texts: ScheduledText[];
  /** Pieces that may still be sent. */
  room: number;
  wake: (() => void)[];
  /** Texts not ended. */
  left: number;
}

export class EngineHost implements Service<ToHost> {
  private readonly scheduler: Scheduler;
  private readonly engine: Engine;
  private readonly template: ChatTemplate | null;
  private readonly running = new Map<number, Running>();
  private readonly asked = new Map<number, AbortController>();
  private readonly answering = new Set<Promise<void>>();
  private readonly grammars = new Map<string, Grammar>();
  private embedding = 0;
  private embeddedTexts = 0;

  /** @param model the host's from now on: closed when it is */
  constructor(
    private readonly model: HostedModel,
    private readonly limits: HostLimits,
    private readonly post: (message: FromHost) => void,
    clock: Clock,
  ) {
    const { tokenizer, chatTemplate } = model;
    // Embeddings and texts take turns at the engine.
    this.engine = oneAtATime(model.engine);
    const named = (id: number | null) => (id === null ? null : (tokenizer.tokenOf(id) ?? null));
    this.template =
      chatTemplate === null
        ? null
        : createChatTemplate(chatTemplate, { bosToken: named(tokenizer.bos), eosToken: named(tokenizer.eos) });
    this.scheduler = new Scheduler(this.engine, tokenizer, {
      slots: limits.slots,
      queue: limits.queue,
      cacheTokens: limits.cacheTokens ?? undefined,
      limits: { maxTokens: this.maxTokens },
      clock,
    });
  }

  get maxTokens(): number {
    return this.limits.maxTokens ?? this.model.engine.contextLength;
  }

  receive(message: ToHost): void {
    if (message.type === "begin") this.attempt(message.id, () => this.begin(message.id, message.request));
    else if (message.type === "cancel") this.cancel(message.id);
    else if (message.type === "taken") this.taken(message.id, message.pieces);
    else if (message.type === "ask") this.ask(message.id, message.question);
    else if (message.type === "ping") this.post({ type: "pong" });
    else void this.close(message.cancel);
  }

  private attempt(id: number, action: () => void): void {
    try {
      action();
    } catch (error) {
      this.fail(id, error);
    }
  }

  private fail(id: number, error: unknown): void {
    this.post({ type: "failed", id, error: wireError(error) });
  }

  // ---- texts

  private begin(id: number, { prompts, copies, settings, echo }: TextsRequest): void {
    const { maxTokens, seed, ignoreEnd, logProbabilities, constraint, ...sampling } = settings;
    const { scheduler, limits } = this;
    const scored = echo && logProbabilities !== null;
    const wanted = prompts.length * copies;
    if (wanted > limits.slots + limits.queue)
      throw new UsageError(
        `${wanted} texts were asked for at once; this server takes ${limits.slots + limits.queue} in all`,
      );
    const options = {
      ...sampling,
      maxTokens: maxTokens ?? this.maxTokens,
      alternatives: logProbabilities ?? 0,
      stopTokens: ignoreEnd ? [] : this.model.stopTokens,
      startToken: this.model.startToken,
      ...(scored ? { promptAlternatives: logProbabilities ?? 0 } : {}),
      ...(constraint ? { grammar: this.grammarOf(constraint) } : {}),
    };
    const sources = prompts.map((prompt) => this.promptOf(prompt));
    const texts: ScheduledText[] = [];
    try {
      for (const [p, source] of sources.entries())
        for (let copy = 0; copy < copies; copy++)
          texts.push(scheduler.submit(source, { ...options, seed: seed + p * copies + copy }));
      const tokens = texts.reduce((sum, { promptIds }) => sum + promptIds.length, 0);
      if (scored && tokens * (1 + options.alternatives) > mostPromptProbabilities)
        throw new UsageError(
          `the echoed prompts have ${tokens} tokens, so ${tokens * (1 + options.alternatives)} log-probabilities with logprobs ${options.alternatives}; at most ${mostPromptProbabilities} are given in one answer: send fewer prompts at once`,
        );
    } catch (error) {
      // All or none: nothing was computed yet, the scheduler begins in its next turn.
      for (const text of texts) text.cancel();
      throw error;
    }
    const running: Running = { texts, room: windowPieces, wake: [], left: texts.length };
    this.running.set(id, running);
    const first = texts.filter((_, i) => i % copies === 0);
    this.post({
      type: "begun",
      id,
      promptTokens: first.map(({ promptIds }) => promptIds.length),
      promptTexts: echo ? sources.map((s) => (typeof s === "string" ? s : this.model.tokenizer.decode(s))) : [],
    });
    const { startToken, tokenizer } = this.model;
    const startName = startToken === null ? "" : (tokenizer.tokenOf(startToken) ?? "");
    for (const [i, text] of texts.entries()) {
      const source = sources[Math.floor(i / copies)];
      void this.pump(id, running, i, text, {
        named: logProbabilities !== null,
        scored,
        startAdded: typeof source === "string" && text.promptIds[0] === startToken && !source.startsWith(startName),
      });
    }
  }

  /** Sends one text's pieces as far as the reader takes them. The text itself waits for nobody: its slot is free when it ends. */
  private async pump(
    id: number,
    running: Running,
    at: number,
    text: ScheduledText,
    { named, scored, startAdded }: { named: boolean; scored: boolean; startAdded: boolean },
  ): Promise<void> {
    const { tokenizer } = this.model;
    let told = !scored;
    const tellPrompt = () => {
      if (told || this.running.get(id) !== running) return;
      told = true;
      this.post({
        type: "event",
        id,
        event: { text: at, prompt: namedPrompt(tokenizer, text.promptTokens, startAdded) },
      });
    };
    try {
      for await (const token of text) {
        tellPrompt();
        const ends = text.report.finish === "end-of-text" && this.model.stopTokens.includes(token.id);
        // Beside a prompt's tokens the list holds every token of `usage`, the one that ends the text too: readers find the
        // prompt's end by counting (lm-evaluation-harness leaves out the last).
        const listed = named && (scored || !ends);
        if (token.text === "" && !listed) continue;
        const piece: TextPiece = { text: token.text };
        if (listed) {
          const alternatives = token.alternatives.map((other) => namedToken(tokenizer, other));
          piece.named = { ...namedToken(tokenizer, token), alternatives };
        }
        while (running.room <= 0 && this.running.get(id) === running)
          await new Promise<void>((resolve) => {
            running.wake.push(resolve);
          });
        if (this.running.get(id) !== running) return;
        running.room--;
        this.post({ type: "event", id, event: { text: at, piece } });
      }
      const report = await text.done;
      tellPrompt();
      if (this.running.get(id) !== running) return;
      if (--running.left === 0) this.running.delete(id);
      this.post({ type: "event", id, event: { text: at, report: { ...report } } });
    } catch (error) {
      if (this.running.get(id) !== running) return;
      this.cancel(id);
      this.fail(id, error);
    }
  }

  private cancel(id: number): void {
    this.asked.get(id)?.abort();
    const running = this.running.get(id);
    if (!running) return;
    this.running.delete(id);
    for (const text of running.texts) text.cancel();
    for (const wake of running.wake.splice(0)) wake();
  }

  private taken(id: number, pieces: number): void {
    const running = this.running.get(id);
    if (!running) return;
    running.room += pieces;
    for (const wake of running.wake.splice(0)) wake();
  }

  private promptOf(prompt: Prompt): string | number[] {
    if ("text" in prompt) return prompt.text;
    if ("tokens" in prompt) return prompt.tokens;
    if (!this.template)
      throw new UnsupportedError(
        "this model has no chat template: it continues texts (/v1/completions). Start the server with --chat-template to talk with it all the same",
      );
    return withStartToken(this.template.encode(prompt.messages, this.model.tokenizer), this.model.startToken);
  }

  private grammarOf(constraint: Constraint): Grammar {
    const source = "gbnf" in constraint ? constraint.gbnf : jsonSchemaToGbnf(constraint.schema);
    const grammar = this.grammars.get(source) ?? new Grammar(source);
    this.grammars.delete(source);
    this.grammars.set(source, grammar);
    if (this.grammars.size > keptGrammars) this.grammars.delete(this.grammars.keys().next().value!);
    return grammar;
  }

  // ---- questions

  private ask(id: number, question: Question): void {
    const answering: Promise<void> = this.answerTo(id, question).finally(() => this.answering.delete(answering));
    this.answering.add(answering);
  }

  private async answerTo(id: number, question: Question): Promise<void> {
    const controller = new AbortController();
    this.asked.set(id, controller);
    try {
      const value = await this.answer(question, controller.signal);
      if (!controller.signal.aborted) this.post({ type: "answer", id, value });
    } catch (error) {
      if (!controller.signal.aborted) this.fail(id, error);
    } finally {
      this.asked.delete(id);
    }
  }

  private async answer(question: Question, signal: AbortSignal): Promise<Answers[Question["kind"]]> {
    const { tokenizer } = this.model;
    switch (question.kind) {
      case "tokenize": {
        const { text, addSpecial, parseSpecial } = question;
        const ids = Int32Array.from(
          tokenizer.encode(text, { addSpecialTokens: addSpecial, parseSpecialTokens: parseSpecial }),
        );
        const different = question.pieces ? [...new Set(ids)] : [];
        return { ids, pieces: new Map(different.map((id) => [id, pieceOf(tokenizer, id)])) };
      }
      case "detokenize":
        return tokenizer.decode(question.tokens);
      case "embed":
        return this.embed(question.prompts, signal);
      case "stats": {
        const { slots, queue } = this.limits;
        const { embedding, embeddedTexts } = this;
        return { ...this.scheduler.stats, slots, queue, embedding, embeddedTexts };
      }
    }
  }

  private async embed(prompts: readonly Prompt[], signal: AbortSignal): Promise<Answers["embed"]> {
    const { slots, queue } = this.limits;
    if (this.embedding >= slots + queue)
      throw new QueueFullError(
        `${this.embedding} requests for embeddings are under way, as many as may; try again later`,
      );
    this.embedding++;
    try {
      const vectors: Float32Array[] = [];
      let promptTokens = 0;
      for (const prompt of prompts) {
        const source = this.promptOf(prompt);
        const [ids, start] =
          typeof source === "string" ? [this.model.tokenizer.encode(source), this.model.startToken] : [source, null];
        const { states, tokens } = await embedText(this.engine, ids, start, signal);
        vectors.push(meanPooled(states, tokens));
        promptTokens += tokens;
        this.embeddedTexts++;
      }
      return { vectors, promptTokens };
    } finally {
      this.embedding--;
    }
  }

  // ---- end

  private async close(cancel: boolean): Promise<void> {
    if (cancel) for (const id of [...this.running.keys(), ...this.asked.keys()]) this.cancel(id);
    await this.scheduler.close({ cancel });
    await Promise.all(this.answering);
    this.model.close();
    this.post({ type: "closed" });
  }
}

/** An error as it crosses: errors.ts of the HTTP side tells by the name whose fault it is. */
const wireError = (error: unknown): WireError =>
  error instanceof Error ? { name: error.name, message: error.message } : { name: "Error", message: String(error) };
