// Number formats of GGUF tensors. Oracles: bytes worked out by hand from the layouts in ggml-common.h (each test shows the
// sum), float16 against DataView-free arithmetic over all 65,536 codes, and the master-weight construction against the
// definition in ops/weight-quant/reference.ts. That llama.cpp itself reads what is written here is shown in test/judges/.
import fc from "fast-check";
import { expect, test } from "vitest";
import { quantizeWeights } from "../ops/weight-quant/reference.ts";
import { fromFloat16Bits, readFloat16, roundToFloat16, toFloat16Bits } from "./float16.ts";
import { codecOf, ggmlBytes, ggmlTypeId, ggmlTypeNames, ggmlTypeOf, rowMultiple } from "./ggml-types.ts";
import { decodeI2S, encodeI2S } from "./i2-s.ts";
import { masterWeightsOf, ternaryOf } from "./ternary.ts";

const one = 0x3c00; // 1 in float16
const ternaryTypes = ["TQ1_0", "TQ2_0", "Q2_0"] as const;

/** Codes 0, 1, 2 that do not repeat with any power of two. */
const someCodes = (count: number) =>
  Uint8Array.from({ length: count }, (_, i) => ((i * 7 + (i >> 3) * 5 + 1) % 31) % 3);
const filled = (bytes: number) => new Uint8Array(bytes).fill(0xee);

test("every float16 code comes back from its number, NaN as a NaN", () => {
  const wrong: number[] = [];
  for (let code = 0; code < 65536; code++) {
    const x = fromFloat16Bits(code);
    const back = toFloat16Bits(x);
    if (Number.isNaN(x) ? !Number.isNaN(fromFloat16Bits(back)) : back !== code) wrong.push(code);
  }
  expect(wrong).toEqual([]);
});

test("a number between two float16 goes to the nearer, halves to the even one", () => {
  const wrong: number[] = [];
  for (let code = 0; code < 0x7bff; code++) {
    const [a, b] = [fromFloat16Bits(code), fromFloat16Bits(code + 1)];
    const half = toFloat16Bits((a + b) / 2) === (code % 2 === 0 ? code : code + 1);
    const down = toFloat16Bits(a + (b - a) * 0.49) === code;
    const up = toFloat16Bits(-(a + (b - a) * 0.51)) === (0x8000 | (code + 1));
    if (!half || !down || !up) wrong.push(code);
  }
  expect(wrong).toEqual([]);
  expect(roundToFloat16(65519)).toBe(65504);
  expect(roundToFloat16(65520)).toBe(Number.POSITIVE_INFINITY);
  expect(roundToFloat16(2 ** -25)).toBe(0);
  expect(roundToFloat16(2 ** -25 * 1.01)).toBe(2 ** -24);
});

test("TQ2_0: element 128 h + 32 l + m is in byte 32 h + m, bits 2 l; the scale comes last", () => {
  const codes = someCodes(256);
  const bytes = filled(66);
  codecOf("TQ2_0").encodeTernary!(codes, 1, bytes);
  for (let e = 0; e < 256; e++) {
    const [h, l, m] = [Math.floor(e / 128), Math.floor((e % 128) / 32), e % 32];
    expect(Math.floor(bytes[32 * h + m] / 4 ** l) % 4, `element ${e}`).toBe(codes[e]);
  }
  expect([bytes[64], bytes[65]]).toEqual([0x00, 0x3c]);
});

test("TQ1_0: five trits a byte in three parts, stored as ceil(256 v / 243); the scale comes last", () => {
  const codes = someCodes(256);
  const bytes = filled(54);
  codecOf("TQ1_0").encodeTernary!(codes, 1, bytes);
  const trits = (places: number[]) => places.reduce((v, e) => 3 * v + (e < 0 ? 0 : codes[e]), 0);
  for (let m = 0; m < 32; m++)
    expect(bytes[m]).toBe(Math.ceil((256 * trits([m, m + 32, m + 64, m + 96, m + 128])) / 243));
  for (let m = 0; m < 16; m++)
    expect(bytes[32 + m]).toBe(Math.ceil((256 * trits([0, 16, 32, 48, 64].map((n) => 160 + m + n))) / 243));
  for (let j = 0; j < 4; j++)
    expect(bytes[48 + j]).toBe(Math.ceil((256 * trits([240 + j, 244 + j, 248 + j, 252 + j, -1])) / 243));
  expect(bytes[52] | (bytes[53] << 8)).toBe(one);
});

