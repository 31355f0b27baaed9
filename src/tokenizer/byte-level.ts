/**
 * Byte-level BPE, the fast path: GPT-2's and LLaMA-3's tokenizers, and the ones trained here. Pre-tokens are cut by a
 * hand-written scanner and looked up in a cache; only a new one is merged, over bytes.
 *
 * Equal, token for token, to @huggingface/tokenizers on the same file (byte-level.test.ts), except in the white space
 * that docs/tokenizers.md names, where we do as the original Rust library does.
 */
import { FormatError } from "../platform/errors.ts";
import { bytesToToken, byteToChar, tokenToBytes } from "./byte-alphabet.ts";
import { MAX_MERGES, MergeTable } from "./merge-table.ts";
import { PretokenCache } from "./pretoken-cache.ts";
import { GPT2_PATTERN, LLAMA3_PATTERN, type PretokenScanner, scanGpt2, scanLlama3 } from "./pretokenize.ts";
import { type DecodeOptions, type IdBuffer, TokenizerBase, type TokenizerRoles, type Vocabulary } from "./tokenizer.ts";
import { type Component, isObject, mergeSides, type TokenizerJson, textAround } from "./tokenizer-json.ts";

export class ByteLevelTokenizer extends TokenizerBase {
  readonly engine = "byte-level";
  private readonly scan: PretokenScanner;
  private readonly merges: MergeTable;
  private readonly ignoreMerges: boolean;
  private readonly idOfByte: Int32Array;
  private readonly bytesOfId: readonly (Uint8Array | undefined)[];
  private readonly cache = new PretokenCache();
  private scratch = new Int32Array(256);
  private bytes = new Uint8Array(256);
  private readonly compute = (text: string, start: number, end: number, out: IdBuffer) =>
    this.encodePretoken(text, start, end, out);

  /** @param plan  from planByteLevel: that the file is of this kind has been found out there */
  constructor(json: TokenizerJson, roles: TokenizerRoles, plan: ByteLevelPlan) {
    super(json, roles, plan);
    this.scan = plan.scan;
    this.ignoreMerges = json.model.ignore_merges === true;
    this.merges = mergeTableOf(json, this.ids, roles.name);
    this.idOfByte = Int32Array.from(byteToChar, (char) => this.ids.get(char)!);
    const utf8 = new TextEncoder();
    this.bytesOfId = this.tokens.map((token) =>
      token === undefined ? undefined : this.added.has(token) ? utf8.encode(token) : tokenToBytes(token)!,
    );
  }

  protected encodeSection(text: string, start: number, end: number, out: IdBuffer): void {
    const { scan, cache, compute } = this;
    while (start < end) {
      const stop = scan(text, start, end);
      cache.encode(text, start, stop, out, compute);
      start = stop;
    }
  }

  private encodePretoken(text: string, start: number, end: number, out: IdBuffer): void {
    const room = (end - start) * 3;
    if (room > this.bytes.length) {
      this.bytes = new Uint8Array(room);
      this.scratch = new Int32Array(room);
    }
    const { bytes, scratch } = this;
    const count = utf8Into(text, start, end, bytes);
    if (this.ignoreMerges) {
      const whole = this.ids.get(bytesToToken(bytes.subarray(0, count)));
      if (whole !== undefined) {
        out.push(whole);
        return;
      }
    }
    for (let i = 0; i < count; i++) scratch[i] = this.idOfByte[bytes[i]];
    const length = this.merges.apply(scratch, count);
    out.reserve(length);
    out.ids.set(scratch.subarray(0, length), out.length);
    out.length += length;
  }

  protected plainBytesOf(id: number): Uint8Array | null {
    return this.bytesOfId[id] ?? null;
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.decodeBytes(ids, options));
  }

  /** The bytes that the tokens stand for, which a token may begin or end amid a character. */
  decodeBytes(ids: ArrayLike<number>, { skipSpecialTokens = false }: DecodeOptions = {}): Uint8Array {
    let length = 0;
    const pieces: Uint8Array[] = [];
    for (let i = 0; i < ids.length; i++) {
      const piece = this.bytesOfId[ids[i]];
      if (piece === undefined) throw this.unknownId(ids[i], i);
      if (skipSpecialTokens && this.specialTokens.get(this.tokens[ids[i]]!) === ids[i]) continue;
      pieces.push(piece);
      length += piece.length;
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }
}

