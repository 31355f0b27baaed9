// Oracle: gradients worked out by hand for small expressions of add and embedding; memory counted by the backend.
import { describe, expect, test } from "vitest";
import { createReferenceBackend } from "../backends/reference.ts";
import { accumulate, add, copy } from "../ops/add/index.ts";
import { crossEntropy } from "../ops/cross-entropy/index.ts";
import { embedding } from "../ops/embedding/index.ts";
import type { Op } from "../ops/op.ts";
import { rmsNorm } from "../ops/rms-norm/index.ts";
import { weightedSum } from "../ops/weighted-sum/index.ts";
import { zLoss } from "../ops/z-loss/index.ts";
import { Parameter, Runtime, Tensor } from "./index.ts";

function setUp() {
  const backend = createReferenceBackend();
  const runtime = new Runtime(backend);
  const parameter = (name: string, shape: number[], values: number[]) => {
    const plain = runtime.upload(shape, "f32", Float32Array.from(values));
    return new Parameter(name, "linear", new Tensor(shape, "f32", plain.storage, true));
  };
  return { backend, runtime, parameter };
}

describe("scopes", () => {
  test("free what was made in them, save what is returned", () => {
    const { backend, runtime } = setUp();
    const kept = runtime.scope(() => {
      const a = runtime.upload([4], "f32", new Float32Array(4));
      const b = runtime.upload([4], "f32", new Float32Array(4));
      runtime.apply(add, [a, b], {});
      return runtime.apply(add, [a, b], {});
    });
    expect(backend.stats.liveBytes).toBe(16);
    kept.dispose();
    expect(backend.stats.liveBytes).toBe(0);
  });

  test("pass a returned tensor to the scope around", () => {
    const { backend, runtime } = setUp();
    runtime.scope(() => {
      runtime.scope(() => runtime.empty([4]));
      expect(backend.stats.liveBytes).toBe(16);
      return undefined;
    });
    expect(backend.stats.liveBytes).toBe(0);
  });

  test("free everything when the body throws", () => {
    const { backend, runtime } = setUp();
    expect(() =>
      runtime.scope(() => {
        runtime.empty([4]);
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(backend.stats.liveBytes).toBe(0);
  });

  test("a second dispose is an error, not a corrupted free list", () => {
    const { runtime } = setUp();
    const tensor = runtime.empty([1]);
    tensor.dispose();
    expect(() => tensor.dispose()).toThrow("released twice");
  });
});

describe("gradient", () => {
  test("sums over every use of a tensor: d(x + (x + y)) = 2 for x, 1 for y", async () => {
    const { runtime, parameter } = setUp();
    const [x, y] = [parameter("x", [1], [3]), parameter("y", [1], [4])];
    const loss = runtime.gradient(() =>
      runtime.apply(add, [x.tensor, runtime.apply(add, [x.tensor, y.tensor], {})], {}),
    );
    expect([...(await runtime.read(loss))]).toEqual([10]);
    expect([...(await runtime.read(x.gradient))]).toEqual([2]);
    expect([...(await runtime.read(y.gradient))]).toEqual([1]);
  });

  test("adds to the gradient of the call before until it is cleared, and scales by the seed", async () => {
    const { runtime, parameter } = setUp();
    const x = parameter("x", [1], [3]);
    const step = (seed: number) => runtime.gradient(() => runtime.apply(add, [x.tensor, x.tensor], {}), seed).dispose();
    step(1);
    step(0.25);
    expect([...(await runtime.read(x.gradient))]).toEqual([2.5]);
    x.clearGradient();
    step(1);
    expect([...(await runtime.read(x.gradient))]).toEqual([2]);
  });

  test("does not write into a gradient that another branch still reads (a residual)", async () => {
    const { runtime, parameter } = setUp();
    // loss = a + norm(norm(a)) + a with one-wide rows: the norms' gradients come to a after add's was passed through,
    // and norm(x) = x / sqrt(x² + 1) has the derivative (x² + 1)^(-3/2).
    const a = parameter("a", [1, 1], [0.5]);
    const gain = parameter("gain", [1], [1]);
    const norm = (x: Tensor) => runtime.apply(rmsNorm, [x, gain.tensor], { eps: 1 });
    const table = runtime.upload([1], "i32", new Int32Array([0]));
    const loss = runtime.gradient(() => {
      const h = runtime.apply(embedding, [table, a.tensor], {});
      const inner = runtime.apply(add, [h, norm(norm(h))], {});
      return runtime.apply(add, [inner, h], {});
    });
    const n = (x: number) => x / Math.sqrt(x * x + 1);
    const dn = (x: number) => (x * x + 1) ** -1.5;
    expect((await runtime.readFloats(loss))[0]).toBeCloseTo(1 + n(n(0.5)), 6);
    expect((await runtime.readFloats(a.gradient))[0]).toBeCloseTo(2 + dn(n(0.5)) * dn(0.5), 6);
  });

  test("is the same through a checkpoint, which keeps less while the forward runs", async () => {
    const { backend, runtime, parameter } = setUp();
    const gain = parameter("gain", [1], [1.5]);
    const a = parameter("a", [1, 1], [0.5]);
    const ids = runtime.upload([1], "i32", new Int32Array([0]));
    const run = async (recompute: boolean) => {
      let live = 0;
      const body = ([x]: readonly Tensor[]) => {
        let y = x;
        for (let i = 0; i < 4; i++) y = runtime.apply(rmsNorm, [y, gain.tensor], { eps: 1 });
        return y;
      };
      const loss = runtime.gradient(() => {
        const h = runtime.apply(embedding, [ids, a.tensor], {});
        const y = runtime.scope(() => (recompute ? runtime.checkpoint(body, [h]) : body([h])));
        live = backend.stats.liveBytes;
        return runtime.apply(add, [y, h], {});
      });
      const values = [loss, a.gradient, gain.gradient].map((t) => runtime.readFloats(t));
      const result = (await Promise.all(values)).map((v) => v[0]);
      loss.dispose();
      for (const p of [a, gain]) p.clearGradient();
      return { result, live };
    };
    const plain = await run(false);
    const checkpointed = await run(true);
    expect(checkpointed.result).toEqual(plain.result);
    expect(checkpointed.live).toBeLessThan(plain.live);
  });

  test("frees everything it made, and leaves gradients and the loss alone", async () => {
    const { backend, runtime, parameter } = setUp();
    const x = parameter("x", [1], [3]);
    runtime.gradient(() => runtime.apply(add, [x.tensor, x.tensor], {})).dispose();
    expect(backend.stats.liveBytes).toBe(8); // x and its gradient
  });

  test("frees everything when the body throws, and can be called again", () => {
    const { backend, runtime, parameter } = setUp();
    const x = parameter("x", [1], [3]);
    expect(() =>
      runtime.gradient(() => {
        runtime.apply(add, [x.tensor, x.tensor], {});
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(backend.stats.liveBytes).toBe(4);
    runtime.gradient(() => runtime.apply(add, [x.tensor, x.tensor], {})).dispose();
  });

  test("refuses a loss that is not one number", () => {
    const { runtime, parameter } = setUp();
    const x = parameter("x", [2], [3, 4]);
    expect(() => runtime.gradient(() => runtime.apply(add, [x.tensor, x.tensor], {}))).toThrow(
      "the loss is [2]; expected one number",
    );
  });
});

/** Forward the identity on the input's own memory; backward three times the gradient: as an estimator is written. */
const tripled: Op = {
  name: "tripled",
  forward: (_cx, [x]) => ({ outputs: [x], saved: [] }),
  backward(cx, _saved, [dy]) {
    const dx = dy && cx.gradient(0);
    if (!dx) return;
    for (let i = 0; i < 3; i++) {
      if (i === 0 && dx.accumulate === 0) copy(cx, dx.array, dy);
      else accumulate(cx, dx.array, dy);
    }
  },
};

describe("an op that returns its input", () => {
  test("shares the memory, and its backward stands between the two gradients", async () => {
    const { backend, runtime, parameter } = setUp();
    const x = parameter("x", [1], [3]);
    const loss = runtime.gradient(() => {
      const y = runtime.apply(tripled, [x.tensor], {});
      expect(y.buffer).toBe(x.tensor.buffer);
      expect(y.id).not.toBe(x.tensor.id);
      return runtime.apply(add, [y, x.tensor], {});
    });
    expect([...(await runtime.read(loss))]).toEqual([6]);
    expect([...(await runtime.read(x.gradient))]).toEqual([4]);
    loss.dispose();
    expect(backend.stats.liveBytes).toBe(8);
  });
});

describe("withoutGradient", () => {
  test("gives a constant inside gradient()", async () => {
    const { backend, runtime, parameter } = setUp();
    const x = parameter("x", [1], [3]);
    const loss = runtime.gradient(() => {
      const constant = runtime.withoutGradient(() => runtime.apply(add, [x.tensor, x.tensor], {}));
      return runtime.apply(add, [x.tensor, constant], {});
    });
    expect([...(await runtime.read(loss))]).toEqual([9]);
    expect([...(await runtime.read(x.gradient))]).toEqual([1]);
    loss.dispose();
    expect(backend.stats.liveBytes).toBe(8);
  });

  test("records again behind it, also when its body throws, and inside a checkpoint both times", async () => {
    const { runtime, parameter } = setUp();
    const x = parameter("x", [1], [3]);
    const body = ([h]: readonly Tensor[]) => {
      const constant = runtime.withoutGradient(() => runtime.apply(add, [h, h], {}));
      return runtime.apply(add, [h, constant], {});
    };
    runtime
      .gradient(() => {
        expect(() =>
          runtime.withoutGradient(() => {
            throw new Error("no");
          }),
        ).toThrow("no");
        return runtime.checkpoint(body, [runtime.apply(add, [x.tensor, x.tensor], {})]);
      })
      .dispose();
    expect([...(await runtime.read(x.gradient))]).toEqual([2]);
  });
});

describe("observe", () => {
  test("sees every op with what it read and made, says which are computed again, and stops when asked", () => {
    const { runtime, parameter } = setUp();
    const x = parameter("x", [1], [3]);
    const seen: [string, boolean, number][] = [];
    const stop = runtime.observe(({ op, inputs, outputs, recomputed }) =>
      seen.push([op, recomputed, inputs.length + outputs.length]),
    );
    const pass = () =>
      runtime
        .gradient(() =>
          runtime.checkpoint(([h]) => runtime.apply(add, [h, h], {}), [runtime.apply(tripled, [x.tensor], {})]),
        )
        .dispose();
    pass();
    expect(seen).toEqual([
      ["tripled", false, 2],
      ["add", false, 3],
      ["add", true, 3],
    ]);
    stop();
    pass();
    expect(seen).toHaveLength(3);
  });
});

describe("a frozen parameter", () => {
  test("gets no gradient, and no memory for one; what is behind it still does", async () => {
    const { backend, runtime, parameter } = setUp();
    const [x, y] = [parameter("x", [1], [3]), parameter("y", [1], [4])];
    const step = () =>
      runtime
        .gradient(() => runtime.apply(add, [x.tensor, runtime.apply(add, [x.tensor, y.tensor], {})], {}))
        .dispose();
    step();
    expect(backend.stats.liveBytes).toBe(16);
    x.setFrozen(true);
    y.clearGradient();
    expect(backend.stats.liveBytes).toBe(12);
    step();
    expect(x.hasGradient).toBe(false);
    expect(backend.stats.liveBytes).toBe(12);
    expect([...(await runtime.read(y.gradient))]).toEqual([1]);
    x.setFrozen(false);
    step();
    expect([...(await runtime.read(x.gradient))]).toEqual([2]);
  });

  test("a loss of frozen parameters alone has a value and no gradient", async () => {
    const { backend, runtime, parameter } = setUp();
    const x = parameter("x", [1], [3]);
    x.setFrozen(true);
    const loss = runtime.gradient(() => runtime.apply(add, [x.tensor, x.tensor], {}));
    expect([...(await runtime.read(loss))]).toEqual([6]);
    loss.dispose();
    expect(backend.stats.liveBytes).toBe(4);
  });
});

// Oracle: PyTorch's rule that a backward sees the values that forward saw; each loss's gradient alone, added up.
test.for([
  ["before", [zLoss, crossEntropy]],
  ["behind", [crossEntropy, zLoss]],
] as const)("a second loss recorded %s cross entropy, on the same logits, gets its own gradient", async ([, order]) => {
  const { backend, runtime, parameter } = setUp();
  const x = parameter("x", [2, 3], [0.5, -1, 2, 0, 0.25, 1]);
  const targets = runtime.upload([2], "i32", Int32Array.from([2, 0]));
  const gradientOf = async (ops: readonly Op[]) => {
    runtime
      .gradient(() =>
        runtime.scope(() => {
          const logits = runtime.apply(add, [x.tensor, x.tensor], {});
          const [first, second] = ops.map((op) => runtime.applyAll(op, [logits, targets], {})[0]);
          return second ? runtime.apply(weightedSum, [first, second], { weights: [1, 1] }) : first;
        }),
      )
      .dispose();
    const found = await runtime.readFloats(x.gradient);
    x.clearGradient();
    return found;
  };
  const alone = [await gradientOf([crossEntropy]), await gradientOf([zLoss])];
  const together = await gradientOf(order);
  for (const [i, value] of together.entries()) expect(value).toBeCloseTo(alone[0][i] + alone[1][i], 6);
  expect(backend.stats.liveBytes).toBe(6 * 4 * 2 + 8);
});

test("cross entropy leaves logits alone that a caller keeps, and writes over them where nobody does", async () => {
  const { backend, runtime, parameter } = setUp();
  const x = parameter("x", [2, 3], [0.5, -1, 2, 0, 0.25, 1]);
  const targets = runtime.upload([2], "i32", Int32Array.from([2, 0]));
  let kept: Tensor | undefined;
  const peakOf = (keep: boolean) => {
    backend.stats.peakBytes = backend.stats.liveBytes;
    runtime
      .gradient(() =>
        runtime.scope(() => {
          const logits = runtime.apply(add, [x.tensor, x.tensor], {});
          if (keep) logits.storage.retain();
          if (keep) kept = logits;
          return runtime.applyAll(crossEntropy, [logits, targets], {})[0];
        }),
      )
      .dispose();
    return backend.stats.peakBytes;
  };
  const inPlace = peakOf(false);
  expect(peakOf(true)).toBeGreaterThan(inPlace);
  expect([...(await runtime.read(kept!))]).toEqual([1, -2, 4, 0, 0.5, 2]);
  kept!.storage.release();
});