test("TQ1_0 holds all 243 values of five trits", () => {
  const codec = codecOf("TQ1_0");
  for (let v = 0; v < 243; v++) {
    const codes = new Uint8Array(256);
    for (let n = 0, rest = v; n < 5; n++, rest = Math.floor(rest / 3)) codes[3 + 32 * (4 - n)] = rest % 3;
    const bytes = filled(54);
    codec.encodeTernary!(codes, 1, bytes);
    const back = new Uint8Array(256);
    codec.decodeTernary!(bytes, back);
    expect(Buffer.compare(back, codes), `value ${v}`).toBe(0);
  }
});

test("Q2_0: the scale comes first, element j is in byte j / 4, bits 2 (j mod 4)", () => {
  const codes = someCodes(64);
  const bytes = filled(18);
  codecOf("Q2_0").encodeTernary!(codes, 1, bytes);
  expect(bytes[0] | (bytes[1] << 8)).toBe(one);
  for (let j = 0; j < 64; j++) expect(Math.floor(bytes[2 + Math.floor(j / 4)] / 4 ** (j % 4)) % 4).toBe(codes[j]);
});

test("I2_S: element 32 g + p of 128 is in byte p, bits 6 - 2 g; the scale follows all codes, then 28 zero bytes", () => {
  const codes = someCodes(384);
  const bytes = encodeI2S(codes, 0.37);
  expect(bytes.length).toBe(384 / 4 + 32);
  for (let e = 0; e < 384; e++) {
    const [block, g, p] = [Math.floor(e / 128), Math.floor((e % 128) / 32), e % 32];
    expect(Math.floor(bytes[32 * block + p] / 4 ** (3 - g)) % 4, `element ${e}`).toBe(codes[e]);
  }
  expect(new DataView(bytes.buffer).getFloat32(96, true)).toBe(Math.fround(0.37));
  expect([...bytes.subarray(100)]).toEqual(new Array(28).fill(0));
  expect(decodeI2S(bytes, 384)).toEqual({ codes, scale: Math.fround(0.37) });
});

test("reversing the four fields of each byte of an I2_S block of 128 gives half a TQ2_0 block", () => {
  const codes = someCodes(256);
  const tq2 = filled(66);
  codecOf("TQ2_0").encodeTernary!(codes, 1, tq2);
  const reversed = encodeI2S(codes, 1)
    .subarray(0, 64)
    .map((b) => ((b & 3) << 6) | ((b & 12) << 2) | ((b >> 2) & 12) | (b >> 6));
  expect([...reversed]).toEqual([...tq2.subarray(0, 64)]);
});

test.for(ternaryTypes)(
  "%s: codes come back, floats are (code - 1) · scale, and quantising those gives the bytes again",
  (name) => {
    const codec = codecOf(name);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 512, maxLength: 512 }), (list) => {
        const codes = Uint8Array.from(list);
        const bytes = filled(ggmlBytes(name, 512));
        codec.encodeTernary!(codes, 0.25, bytes);
        const back = new Uint8Array(512);
        codec.decodeTernary!(bytes, back);
        expect(back).toEqual(codes);
        const values = new Float32Array(512);
        codec.decode(bytes, values);
        expect(values).toEqual(Float32Array.from(codes, (code) => (code - 1) * 0.25));
        const again = filled(bytes.length);
        codec.encode!(values, again);
        expect(again).toEqual(bytes);
      }),
      { numRuns: 20 },
    );
  },
);

