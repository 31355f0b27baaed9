/**
 * An engine whose logits are a function of the tokens before them, and which keeps no keys: what generation does can be
 * told from what was fed, and sequences are held to the contract of src/infer/engine.ts.
 */
import { checkBatch, checkLength, type Engine, type Sequence, type Work } from "../../src/infer/engine.ts";

export interface ScriptedEngine extends Engine {
  /** The tokens of each part of each pass, in order. */
  readonly fed: number[][];
  /** The same by passes. */
  readonly passes: number[][][];
  /** Sequences that are not disposed of. */
  open(): number;
}

class Scripted implements Sequence {
  tokens: number[] = [];
  disposed = false;
  constructor(private readonly born: (sequence: Scripted) => void) {
    born(this);
  }
  get length() {
    return this.tokens.length;
  }
  truncate(length: number) {
    this.alive();
    checkLength(length, this.tokens.length);
    this.tokens.length = length;
  }
  fork() {
    this.alive();
    const copy = new Scripted(this.born);
    copy.tokens = [...this.tokens];
    return copy;
  }
  dispose() {
    this.disposed = true;
  }
  alive() {
    if (this.disposed) throw new Error("a sequence is used after it was disposed of");
  }
}

/** @param logitsOf fills the logits behind these tokens; `out` is zeros. May be asked amid a pass: to wait, or to fail */
export function createScriptedEngine(
  vocabSize: number,
  contextLength: number,
  logitsOf: (tokens: readonly number[], out: Float32Array) => void,
  during: (batch: readonly Work[]) => Promise<void> | void = () => {},
): ScriptedEngine {
  const made: Scripted[] = [];
  const fed: number[][] = [];
  const passes: number[][][] = [];
  const engine: ScriptedEngine = {
    vocabSize,
    contextLength,
    fed,
    passes,
    open: () => made.filter(({ disposed }) => !disposed).length,
    createSequence: () => new Scripted((sequence) => made.push(sequence)),
    async forward(batch) {
      checkBatch(engine, batch);
      await during(batch);
      passes.push(batch.map(({ tokens }) => Array.from(tokens)));
      return batch.map(({ sequence, tokens, logits }) => {
        const own = sequence as Scripted;
        own.alive();
        fed.push(Array.from(tokens));
        const rows: Float32Array[] = [];
        for (let i = 0; i < tokens.length; i++) {
          own.tokens.push(tokens[i]);
          if (logits === "none" || (logits === "last" && i < tokens.length - 1)) continue;
          const row = new Float32Array(vocabSize);
          logitsOf(own.tokens, row);
          rows.push(row);
        }
        const all = new Float32Array(rows.length * vocabSize);
        for (const [i, row] of rows.entries()) all.set(row, i * vocabSize);
        return all;
      });
    },
    dispose() {
      for (const sequence of made) sequence.dispose();
    },
  };
  return engine;
}
