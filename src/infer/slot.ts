/**
 * A text in the making and its place in an engine: what to feed next, and what to make of the logits that come back. The
 * one way from an engine to tokens: generate.ts runs one of these, scheduler.ts many as one batch.
 */
import type { Engine, Sequence, Work } from "./engine.ts";
import { draftTokens } from "./prompt-lookup.ts";
import { PromptScores } from "./prompt-scores.ts";
import type { GeneratedToken, Writer } from "./writer.ts";

export class Slot {
  /** What the sequence is to hold; its last tokens may not have been fed. */
  private tokens: number[];
  private draft: number[] = [];
  private disposed = false;
  /** Of a token alone: the writer keeps nothing of them. */
  private readonly logits: Float32Array;

  /** @param sequence becomes the slot's; may hold the prompt's beginning, but not all of it */
  constructor(
    private readonly engine: Pick<Engine, "vocabSize" | "contextLength" | "ring">,
    readonly sequence: Sequence,
    readonly writer: Writer,
  ) {
    this.tokens = [...writer.promptIds];
    this.logits = new Float32Array(engine.vocabSize);
    writer.report.cachedTokens = sequence.length;
  }

  get finished(): boolean {
    return this.writer.report.finish !== null;
  }

  /** Tokens to be fed before the next one can be told. */
  get pending(): number {
    return this.tokens.length - this.sequence.length;
  }

  /** The tokens that the sequence holds. */
  get held(): number[] {
    return this.tokens.slice(0, this.sequence.length);
  }

  /** The next part of a batch, of up to `budget` tokens. Only a token that is alone is followed by a draft. */
  work(budget: number): Work {
    const { sequence, engine, writer } = this;
    if (sequence.length === engine.contextLength && !engine.ring) this.slide();
    const from = sequence.length;
    if (writer.promptScores && !writer.promptScores.complete) {
      const piece = PromptScores.piece(budget, engine.vocabSize);
      return { sequence, tokens: this.tokens.slice(from, from + piece), logits: "all" };
    }
    const tokens = this.tokens.slice(from, from + budget);
    if (from + tokens.length < this.tokens.length) return { sequence, tokens, logits: "none" };
    this.draft = [];
    const wanted = writer.options.draftTokens ?? 0;
    if (wanted > 0 && tokens.length === 1) {
      // No more than can be written and than the context holds: of a ring, what has slid out does not come back when a
      // draft is forgotten.
      const room = Math.min(wanted, writer.tokensLeft - 1, engine.contextLength - from - 1);
      if (room > 0) this.draft = draftTokens(writer.seen, room);
      writer.report.draftedTokens += this.draft.length;
    }
    if (this.draft.length === 0) return { sequence, tokens, logits: "last", into: this.logits };
    return { sequence, tokens: [...tokens, ...this.draft], logits: "all" };
  }

  /** What the batch gave for this slot's part: the tokens that come, none while the prompt is being read. */
  take(logits: Float32Array): GeneratedToken[] {
    const { engine, writer, draft, sequence } = this;
    const V = engine.vocabSize;
    const rows = logits.length / V;
    const made: GeneratedToken[] = [];
    let first = 0;
    const scores = writer.promptScores;
    // Each place of the prompt tells of the next token; the last place, of the first that is written.
    if (scores && rows > 0) {
      while (first < rows && !scores.complete) {
        scores.push(logits.subarray(first * V, (first + 1) * V));
        first++;
      }
      if (sequence.length < this.tokens.length || writer.endWithPrompt()) return [];
    }
    for (let row = first; row < rows; row++) {
      const read = this.tokens.length;
      const goesOn = engine.ring || writer.options.contextEnd === "slide";
      const full = goesOn ? Number.POSITIVE_INFINITY : engine.contextLength - read + 1;
      const token = writer.accept(logits.subarray(row * V, (row + 1) * V), full);
      made.push(token);
      this.tokens.push(token.id);
      if (row < draft.length && draft[row] === token.id) writer.report.acceptedTokens++;
      if (this.finished || draft[row] !== token.id) break;
    }
    // Drafted tokens that did not come are forgotten; the last that came has not been fed, or needs not have been.
    if (made.length > 0 && sequence.length > this.tokens.length - 1) sequence.truncate(this.tokens.length - 1);
    this.draft = [];
    return made;
  }

  /** For a text that nobody wants any more: forgets the drafted tokens of the pass that is over. */
  drop(): void {
    const { sequence, tokens } = this;
    if (sequence.length > tokens.length) sequence.truncate(tokens.length);
    this.draft = [];
  }

  dispose(): void {
    if (!this.disposed) this.sequence.dispose();
    this.disposed = true;
  }

  /** Makes room: forgets half of what stands behind what is kept, and reads the other half again at its new place. */
  private slide(): void {
    const { options, promptIds } = this.writer;
    const asked = options.keepTokens ?? 0;
    const most = this.engine.contextLength - 2;
    const keep = Math.max(0, Math.min(Math.max(1, asked < 0 ? promptIds.length : asked), most));
    const rest = this.tokens.length - keep;
    this.tokens = [...this.tokens.slice(0, keep), ...this.tokens.slice(keep + Math.ceil(rest / 2))];
    this.sequence.truncate(keep);
  }
}