test("Q8_0: d = max|w| / 127 in float16, then 32 int8", () => {
  const values = Float32Array.from({ length: 32 }, (_, i) => (i - 16) * 0.5); // max 8
  const bytes = filled(34);
  codecOf("Q8_0").encode!(values, bytes);
  expect(readFloat16(bytes, 0)).toBe(roundToFloat16(8 / 127));
  // -8 is -127; 0.5 is 7.9375, so 8; 7.5 is 119.06
  expect([bytes[2], bytes[2 + 17], bytes[2 + 31], bytes[2 + 16]]).toEqual([256 - 127, 8, 119, 0]);
  const back = new Float32Array(32);
  codecOf("Q8_0").decode(bytes, back);
  for (let i = 0; i < 32; i++) expect(Math.abs(back[i] - values[i])).toBeLessThan(8 / 254 + 8 * 2 ** -11);
});

test("Q8_0 of ternary codes is exact: one unit each, the scale itself", () => {
  const codes = someCodes(64);
  const bytes = filled(68);
  codecOf("Q8_0").encodeTernary!(codes, 1, bytes);
  const back = new Float32Array(64);
  codecOf("Q8_0").decode(bytes, back);
  expect(back).toEqual(Float32Array.from(codes, (code) => code - 1));
});

test("Q4_0: low halves are elements 0 to 15, high halves 16 to 31, each less 8, times d", () => {
  const bytes = new Uint8Array(18);
  bytes[1] = 0x40; // d = 2
  for (let j = 0; j < 16; j++) bytes[2 + j] = j | ((15 - j) << 4);
  const values = new Float32Array(32);
  codecOf("Q4_0").decode(bytes, values);
  expect([...values]).toEqual(
    [...Array(16).keys()].map((j) => 2 * (j - 8)).concat([...Array(16).keys()].map((j) => 2 * (7 - j))),
  );
});

test("Q4_K and Q5_K: 6-bit scales and minima of all eight groups, halves of the bytes, fifth bits", () => {
  // Scales 1, 2, 3, 4, 17, 34, 51, 63 and minima 8, 7, 6, 5, 63, 48, 20, 1: those of groups 4 to 7 are split.
  const scales = [1, 2, 3, 4, 17, 34, 51, 63];
  const minima = [8, 7, 6, 5, 63, 48, 20, 1];
  const packed = new Uint8Array(12);
  for (let g = 0; g < 4; g++) {
    packed[g] = scales[g] | ((scales[g + 4] >> 4) << 6);
    packed[g + 4] = minima[g] | ((minima[g + 4] >> 4) << 6);
    packed[g + 8] = (scales[g + 4] & 15) | ((minima[g + 4] & 15) << 4);
  }
  const q = (e: number) => (e * 11 + (e >> 5)) % 32;
  for (const [name, quantsAt, size] of [
    ["Q4_K", 16, 144],
    ["Q5_K", 48, 176],
  ] as const) {
    const bytes = new Uint8Array(size);
    bytes.set([0x00, 0x38, 0x00, 0x34]); // d = 0.5, dmin = 0.25
    bytes.set(packed, 4);
    for (let e = 0; e < 256; e++) {
      const g = e >> 5;
      bytes[quantsAt + 32 * (g >> 1) + (e & 31)] |= (q(e) & 15) << (4 * (g & 1));
      if (name === "Q5_K") bytes[16 + (e & 31)] |= (q(e) >> 4) << g;
    }
    const values = new Float32Array(256);
    codecOf(name).decode(bytes, values);
    for (let e = 0; e < 256; e++) {
      const code = name === "Q5_K" ? q(e) : q(e) & 15;
      expect(values[e], `${name} element ${e}`).toBe(0.5 * scales[e >> 5] * code - 0.25 * minima[e >> 5]);
    }
  }
});

