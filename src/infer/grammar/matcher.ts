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
  closure: { places: readonly Place[]; ends: boolean } | null;
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

/** What is kept is forgotten past so many states: bounds memory over long texts, and costs only time. */
const maxStates = 20_000;
/** Places in one state: past these the grammar says the same thing in too many ways. */
const maxPlaces = 10_000;

export class Matcher {
  readonly start: MatcherState;
  private readonly ids = new Map<ElementSequence, number>();
  private readonly sequencesById: ElementSequence[] = [];
  private places = new Map<string, Place>();
  private states = new Map<string, State>();
  private keys = 0;

  constructor(private readonly grammar: ByteGrammar) {
    for (const alternatives of grammar.rules)
      for (const sequence of alternatives) this.ids.set(sequence, this.sequencesById.push(sequence) - 1);
    const found: Place[] = [];
    let ends = false;
    for (const sequence of grammar.rules[0]) {
      const closure = this.closureOf(this.place(sequence, 0, 0, null));
      found.push(...closure.places);
      ends ||= closure.ends;
    }
    this.start = this.state(found, ends);
  }

  /** The state after one more byte; null where the grammar has no text that goes on so. */
  next(state: MatcherState, byte: number): MatcherState | null {
    const from = state as State;
    const known = from.next[byte];
    if (known !== undefined) return known;
    const found: Place[] = [];
    let ends = false;
    for (const place of from.places) {
      const element = place.sequence.elements[place.at];
      if (element.kind !== "bytes" || element.set[byte] === 0) continue;
      const closure = this.closureOf(this.place(place.sequence, place.at + 1, 0, place.parent));
      for (const reached of closure.places) found.push(reached);
      ends ||= closure.ends;
    }
    const to = found.length === 0 && !ends ? null : this.state(found, ends);
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
    const made: Place = { key: this.keys++, sequence, at, count, parent, least, closure: null };
    this.places.set(key, made);
    return made;
  }

  /** The places before bytes that can be come to from here without a byte, and whether the text's end can. */
  private closureOf(from: Place | null): { places: readonly Place[]; ends: boolean } {
    if (from === null) return { places: [], ends: true };
    if (from.closure) return from.closure;
    const places: Place[] = [];
    let ends = false;
    const seen = new Set<Place>();
    const waiting: Place[] = [];
    const reach = (place: Place | null) => {
      if (place === null) ends = true;
      else if (!seen.has(place)) {
        seen.add(place);
        waiting.push(place);
      }
    };
    reach(from);
    for (let place = waiting.pop(); place; place = waiting.pop()) {
      const { sequence, at, count, parent } = place;
      const element = sequence.elements[at];
      if (element.kind === "bytes") {
        places.push(place);
        continue;
      }
      const behind = this.place(sequence, at + 1, 0, parent);
      if (count >= element.min) reach(behind);
      if (count >= element.max) continue;
      const counted = element.max === Number.POSITIVE_INFINITY ? Math.min(count + 1, element.min) : count + 1;
      const again = counted === element.max ? behind : this.place(sequence, at, counted, parent);
      for (const alternative of this.grammar.rules[element.rule]) reach(this.place(alternative, 0, 0, again));
      if (seen.size > maxPlaces)
        throw new DataError(
          `grammar: a text can be read in more than ${maxPlaces} ways at once; write the grammar with fewer alternatives that match the same`,
        );
    }
    from.closure = { places, ends };
    return from.closure;
  }

  private state(found: readonly Place[], ends: boolean): State {
    const places = [...new Set(found)].sort((a, b) => a.key - b.key);
    if (places.length > maxPlaces)
      throw new DataError(
        `grammar: a text can be read in more than ${maxPlaces} ways at once; write the grammar with fewer alternatives that match the same`,
      );
    const key = `${ends ? "." : ""}${places.map((place) => place.key).join()}`;
    const known = this.states.get(key);
    if (known) return known;
    if (this.states.size >= maxStates) this.forget();
    const made = new State(places, ends);
    this.states.set(key, made);
    return made;
  }

  /** States and places in use stay good: only what would be found again is dropped. */
  private forget(): void {
    for (const state of this.states.values()) state.next.length = 0;
    this.states = new Map();
    this.places = new Map();
  }
}
