// Oracle: what node:fs and node:zlib themselves wrote or read; the SHA-256 of "abc" from FIPS 180-4. A full disk is
// node's writeSync made to fail as the system does (ENOSPC), and to write less than asked, as it may.
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { FileError, FormatError } from "./errors.ts";
import {
  makeFolder,
  createAtomicFile,
  openFile,
  readChunks,
  readRange,
  readWhole,
  sha256Of,
  sha256OfFile,
  writeAtomically,
  writeFolderAtomically,
  recoverFolder,
} from "./files.ts";

vi.mock("node:fs", async (original) => {
  const actual = await original<typeof import("node:fs")>();
  return { ...actual, writeSync: vi.fn(actual.writeSync), renameSync: vi.fn(actual.renameSync) };
});

const bytesOf = (text: string) => new TextEncoder().encode(text);

test("reads any range of a file, and says where a file ends that is too short", () => {
  const path = join(temporaryFolder(), "a.bin");
  writeFileSync(path, "0123456789");
  expect(new TextDecoder().decode(readRange(path, 3, 4))).toBe("3456");
  const file = openFile(path);
  expect(file.sizeBytes).toBe(10);
  expect(() => file.read(8, new Uint8Array(4))).toThrow(
    new FormatError(`${path}: wanted 4 bytes at byte 8, but the file ends at byte 10; is it cut short?`),
  );
  file.close();
  file.close();
  expect(() => readWhole(path, 9)).toThrow("has 10 bytes; at most 9 are expected");
});

test("one error names a path that is missing, a folder, or not allowed", () => {
  const folder = temporaryFolder();
  expect(() => openFile(join(folder, "none"))).toThrow(
    new FileError(`${join(folder, "none")}: cannot open: no such file or folder`),
  );
  expect(() => openFile(folder)).toThrow("cannot open: it is a folder, not a file");
  writeFileSync(join(folder, "file"), "x");
  expect(() => writeAtomically(join(folder, "file", "below"), "x")).toThrow(FileError);
});

test.skipIf(process.getuid?.() === 0 || process.platform === "win32")(
  "refuses an unwritable folder in one line (skipped for root, who may write everywhere)",
  () => {
    const folder = temporaryFolder();
    chmodSync(folder, 0o500);
    expect(() => writeAtomically(join(folder, "a"), "x")).toThrow("cannot write: permission denied");
    chmodSync(folder, 0o700);
  },
);

test("hashes as FIPS 180-4 says, in pieces and whole", () => {
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  expect(sha256Of("abc")).toBe(abc);
  const path = join(temporaryFolder(), "abc");
  writeFileSync(path, "abc");
  expect(sha256OfFile(path)).toBe(abc);
  writeFileSync(path, Buffer.alloc(3_000_001, 7));
  expect(sha256OfFile(path)).toBe(sha256Of(Buffer.alloc(3_000_001, 7)));
  writeFileSync(path, "");
  expect(sha256OfFile(path)).toBe(sha256Of(""));
});

async function gather(path: string, gunzip: boolean): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of readChunks(path, { gunzip, chunkBytes: 64 })) parts.push(chunk.slice());
  return Buffer.concat(parts).toString();
}

test("streams a file, plain or gzipped (several members too), and counts what it took from the disk", async () => {
  const folder = temporaryFolder();
  const text = "all work and no play ".repeat(99);
  writeFileSync(join(folder, "a"), text);
  writeFileSync(join(folder, "a.gz"), Buffer.concat([gzipSync(text), gzipSync("end")]));
  expect(await gather(join(folder, "a"), false)).toBe(text);
  expect(await gather(join(folder, "a.gz"), true)).toBe(`${text}end`);
  let bytes = 0;
  for await (const _ of readChunks(join(folder, "a.gz"), { gunzip: true, onRead: (n) => (bytes += n) }));
  expect(bytes).toBe(readFileSync(join(folder, "a.gz")).length);
});

