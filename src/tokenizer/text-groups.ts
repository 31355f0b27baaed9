/**
 * Texts gathered into groups of bytes of some size, which cross to a thread by being moved, not copied; and the results put
 * together again, text by text. Strings are copied when they are posted: for the thread that reads a corpus that was as
 * much work as encoding it.
 */
import type { EncodedGroup, TextGroup } from "./encode-worker.ts";
import { partEnd } from "./parts.ts";
import { SLACK_AFTER, SLACK_BEFORE } from "./utf8-buffer.ts";

/** Bytes of a group: some 5 ms of encoding, so that threads end together, and hundreds of times what a message costs. */
const GROUP_BYTES = 1 << 19;
/** A longer text is cut, where it may be. A part surely fits a group of its own. */
const PART_UNITS = 1 << 17;

const utf8 = new TextEncoder();

export class TextGroups {
  /** Bytes of each text so far. */
  readonly textBytes: number[] = [];
  /** Which group each text's first part lies in, and at which place. */
  private readonly groups: number[] = [];
  private readonly places: number[] = [];
  private readonly partCounts: number[] = [];
  private readonly cuts: boolean;
  private readonly send: (group: TextGroup) => void;
  private sent = 0;
  private bytes: Uint8Array<ArrayBuffer> | null = null;
  private at = SLACK_BEFORE;
  private ends: number[] = [];
  private unitsBefore: number[] = [];
  private isLast: number[] = [];

  /**
   * @param cuts  texts may be cut as parts.ts does
   * @param send  takes each group when it is full, in order
   */
  constructor(cuts: boolean, send: (group: TextGroup) => void) {
    this.cuts = cuts;
    this.send = send;
  }

  add(text: string): void {
    let start = 0;
    let parts = 0;
    let size = 0;
    do {
      const end = this.cuts ? partEnd(text, start, PART_UNITS) : text.length;
      const before = this.write(start === 0 && end === text.length ? text : text.slice(start, end));
      if (parts === 0) {
        this.groups.push(this.sent);
        this.places.push(this.ends.length);
      }
      size += this.at - before;
      this.ends.push(this.at);
      this.unitsBefore.push(start);
      this.isLast.push(end === text.length ? 1 : 0);
      parts++;
      start = end;
    } while (start < text.length);
    this.partCounts.push(parts);
    this.textBytes.push(size);
  }

  /** Sends what is left. */
  finish(): void {
    if (this.bytes === null || this.ends.length === 0) return;
    this.send({
      bytes: this.bytes,
      ends: Int32Array.from(this.ends),
      unitsBefore: Int32Array.from(this.unitsBefore),
      isLast: Uint8Array.from(this.isLast),
    });
    this.sent++;
    this.bytes = null;
    this.ends = [];
    this.unitsBefore = [];
    this.isLast = [];
  }

  /** The tokens of each text, from the results of all groups. */
  join(results: readonly EncodedGroup[]): Int32Array[] {
    return this.partCounts.map((count, text) => {
      let [group, place] = [this.groups[text], this.places[text]];
      const parts: Int32Array[] = [];
      for (let k = 0; k < count; k++, place++) {
        if (place === results[group].ends.length) {
          group++;
          place = 0;
        }
        const { ids, ends } = results[group];
        parts.push(ids.subarray(place > 0 ? ends[place - 1] : 0, ends[place]));
      }
      return parts.length === 1 ? parts[0] : concatenated(parts);
    });
  }

  /** Writes text behind what there is, in a new group where it does not fit. Returns where it begins. */
  private write(text: string): number {
    if (this.bytes !== null) {
      const room = this.bytes.subarray(this.at, this.bytes.length - SLACK_AFTER);
      const { read, written } = text.length <= room.length ? utf8.encodeInto(text, room) : { read: -1, written: 0 };
      if (read === text.length) {
        this.at += written;
        return this.at - written;
      }
      this.finish();
    }
    const whole = text.length * 3 > GROUP_BYTES ? utf8.encode(text) : null;
    this.bytes = new Uint8Array(SLACK_BEFORE + Math.max(whole?.length ?? 0, GROUP_BYTES) + SLACK_AFTER);
    const body = this.bytes.subarray(SLACK_BEFORE);
    if (whole) body.set(whole);
    this.at = SLACK_BEFORE + (whole?.length ?? utf8.encodeInto(text, body).written);
    return SLACK_BEFORE;
  }
}

function concatenated(parts: readonly Int32Array[]): Int32Array {
  const whole = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
