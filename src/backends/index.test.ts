// Which backend is chosen, by setting and by environment. Oracle: the rules in index.ts, on an addon that is there (skipped
// by name where it is not built) and on one that is not.
import { relative } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { packageFile } from "../platform/machine.ts";
import { createReferenceBackend } from "./reference.ts";
import { backendNames } from "./registry.ts";
import { createBackend, findBackends } from "./index.ts";

const here = (await findBackends()).filter(({ absent }) => !absent);
const native = [...new Set(here.filter(({ choice }) => choice.backend === "native").map(({ choice }) => choice.isa))];
const hasWasm = here.some(({ choice }) => choice.backend === "wasm");

beforeEach(() => {
  for (const name of ["BITNET_BACKEND", "BITNET_ISA", "BITNET_THREADS"]) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

async function chosen(choice: Parameters<typeof createBackend>[0]) {
  const { name, isa, threads, close } = await createBackend(choice);
  close();
  return `${name} ${isa} ${threads}`;
}

test("the reference is always here, with one thread", async () => {
  expect((await findBackends())[0]).toEqual({
    choice: { backend: "reference", isa: "typescript", threads: 1 },
    absent: null,
  });
  vi.stubEnv("BITNET_ISA", "avx2");
  vi.stubEnv("BITNET_THREADS", "2");
  expect(await chosen({ backend: "reference" })).toBe("reference typescript 1");
  await expect(chosen({ backend: "reference", threads: 2 })).rejects.toThrow(
    "the reference backend has one thread, and 2 were asked for",
  );
});

describe.skipIf(native.length === 0)(`with the native addon${native.length === 0 ? " (not built)" : ""}`, () => {
  test("auto is native with the best instruction set", async () => {
    expect(await chosen({ backend: "auto", threads: 2 })).toBe(`native ${native.at(-1)} 2`);
  });

  test("every instruction set that is listed as here can be forced, by setting or by BITNET_ISA", async () => {
    for (const isa of native) {
      expect(await chosen({ backend: "native", isa, threads: 1 })).toBe(`native ${isa} 1`);
      vi.stubEnv("BITNET_ISA", isa);
      expect(await chosen({ backend: "auto", threads: 1 })).toBe(`native ${isa} 1`);
    }
  });

  test("a setting wins over the environment", async () => {
    vi.stubEnv("BITNET_ISA", "nonsense");
    vi.stubEnv("BITNET_THREADS", "1");
    expect(await chosen({ backend: "native", isa: native[0], threads: 3 })).toBe(`native ${native[0]} 3`);
  });

  test("BITNET_THREADS says how many threads", async () => {
    vi.stubEnv("BITNET_THREADS", "3");
    expect(await chosen({ backend: "native" })).toBe(`native ${native.at(-1)} 3`);
  });
});

describe.skipIf(!hasWasm)(`with wasm/bitnet.wasm${hasWasm ? "" : " (not there)"}`, () => {
  test("BITNET_BACKEND chooses it", async () => {
    vi.stubEnv("BITNET_BACKEND", "wasm");
    expect(await chosen({ backend: "auto", threads: 1 })).toBe("wasm simd128 1");
  });

  test("its instruction set chooses it", async () => {
    vi.stubEnv("BITNET_ISA", "simd128");
    expect(await chosen({ backend: "auto", threads: 2 })).toBe("wasm simd128 2");
  });

  test("it serves where the addon is not built, and native is refused with the reason", async () => {
    vi.doMock("../platform/machine.ts", async (original) => {
      const machine = await original<typeof import("../platform/machine.ts")>();
      return { ...machine, fileExists: (path: string) => !path.endsWith("bitnet.node") && machine.fileExists(path) };
    });
    onTestFinished(() => void vi.doUnmock("../platform/machine.ts"));
    vi.resetModules(); // the addon that this file's first import loaded would be remembered
    const fresh = await import("./index.ts");
    const backend = await fresh.createBackend({ backend: "auto", threads: 1 });
    expect(`${backend.name} ${backend.isa}`).toBe("wasm simd128");
    backend.close();
    await expect(fresh.createBackend({ backend: "native" })).rejects.toThrow(
      /backend "native" with instruction set "auto": the native addon is not built; .* builds it; what is here: wasm simd128, reference typescript/,
    );
  });
});

test("an addon that is named and not there is an error, whatever else is here", async () => {
  vi.stubEnv("BITNET_ADDON", "no/such/addon.node");
  vi.resetModules();
  const fresh = await import("./index.ts");
  const reason = "BITNET_ADDON names no/such/addon.node, which is not there";
  for (const backend of ["auto", "native"] as const)
    await expect(fresh.createBackend({ backend })).rejects.toThrow(
      `backend "${backend}" with instruction set "auto": ${reason}; what is here: `,
    );
  expect((await fresh.findBackends()).find(({ choice }) => choice.backend === "native")?.absent).toBe(reason);
});

test.skipIf(native.length === 0)("an addon may be named from the working directory", async () => {
  vi.stubEnv("BITNET_ADDON", relative(process.cwd(), packageFile("build/bitnet.node")));
  vi.resetModules();
  const fresh = await import("./index.ts");
  expect((await fresh.findBackends()).some(({ choice, absent }) => choice.backend === "native" && !absent)).toBe(true);
});

test("a file that is no addon is a reason, not a crash", async () => {
  vi.stubEnv("BITNET_ADDON", import.meta.filename);
  vi.resetModules();
  const fresh = await import("./index.ts");
  await expect(fresh.createBackend({ backend: "native" })).rejects.toThrow(
    /: the native addon does not load: .*what is here: /s,
  );
});

test("a backend is one entry of the registry: found in its time, listed, and made by its name", async () => {
  vi.doMock("./registry.ts", async (original) => {
    const registry = await original<typeof import("./registry.ts")>();
    const load = async () => ({
      find: async () => [{ isa: "adapter", absent: await Promise.resolve(null) }],
      create: async () => ({ ...createReferenceBackend(), name: "gpu", isa: "adapter", threads: 1 }),
    });
    const gpu = { name: "gpu", auto: false, maxThreads: 1, load };
    return {
      ...registry,
      backendKinds: [...registry.backendKinds, gpu],
      backendNames: [...registry.backendNames, "gpu"],
    };
  });
  onTestFinished(() => void vi.doUnmock("./registry.ts"));
  vi.resetModules();
  const fresh = await import("./index.ts");
  expect((await fresh.findBackends())[0]).toEqual({
    choice: { backend: "gpu", isa: "adapter", threads: 1 },
    absent: null,
  });
  const backend = await fresh.createBackend({ backend: "gpu" as "native" });
  expect([backend.name, backend.isa]).toEqual(["gpu", "adapter"]);
  await expect(fresh.createBackend({ backend: "gpu" as "native", threads: 2 })).rejects.toThrow(
    "the gpu backend has one thread, and 2 were asked for",
  );
  await expect(fresh.createBackend({ backend: "cuda" as "native" })).rejects.toThrow(
    `backends are: ${backendNames.join(", ")}, gpu`,
  );
  // The old list, which cannot wait, has those of before.
  expect(fresh.listBackends()).toEqual(await findBackends());
});

test("an unknown value is refused with the choices", async () => {
  await expect(createBackend({ backend: "cuda" as "native" })).rejects.toThrow(
    `unknown backend "cuda"; backends are: ${backendNames.join(", ")}`,
  );
  await expect(createBackend({ backend: "auto", isa: "avx9000" })).rejects.toThrow(
    /backend "auto" with instruction set "avx9000": there is no such instruction set; what is here: .*reference typescript$/,
  );
  vi.stubEnv("BITNET_BACKEND", "gpu");
  await expect(createBackend({ backend: "auto" })).rejects.toThrow('unknown backend "gpu"');
  vi.stubEnv("BITNET_BACKEND", undefined);
  vi.stubEnv("BITNET_THREADS", "many");
  await expect(createBackend({ backend: "auto" })).rejects.toThrow(
    'BITNET_THREADS="many": NaN is not a whole number from 1 to 256',
  );
  await expect(createBackend({ backend: "auto", threads: 257 })).rejects.toThrow(
    "threads: 257 is not a whole number from 1 to 256",
  );
});
