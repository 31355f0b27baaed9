/**
 * Backends that behave as a GPU's would, over the reference: calls go into a queue that is worked off later, reads are
 * answered later still, and the device can be lost. `copyLate` breaks the contract on purpose: it reads the memory as it is
 * when it answers, so that the contract's test has something to catch.
 */
import type { Backend, DeviceBuffer, Kernel, NDArray, TypedArray } from "../../src/backends/backend.ts";
import { createLoss } from "../../src/backends/lost.ts";
import { createReferenceBackend } from "../../src/backends/reference.ts";

export interface LateBackend extends Backend {
  /** As if the device were taken away: known only once the queue was worked off. */
  loseDevice(why: string): void;
}

export function createLateBackend({ copyLate = false, room = Number.POSITIVE_INFINITY } = {}): LateBackend {
  const inner = createReferenceBackend();
  const loss = createLoss();
  const queue: (() => void)[] = [];
  let held = 0;
  let working = Promise.resolve();

  /** Works off what is queued, after others had their turn. */
  function work(): Promise<void> {
    working = working.then(async () => {
      await Promise.resolve();
      while (queue.length > 0) {
        const next = queue.shift()!;
        if (!loss.error) next();
      }
    });
    return working;
  }
  function later(action: () => void): void {
    queue.push(action);
    void work();
  }

  return {
    ...inner,
    name: "late",
    lost: loss.lost,
    // Room is asked for in the queue: what is too much fails there.
    allocate(sizeBytes) {
      loss.check();
      const buffer = inner.allocate(sizeBytes);
      later(() => {
        held += sizeBytes;
        if (held > room) loss.report(`late backend: out of memory: ${held} bytes are wanted, and ${room} are there`);
      });
      return buffer;
    },
    // Its memory goes when what was queued before is done.
    free: (buffer: DeviceBuffer) =>
      later(() => {
        held -= buffer.sizeBytes;
        inner.free(buffer);
      }),
    upload(buffer, data, byteOffset) {
      loss.check();
      const copy = data.slice();
      later(() => inner.upload(buffer, copy, byteOffset));
    },
    launch(kernel, arrays, params) {
      loss.check();
      const [ownArrays, ownParams] = [{ ...arrays }, { ...params }] as [Record<string, NDArray | null>, object];
      later(() =>
        inner.launch(
          kernel as unknown as Kernel,
          ownArrays as Record<string, NDArray>,
          ownParams as Record<string, number>,
        ),
      );
    },
    async read(buffer, into, byteOffset) {
      loss.check();
      const copy: TypedArray = into.slice();
      const copied = copyLate
        ? null
        : new Promise<void>((resolve) => later(() => inner.read(buffer, copy, byteOffset).then(resolve)));
      await work();
      await new Promise((resolve) => setTimeout(resolve, 1));
      loss.check();
      if (copied) {
        await copied;
        into.set(copy);
      } else {
        await inner.read(buffer, into, byteOffset);
      }
    },
    loseDevice: (why) => later(() => void loss.report(`late backend: the device is lost: ${why}`)),
  };
}