test("a gzip that is cut or damaged, or none at all, is named", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "a.gz");
  const whole = gzipSync("some text that goes on and on ".repeat(50));
  writeFileSync(path, whole.subarray(0, whole.length - 9));
  await expect(gather(path, true)).rejects.toThrow(/a\.gz: the gzip stream is cut short, after \d+ decompressed bytes/);
  writeFileSync(path, "not gzip at all");
  await expect(gather(path, true)).rejects.toThrow("incorrect header check");
  const flipped = Buffer.from(whole);
  flipped[flipped.length - 6] ^= 1;
  writeFileSync(path, flipped);
  await expect(gather(path, true)).rejects.toThrow("incorrect data check");
  await expect(gather(join(folder, "none.gz"), true)).rejects.toThrow("no such file or folder");
});

test("a file appears whole under its name, with bytes overwritten in place, and its folder is made", () => {
  const path = join(temporaryFolder(), "deep", "er", "a.bin");
  const file = createAtomicFile(path);
  file.append(bytesOf("????-"));
  file.append(bytesOf("tail"));
  expect(existsSync(path)).toBe(false);
  file.overwrite(0, bytesOf("head"));
  expect(() => file.overwrite(8, bytesOf("xx"))).toThrow("past the end");
  file.commit();
  file.abort();
  expect(readFileSync(path, "utf8")).toBe("head-tail");
});

test("when the writer fails, the file that was there stays and nothing else remains", () => {
  const folder = temporaryFolder();
  const path = join(folder, "a");
  writeAtomically(path, "old");
  expect(() =>
    writeAtomically(path, (file) => {
      file.append(bytesOf("half"));
      throw new Error("no more");
    }),
  ).toThrow("no more");
  expect(readFileSync(path, "utf8")).toBe("old");
  expect(readdirSync(folder)).toEqual(["a"]);
});

test("a full disk is one clear error, and nothing half-written remains", () => {
  const folder = temporaryFolder();
  vi.mocked(fs.writeSync).mockImplementationOnce(() => {
    throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  });
  const path = join(folder, "a");
  expect(() => writeAtomically(path, "much")).toThrow(
    new FileError(`${path}: cannot write: the disk is full; free some space and run it again`),
  );
  expect(readdirSync(folder)).toEqual([]);
});

test("goes on where the system wrote less than asked", async () => {
  const actual = await vi.importActual<typeof import("node:fs")>("node:fs");
  const short = ((fd: number, bytes: Uint8Array, offset: number, _length: number, position: number) =>
    actual.writeSync(fd, bytes, offset, 1, position)) as typeof fs.writeSync;
  vi.mocked(fs.writeSync).mockImplementationOnce(short).mockImplementationOnce(short);
  const path = join(temporaryFolder(), "a");
  writeAtomically(path, "whole text");
  expect(readFileSync(path, "utf8")).toBe("whole text");
});

test("a folder appears whole, replaces only what it may, and leaves nothing behind when it fails", async () => {
  const parent = temporaryFolder();
  const path = join(parent, "set");
  const fill = (name: string) => (temporary: string) => writeFileSync(join(temporary, name), name);
  await writeFolderAtomically(`${path}/`, fill("one"));
  expect(readdirSync(path)).toEqual(["one"]);
  await expect(writeFolderAtomically(path, fill("two"))).rejects.toThrow("exists and is not empty");
  await writeFolderAtomically(path, fill("two"), { mayReplace: () => true });
  expect(readdirSync(path)).toEqual(["two"]);
  const failing = writeFolderAtomically(
    path,
    (temporary) => {
      fill("three")(temporary);
      throw new Error("stop");
    },
    { mayReplace: () => true },
  );
  await expect(failing).rejects.toThrow("stop");
  expect(readdirSync(path)).toEqual(["two"]);
  expect(readdirSync(parent)).toEqual(["set"]);
});

