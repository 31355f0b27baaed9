// A file's bytes where the system has them, read by kernels. Oracle: the same bytes read and uploaded. A file that is cut at any
// moment is a clear error; that the process goes on is the test: without a handler the system ends it (SIGBUS).
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import type { Backend, DeviceBuffer } from "../../backends/backend.ts";
import { createBackend, findBackends } from "../../backends/index.ts";
import { packMatrix } from "../../ops/matrix-linear/index.ts";
import { FormatError } from "../../platform/errors.ts";
import { openFile } from "../../platform/files.ts";
import { matrixBytes } from "../../quant/matrix-rows.ts";

const here = (await findBackends()).some(({ choice, absent }) => choice.backend === "native" && !absent);
const [rows, k] = [160, 256];
const bytes = 4 * rows * k;
/** The matrix begins amid a page, and ends amid one. */
const offset = 5000;

describe.skipIf(!here)(`mapped files${here ? "" : " (the native addon is not built)"}`, () => {
  const withFile = async (
    body: (parts: { backend: Backend; path: string; values: Float32Array } & ReturnType<typeof reader>) => unknown,
  ) => {
    const backend = await createBackend({ backend: "native", threads: 2 });
    const values = Float32Array.from({ length: rows * k }, (_, i) => i % 1000);
    const path = join(temporaryFolder(), "numbers");
    const content = new Uint8Array(offset + bytes);
    content.set(new Uint8Array(values.buffer), offset);
    writeFileSync(path, content);
    const file = openFile(path);
    try {
      await body({ backend, path, values, ...reader(backend, file) });
    } finally {
      file.close();
      backend.close();
    }
  };

  function reader(backend: Backend, file: ReturnType<typeof openFile>) {
    const packed = { shape: [matrixBytes(rows, k, "f32")], dtype: "u8" as const };
    const matrix = {
      packed: { ...packed, buffer: backend.allocate(packed.shape[0]) },
      ...{ rows, k, format: "f32" as const },
    };
    const pack = (buffer: DeviceBuffer) =>
      packMatrix(backend, { rows: { shape: [bytes], dtype: "u8", buffer }, source: "F32", n: rows }, matrix, {
        first: 0,
        step: 16,
      });
    return {
      /** The matrix as a kernel finds it in the file; `before` is called when it is mapped. */
      async read(before: () => void = () => {}): Promise<Float32Array> {
        const mapped = backend.withFile!(file, offset, bytes, (buffer) => {
          before();
          pack(buffer);
        });
        expect(mapped).toBe(true);
        const found = new Float32Array(rows * k);
        await backend.read(matrix.packed.buffer, found);
        return found;
      },
      file,
    };
  }

  test("kernels find what is in the file", () =>
    withFile(async ({ read, values }) => {
      expect(await read()).toEqual(values);
    }));

  test("a file that ends before is refused, and nothing is mapped", () =>
    withFile(async ({ read, path, values }) => {
      truncateSync(path, offset + bytes - 1);
      await expect(read()).rejects.toThrow(/wanted 163840 bytes at byte 5000, but the file ends before/);
      expect(values.length).toBe(rows * k);
    }));

  test.for([
    { what: "to nothing", to: 0 },
    { what: "by half", to: offset + bytes / 2 },
    { what: "by a byte, within its last page", to: offset + bytes - 1 },
  ])("a file that is cut $what while a kernel reads it is an error, and the next file is read", ({ to }) =>
    withFile(async ({ read, path, backend }) => {
      const cut = read(() => truncateSync(path, to));
      await expect(cut).rejects.toThrow(FormatError);
      await expect(cut).rejects.toThrow(/became shorter while it was read/);
      await withFile(async (other) => {
        expect(await other.read()).toEqual(other.values);
      });
      expect(backend.stats.liveBytes).toBe(matrixBytes(rows, k, "f32"));
    }),
  );

  test("a file that grows meanwhile is none", () =>
    withFile(async ({ read, path, values }) => {
      expect(await read(() => writeFileSync(path, new Uint8Array(9000), { flag: "a" }))).toEqual(values);
    }));

  test("its bytes may not be written, read back, freed, or used afterwards", () =>
    withFile(async ({ backend, file }) => {
      let kept: DeviceBuffer | null = null;
      backend.withFile!(file, 0, 64, (buffer) => {
        kept = buffer;
        expect(() => backend.upload(buffer, new Uint8Array(8))).toThrow(/only kernels may read it/);
        expect(() => backend.free(buffer)).toThrow(/ends by itself/);
      });
      expect(() => backend.free(kept!)).toThrow(/freed buffer/);
      const failing = () =>
        backend.withFile!(file, 0, 64, () => {
          throw new Error("from within");
        });
      expect(failing).toThrow("from within");
      expect(() => backend.withFile!({ ...file, descriptor: 1 << 20 }, 0, 64, () => {})).not.toThrow();
    }));
});