/** Writes text[start, end) as UTF-8; a lone surrogate as U+FFFD. Returns the bytes written, at most 3 for each unit. */
export function utf8Into(text: string, start: number, end: number, bytes: Uint8Array): number {
  let at = 0;
  for (let i = start; i < end; i++) {
    let c = text.charCodeAt(i);
    if (c < 0x80) {
      bytes[at++] = c;
      continue;
    }
    if (c < 0x800) {
      bytes[at++] = 0xc0 | (c >> 6);
      bytes[at++] = 0x80 | (c & 0x3f);
      continue;
    }
    if ((c & 0xf800) === 0xd800) {
      const low = c < 0xdc00 && i + 1 < end ? text.charCodeAt(i + 1) : 0;
      if ((low & 0xfc00) === 0xdc00) {
        c = ((c - 0xd800) << 10) + (low - 0xdc00) + 0x10000;
        i++;
        bytes[at++] = 0xf0 | (c >> 18);
        bytes[at++] = 0x80 | ((c >> 12) & 0x3f);
        bytes[at++] = 0x80 | ((c >> 6) & 0x3f);
        bytes[at++] = 0x80 | (c & 0x3f);
        continue;
      }
      c = 0xfffd;
    }
    bytes[at++] = 0xe0 | (c >> 12);
    bytes[at++] = 0x80 | ((c >> 6) & 0x3f);
    bytes[at++] = 0x80 | (c & 0x3f);
  }
  return at;
}

/** The file's merges as ids. @throws FormatError for a merge of, or into, something that is no token */
export function mergeTableOf(json: TokenizerJson, ids: ReadonlyMap<string, number>, where: string): MergeTable {
  const merges = json.model.merges ?? [];
  if (merges.length > MAX_MERGES)
    throw new FormatError(`${where}: has ${merges.length} merges; at most ${MAX_MERGES} are expected`);
  const left = new Int32Array(merges.length);
  const right = new Int32Array(merges.length);
  const merged = new Int32Array(merges.length);
  const id = (token: string, rank: number) => {
    const found = ids.get(token);
    if (found === undefined)
      throw new FormatError(
        `${where}: merge ${rank} (${JSON.stringify(merges[rank])}) needs the token ${JSON.stringify(token)}, which the vocabulary lacks`,
      );
    return found;
  };
  for (const [rank, merge] of merges.entries()) {
    const [l, r] = mergeSides(merge, where);
    left[rank] = id(l, rank);
    right[rank] = id(r, rank);
    merged[rank] = id(l + r, rank);
  }
  return new MergeTable(left, right, merged);
}

export interface ByteLevelPlan extends Vocabulary {
  scan: PretokenScanner;
}

/** How this engine runs the file, or why it cannot (a reason for people; the library runs it then). */
export function planByteLevel(json: TokenizerJson, ids: ReadonlyMap<string, number>): ByteLevelPlan | string {
  const { model } = json;
  if (model.type !== "BPE" || !isObject(model.vocab)) return "the model is not BPE";
  if (json.normalizer !== null) return "it has a normalizer";
  if (model.dropout || model.continuing_subword_prefix || model.end_of_word_suffix) return "it marks or drops subwords";
  if (model.byte_fallback) return "it falls back to byte tokens";
  if (json.decoder?.type !== "ByteLevel") return "the decoder is not ByteLevel";
  const scan = scannerOf(json.pre_tokenizer);
  if (!scan) return "the pre-tokenizer is neither GPT-2's nor LLaMA-3's";
  if (json.added_tokens.some((t) => t.lstrip || t.rstrip || t.single_word)) return "an added token strips or is a word";
  const around = textAround(json);
  if (!around) return "the post-processor is no simple template";
  const added = new Set(json.added_tokens.map((t) => t.content));
  for (const token of ids.keys())
    if (!added.has(token) && tokenToBytes(token) === null) return "a token is not made of bytes";
  if (!byteToChar.every((char) => ids.has(char) && !added.has(char))) return "some bytes have no token";
  return { ids, scan, ...around };
}

/** The scanner of a pre-tokenizer: ByteLevel alone (GPT-2's pattern), or Split by a known pattern, then ByteLevel. */
function scannerOf(component: Component | null): PretokenScanner | null {
  if (component === null) return null;
  if (component.type === "ByteLevel")
    return component.add_prefix_space === true || component.use_regex === false ? null : scanGpt2;
  const steps = component.pretokenizers;
  if (component.type !== "Sequence" || !Array.isArray(steps) || steps.length !== 2) return null;
  const [split, bytes] = steps as Component[];
  if (bytes.type !== "ByteLevel" || bytes.add_prefix_space === true || bytes.use_regex !== false) return null;
  if (split.type !== "Split" || split.behavior !== "Isolated" || split.invert === true || !isObject(split.pattern))
    return null;
  if (split.pattern.Regex === GPT2_PATTERN) return scanGpt2;
  return split.pattern.Regex === LLAMA3_PATTERN ? scanLlama3 : null;
}
