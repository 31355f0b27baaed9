/**
 * Runs a byte grammar byte by byte. A state is the set of all places of the grammar that a text may have come to, each
 * with what follows once its rule ends (a stack, shared between places); a step is found once and kept, so that matching
 * becomes walking an automaton that grows as it is used. Knows no tokens: token-mask.ts walks a vocabulary with it.
 */
import { DataError } from "../../platform/errors.ts";
import type { ByteGrammar, ElementSequence } from "./byte-grammar.ts";

/** A place in a sequence of elements, and where to go on behind it; null is the text's end. */
interface Place {
  readonly key: number;
  readonly sequence: ElementSequence;
  readonly at: number;
  /** How often the element at `at` has been matched; counted only as far as it matters. */
  readonly count: number;
  readonly parent: Place | null;
  /** Bytes to the text's end at least. */
  readonly least: number;
}

export interface MatcherState {
  /** Bytes to the text's end at least; 0 where the text may end here. */
  readonly least: number;
  readonly accepts: boolean;
  /** The text may end, and cannot go on. */
  readonly complete: boolean;
}

class State implements MatcherState {
  readonly next: (State | null | undefined)[] = [];
  readonly least: number;

  constructor(
    /** Each before an element of bytes. */
    readonly places: readonly Place[],
    readonly accepts: boolean,
  ) {
    this.least = accepts ? 0 : Math.min(...places.map((place) => place.least));
  }

  get complete(): boolean {
    return this.accepts && this.places.length === 0;
  }
}

/**
 * What is kept is forgotten past so many places in states: bounds memory over long texts, and costs only time. A state
 * counts as 64 places more: its 256 steps take 2 kB.
 */
const maxKept = 300_000;
const stateOverhead = 64;
/** Places in one state: past these the grammar says the same thing in too many ways. */
const maxPlaces = 10_000;

export class Matcher {
  readonly start: MatcherState;
  private readonly ids = new Map<ElementSequence, number>();
  private readonly sequencesById: ElementSequence[] = [];
  private places = new Map<string, Place>();
  private states = new Map<string, State>();
  private keys = 0;
  private kept = 0;
  /** Places looked at so far, where a step was not known: what a limit on work goes by. */
  work = 0;

  constructor(private readonly grammar: ByteGrammar) {
    for (const alternatives of grammar.rules)
      for (const sequence of alternatives) this.ids.set(sequence, this.sequencesById.push(sequence) - 1);
    this.start = this.reach(grammar.rules[0].map((sequence) => this.place(sequence, 0, 0, null)))!;
  }

  /** The state after one more byte; null where the grammar has no text that goes on so. */
  next(state: MatcherState, byte: number): MatcherState | null {
    const from = state as State;
    const known = from.next[byte];
    if (known !== undefined) return known;
    const behind: (Place | null)[] = [];
    this.work += from.places.length;
    for (const place of from.places) {
      const element = place.sequence.elements[place.at];
      if (element.kind === "bytes" && element.set[byte] === 1)
        behind.push(this.place(place.sequence, place.at + 1, 0, place.parent));
    }
    const to = this.reach(behind);
    from.next[byte] = to;
    return to;
  }

  /** A place; behind a sequence's last element it is the parent itself, so that stacks are as deep as texts are nested. */
  private place(sequence: ElementSequence, at: number, count: number, parent: Place | null): Place | null {
    if (at === sequence.elements.length) return parent;
    const key = `${this.ids.get(sequence)},${at},${count},${parent?.key ?? ""}`;
    const known = this.places.get(key);
    if (known) return known;
    const element = sequence.elements[at];
    const done = element.kind === "rule" ? Math.min(count, element.min) : 0;
    const doneBytes = done > 0 && element.kind === "rule" ? done * this.grammar.least[element.rule] : 0;
    const least = sequence.least[at] - doneBytes + (parent?.least ?? 0);
    const made: Place = { key: this.keys++, sequence, at, count, parent, least };
    this.places.set(key, made);
    return made;
  }

  /** The state of all places before bytes that can be come to from these without a byte; null stands for the text's end. */
  private reach(from: readonly (Place | null)[]): State | null {
    const places: Place[] = [];
    let ends = false;
    const seen = new Set<Place>();
    const waiting: Place[] = [];
    const visit = (place: Place | null) => {
      if (place === null) ends = true;
      else if (!seen.has(place)) {
        seen.add(place);
        waiting.push(place);
      }
    };
    for (const place of from) visit(place);
    for (let place = waiting.pop(); place; place = waiting.pop()) {
      if (seen.size > maxPlaces)
        throw new DataError(
          `grammar: a text can be read in more than ${maxPlaces} ways at once; write the grammar with fewer alternatives that begin alike`,
        );
      const { sequence, at, count, parent } = place;
      const element = sequence.elements[at];
      if (element.kind === "bytes") {
        places.push(place);
        continue;
      }
      const behind = this.place(sequence, at + 1, 0, parent);
      if (count >= element.min) visit(behind);
      if (count >= element.max) continue;
      const counted = element.max === Number.POSITIVE_INFINITY ? Math.min(count + 1, element.min) : count + 1;
      const again = counted === element.max ? behind : this.place(sequence, at, counted, parent);
      for (const alternative of this.grammar.rules[element.rule]) visit(this.place(alternative, 0, 0, again));
    }
    this.work += seen.size;
    return places.length === 0 && !ends ? null : this.state(places, ends);
  }

  private state(found: readonly Place[], ends: boolean): State {
    const places = [...found].sort((a, b) => a.key - b.key);
    const key = `${ends ? "." : ""}${places.map((place) => place.key).join()}`;
    const known = this.states.get(key);
    if (known) return known;
    this.kept += places.length + stateOverhead;
    if (this.kept > maxKept || this.places.size > maxKept) this.forget();
    const made = new State(places, ends);
    this.states.set(key, made);
    return made;
  }

  /** States and places in use stay good: only what would be found again is dropped. */
  private forget(): void {
    for (const state of this.states.values()) state.next.length = 0;
    this.states = new Map();
    this.places = new Map();
    this.kept = 0;
  }
}