test("temporary folders of processes that are gone are swept, those of living ones are not", async () => {
  const parent = temporaryFolder();
  // 2^22 is the largest process id that Linux gives; macOS and Windows stay below as well.
  mkdirSync(join(parent, "set.tmp-4194305-1"));
  mkdirSync(join(parent, `set.tmp-${process.pid}-999999`));
  mkdirSync(join(parent, "other.tmp-4194305-1"));
  await writeFolderAtomically(join(parent, "set"), () => {});
  expect(readdirSync(parent).sort()).toEqual(["other.tmp-4194305-1", "set", `set.tmp-${process.pid}-999999`]);
});

test("temporary files of processes that are gone are swept when the same file is written, and no others", () => {
  const folder = temporaryFolder();
  for (const name of ["a.bin.tmp-4194305-1", "b.bin.tmp-4194305-1", `a.bin.tmp-${process.pid}-999999`])
    writeFileSync(join(folder, name), "half");
  writeAtomically(join(folder, "a.bin"), "whole");
  expect(readdirSync(folder).sort()).toEqual(["a.bin", `a.bin.tmp-${process.pid}-999999`, "b.bin.tmp-4194305-1"]);
});

const put = (text: string) => (temporary: string) => writeFileSync(join(temporary, "content"), text);
const anything = { mayReplace: () => true };

test("when a folder's new content cannot get the name, the earlier one gets it back", async () => {
  const parent = temporaryFolder();
  const path = join(parent, "set");
  await writeFolderAtomically(path, put("old"));
  const actual = await vi.importActual<typeof import("node:fs")>("node:fs");
  vi.mocked(fs.renameSync)
    .mockImplementationOnce(actual.renameSync)
    .mockImplementationOnce(() => {
      throw Object.assign(new Error("EIO: i/o error, rename"), { code: "EIO" });
    });
  await expect(writeFolderAtomically(path, put("new"), anything)).rejects.toThrow("set: cannot write: EIO");
  expect(readFileSync(join(path, "content"), "utf8")).toBe("old");
  expect(readdirSync(parent)).toEqual(["set"]);
});

test("the only copy that a killed replacement left is put back: by who opens the folder, and by who writes it", async () => {
  for (const recover of [
    (path: string) => recoverFolder(path),
    (path: string) => expect(writeFolderAtomically(path, put("new"))).rejects.toThrow("exists and is not empty"),
  ]) {
    const parent = temporaryFolder();
    const path = join(parent, "set");
    // As they stand between the two renames.
    mkdirSync(`${path}.replaced-4194305-2`);
    put("old")(`${path}.replaced-4194305-2`);
    mkdirSync(`${path}.tmp-4194305-1`);
    await recover(path);
    expect(readFileSync(join(path, "content"), "utf8")).toBe("old");
  }
});

test("what a replacement killed after its second rename left is removed by the next write", async () => {
  const parent = temporaryFolder();
  const path = join(parent, "set");
  for (const [name, text] of [
    ["set", "new"],
    ["set.replaced-4194305-2", "old"],
  ]) {
    mkdirSync(join(parent, name));
    put(text)(join(parent, name));
  }
  recoverFolder(path);
  expect(readFileSync(join(path, "content"), "utf8")).toBe("new");
  await writeFolderAtomically(path, put("newer"), anything);
  expect(readdirSync(parent)).toEqual(["set"]);
});

test.skipIf(process.platform !== "linux")(
  "a folder that the system will not make is one error, not a loop without end",
  () => {
    expect(() => makeFolder("/proc/no-such-folder/inner")).toThrow(
      /\/proc\/no-such-folder\/inner: cannot make the folder/,
    );
  },
);

test.skipIf(process.platform === "win32")(
  "a pipe is refused by name, where opening it would wait for who writes it",
  () => {
    const path = join(temporaryFolder(), "model.gguf");
    execFileSync("mkfifo", [path]);
    expect(() => openFile(path)).toThrow(FileError);
    expect(() => readWhole(path)).toThrow("model.gguf: cannot open: it is a pipe, a socket or a device");
  },
);