test("Q6_K: low four bits, high two bits and the scale of every element are where the layout has them", () => {
  const q = (e: number) => (e * 29 + (e >> 4) * 3) % 64;
  const bytes = new Uint8Array(210);
  for (let e = 0; e < 256; e++) {
    const [half, quarter, l] = [Math.floor(e / 128), Math.floor((e % 128) / 32), e % 32];
    bytes[64 * half + 32 * (quarter % 2) + l] |= (q(e) % 16) << (quarter < 2 ? 0 : 4);
    bytes[128 + 32 * half + l] |= (q(e) >> 4) << (2 * quarter);
  }
  for (let g = 0; g < 16; g++) bytes[192 + g] = 3 * g - 20;
  bytes[209] = 0x38; // d = 0.5
  const values = new Float32Array(256);
  codecOf("Q6_K").decode(bytes, values);
  for (let e = 0; e < 256; e++) expect(values[e], `element ${e}`).toBe(0.5 * (3 * (e >> 4) - 20) * (q(e) - 32));
});

test("Q6_K: what is quantised is near its source, and is found again exactly", () => {
  const codec = codecOf("Q6_K");
  const values = Float32Array.from({ length: 512 }, (_, i) => Math.sin(i * 12.9898) * Math.exp(Math.cos(i)) * 0.02);
  values.fill(0, 256, 272);
  const bytes = filled(420);
  codec.encode!(values, bytes);
  const back = new Float32Array(512);
  codec.decode(bytes, back);
  let error = 0;
  let power = 0;
  for (let i = 0; i < 512; i++) {
    error += (back[i] - values[i]) ** 2;
    power += values[i] ** 2;
  }
  // Six bits: an error of a fiftieth at most of the rms.
  expect(Math.sqrt(error / power)).toBeLessThan(0.02);
  expect([...back.subarray(256, 272)].every((x) => x === 0)).toBe(true);
});

test("formats are found by their numbers, and know the sizes of their rows", () => {
  for (const name of ggmlTypeNames) expect(ggmlTypeOf(ggmlTypeId(name))).toBe(name);
  expect(ggmlTypeOf(3)).toBeUndefined();
  const perRow = Object.fromEntries(ggmlTypeNames.map((name) => [name, [rowMultiple(name), ggmlBytes(name, 256)]]));
  expect(perRow).toEqual({
    F32: [1, 1024],
    F16: [1, 512],
    Q4_0: [32, 144],
    Q8_0: [32, 272],
    Q4_K: [256, 144],
    Q5_K: [256, 176],
    Q6_K: [256, 210],
    BF16: [1, 512],
    TQ1_0: [256, 54],
    TQ2_0: [256, 66],
    Q2_0: [64, 72],
    I2_S: [128, 96],
  });
});

test("ternary values are found with their scale; any other value among them is seen", () => {
  const values = Float32Array.of(0, 0.3, -0.3, 0, 0.3);
  expect(ternaryOf(values)).toEqual({ codes: Uint8Array.of(1, 2, 0, 1, 2), scale: Math.fround(0.3) });
  expect(ternaryOf(new Float32Array(3))).toEqual({ codes: Uint8Array.of(1, 1, 1), scale: 0 });
  for (const wrong of [0.1, Number.NaN, Number.POSITIVE_INFINITY]) {
    values[3] = wrong;
    expect(ternaryOf(values)).toBeNull();
  }
});

test("master weights are made ternary again with the same codes and, to the bit, the same scale", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 3000 }),
      fc.float({ min: Math.fround(1e-4), max: 10, noNaN: true }),
      (list, scale) => {
        const codes = Uint8Array.from(list);
        const weights = masterWeightsOf({ codes, scale });
        const [back, found] = [new Uint8Array(codes.length), new Float32Array(1)];
        quantizeWeights(weights, back, found, "clamp", 1e-5);
        expect(back).toEqual(codes);
        const count = codes.filter((code) => code !== 1).length;
        if (count > 1) expect(found[0]).toBe(scale);
        // One number alone has steps too wide for it.
        if (count === 1) expect(Math.abs(found[0] / scale - 1)).toBeLessThanOrEqual(2 ** -23);
      },
    ),
  );
});
