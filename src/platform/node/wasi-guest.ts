/**
 * The program of a process that runs CPython compiled to WebAssembly, one instance after the other, and gives it nothing: two
 * pipes that the host reads, a clock, random bytes and sleep. No file, folder, socket, process or thread can be named through
 * the functions below, and the module may import no others. python-process.ts starts it, as text: `serveGuests` must use
 * nothing but its parameter and what every JavaScript engine has.
 *
 * Lines from the host: `S<n> {"args": [...]}` starts instance n, `G<n> TEXT` is for it to read,
 * `E<n>` ends it when it reads. Lines to the host: `H{...}` of
 * this program, `GTEXT` of the instance: what an instance writes can never be taken for what this program says.
 */
export interface GuestSetup {
  /** Of the module, which follows the line with the setup. */
  moduleBytes: number;
  /** Standard error, where prints go. */
  outputBytes: number;
  /** Of an answer: what is written to standard output between two reads. */
  answerBytes: number;
}

/** What this program says of itself, and of an instance that ended. */
export type GuestReport =
  | { started: true; denied: string[] }
  | { refused: string }
  | { ended: string; memoryBytes: number };

/** As much of the WebAssembly interface as is used here; Node's types have none. */
interface Wasm {
  Module: {
    new (bytes: Uint8Array): WasmModule;
    imports(module: WasmModule): { module: string; name: string; kind: string }[];
  };
  Instance: new (
    module: WasmModule,
    imports: object,
  ) => { exports: { memory: { buffer: ArrayBuffer }; _start(): void } };
}
declare const wasmModule: unique symbol;
type WasmModule = { [wasmModule]: true };

type Machine = Pick<typeof import("node:fs"), "readSync" | "writeSync"> & {
  /** Names of what this process was tried to be let do, and was not. */
  denied(): string[];
};

export function serveGuests(machine: Machine): void {
  /** Thrown through the instance to end it. */
  class GuestEnd {
    readonly reason: string;
    constructor(reason: string) {
      this.reason = reason;
    }
  }
  const wait = new Int32Array(new SharedArrayBuffer(4));
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();

  let held = new Uint8Array(0);
  const chunk = new Uint8Array(1 << 16);
  /** More of the host's bytes; false at their end. */
  function fill(): boolean {
    for (;;)
      try {
        const n = machine.readSync(0, chunk, 0, chunk.length, null);
        if (n === 0) return false;
        const more = new Uint8Array(held.length + n);
        more.set(held);
        more.set(chunk.subarray(0, n), held.length);
        held = more;
        return true;
      } catch (error) {
        if ((error as { code?: string }).code !== "EAGAIN") return false;
        Atomics.wait(wait, 0, 0, 2);
      }
  }
  function readLine(): string | null {
    for (let from = 0; ; ) {
      const end = held.indexOf(10, from);
      if (end >= 0) {
        const line = decoder.decode(held.subarray(0, end));
        held = held.slice(end + 1);
        return line;
      }
      from = held.length;
      if (!fill()) return null;
    }
  }
  function readBytes(count: number): Uint8Array<ArrayBuffer> | null {
    const bytes = new Uint8Array(count);
    let at = Math.min(count, held.length);
    bytes.set(held.subarray(0, at));
    held = held.slice(at);
    while (at < count)
      try {
        const n = machine.readSync(0, bytes, at, count - at, null);
        if (n === 0) return null;
        at += n;
      } catch (error) {
        if ((error as { code?: string }).code !== "EAGAIN") return null;
        Atomics.wait(wait, 0, 0, 2);
      }
    return bytes;
  }
  function writeLine(kind: "H" | "G", line: Uint8Array): void {
    const bytes = new Uint8Array(line.length + 2);
    bytes[0] = kind.charCodeAt(0);
    bytes.set(line, 1);
    bytes[bytes.length - 1] = 10;
    for (let at = 0; at < bytes.length; )
      try {
        at += machine.writeSync(1, bytes, at, bytes.length - at);
      } catch (error) {
        if ((error as { code?: string }).code !== "EAGAIN") throw error;
        Atomics.wait(wait, 0, 0, 2);
      }
  }
  const say = (report: GuestReport) => writeLine("H", encoder.encode(JSON.stringify(report)));

  const first = readLine();
  if (first === null) return;
  const setup = JSON.parse(first) as GuestSetup;
  const code = readBytes(setup.moduleBytes);
  if (code === null) return;
  const { Module, Instance } = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly;
  const module = new Module(code);
  const wanted = Module.imports(module);
  const foreign = wanted.find((one) => one.module !== "wasi_snapshot_preview1" || one.kind !== "function");
  if (foreign) {
    say({ refused: `its module imports ${foreign.module}.${foreign.name}, which is not of WASI` });
    return;
  }
  say({ started: true, denied: machine.denied() });

  for (;;) {
    const line = readLine();
    if (line === null) return;
    // What was meant for an instance that has ended.
    if (!line.startsWith("S")) continue;
    const space = line.indexOf(" ");
    say(runGuest(line.slice(1, space), JSON.parse(line.slice(space + 1)) as { args: string[] }));
  }

  function runGuest(serial: string, { args }: { args: string[] }): GuestReport {
    let memory: { buffer: ArrayBuffer } | undefined;
    const view = () => new DataView(memory!.buffer);
    const bytes = (at: number, length: number) =>
      new Uint8Array(memory!.buffer).subarray(at >>> 0, (at >>> 0) + (length >>> 0));
    // Errors of WASI.
    const [ok, badFile, inval, noSys, notSup, pipe] = [0, 8, 28, 52, 58, 70];
    const strings = (list: string[]) => {
      const texts = list.map((text) => encoder.encode(`${text}\0`));
      return {
        sizes(count: number, size: number) {
          view().setUint32(count >>> 0, texts.length, true);
          view().setUint32(
            size >>> 0,
            texts.reduce((sum, { length }) => sum + length, 0),
            true,
          );
          return ok;
        },
        get(pointers: number, at: number) {
          let [place, to] = [pointers >>> 0, at >>> 0];
          for (const text of texts) {
            view().setUint32(place, to, true);
            bytes(to, text.length).set(text);
            place += 4;
            to += text.length;
          }
          return ok;
        },
      };
    };
    const argv = strings(args);
    const environment = strings(["PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1"]);

    let unread: Uint8Array = new Uint8Array(0);
    let answer: Uint8Array[] = [];
    let answered = 0;
    let printed = 0;
    const started = performance.now();
    const nanoseconds = (ms: number) => BigInt(Math.round(ms * 1000)) * 1000n;
    const now = (clock: number) => nanoseconds(clock === 0 ? Date.now() : performance.now() - started);

    /** A vector of buffers, as fd_read and fd_write take them. */
    function* vector(at: number, count: number): Generator<Uint8Array> {
      for (let i = 0; i < count >>> 0; i++) {
        const place = (at >>> 0) + 8 * i;
        yield bytes(view().getUint32(place, true), view().getUint32(place + 4, true));
      }
    }
    function write(file: number, part: Uint8Array): void {
      if (file === 2) {
        printed += part.length;
        if (printed > setup.outputBytes) throw new GuestEnd(`printed over ${setup.outputBytes} bytes`);
        return;
      }
      answered += part.length;
      if (answered > setup.answerBytes) throw new GuestEnd(`answered over ${setup.answerBytes} bytes`);
      let from = 0;
      for (let end = part.indexOf(10); end >= 0; end = part.indexOf(10, from)) {
        const whole = new Uint8Array(answer.reduce((sum, { length }) => sum + length, end - from));
        let to = 0;
        for (const piece of answer) {
          whole.set(piece, to);
          to += piece.length;
        }
        whole.set(part.subarray(from, end), to);
        writeLine("G", whole);
        owes = false;
        answer = [];
        from = end + 1;
      }
      if (from < part.length) answer.push(part.slice(from));
    }
    /** A line has come, and no answer has gone: the host sends no other. */
    let owes = false;
    function readInput(): void {
      if (owes) throw new GuestEnd("waits for input, of which there is none");
      answered = 0;
      while (unread.length === 0) {
        const line = readLine();
        if (line === null) throw new GuestEnd("the host is gone");
        if (line.startsWith(`G${serial} `)) {
          unread = encoder.encode(`${line.slice(serial.length + 2)}\n`);
          owes = true;
        } else if (line === `E${serial}`) throw new GuestEnd("the host is done with it");
      }
    }

    const functions: Record<string, (...values: never[]) => number> = {
      args_sizes_get: argv.sizes,
      args_get: argv.get,
      environ_sizes_get: environment.sizes,
      environ_get: environment.get,
      clock_res_get(_clock: number, at: number) {
        view().setBigUint64(at >>> 0, 1000n, true);
        return ok;
      },
      clock_time_get(clock: number, _precision: bigint, at: number) {
        view().setBigUint64(at >>> 0, now(clock), true);
        return ok;
      },
      random_get(at: number, count: number) {
        const target = bytes(at, count);
        for (let i = 0; i < target.length; i += 65536)
          crypto.getRandomValues(target.subarray(i, i + 65536) as Uint8Array<ArrayBuffer>);
        return ok;
      },
      sched_yield: () => ok,
      proc_exit(status: number) {
        throw new GuestEnd(`ended with code ${status} before its tests did`);
      },
      // No folder is handed over: every path is therefore out of reach.
      fd_prestat_get: () => badFile,
      fd_close: (file: number) => (file >= 0 && file <= 2 ? ok : badFile),
      fd_seek: (file: number) => (file >= 0 && file <= 2 ? pipe : badFile),
      fd_fdstat_get(file: number, at: number) {
        if (!(file >= 0 && file <= 2)) return badFile;
        bytes(at, 24).fill(0);
        view().setUint8(at >>> 0, 2); // a character device
        view().setBigUint64((at >>> 0) + 8, file === 0 ? 2n : 64n, true); // may be read, or written
        return ok;
      },
      fd_filestat_get(file: number, at: number) {
        if (!(file >= 0 && file <= 2)) return badFile;
        bytes(at, 64).fill(0);
        view().setUint8((at >>> 0) + 16, 2);
        return ok;
      },
      fd_read(file: number, at: number, count: number, size: number) {
        if (file !== 0) return badFile;
        let total = 0;
        for (const part of vector(at, count)) {
          if (part.length === 0) continue;
          if (total > 0 && unread.length === 0) break;
          if (unread.length === 0) readInput();
          const taken = unread.subarray(0, part.length);
          part.set(taken);
          unread = unread.subarray(taken.length);
          total += taken.length;
        }
        view().setUint32(size >>> 0, total, true);
        return ok;
      },
      fd_write(file: number, at: number, count: number, size: number) {
        if (file !== 1 && file !== 2) return badFile;
        let total = 0;
        for (const part of vector(at, count)) {
          write(file, part);
          total += part.length;
        }
        view().setUint32(size >>> 0, total, true);
        return ok;
      },
      /** Sleep alone: of several, until the first. */
      poll_oneoff(subscriptions: number, events: number, count: number, size: number) {
        let first: { until: number; at: number } | null = null;
        for (let i = 0; i < count >>> 0; i++) {
          const at = (subscriptions >>> 0) + 48 * i;
          if (view().getUint8(at + 8) !== 0) continue;
          const clock = view().getUint32(at + 16, true);
          const timeout = view().getBigUint64(at + 24, true);
          const ms = Number(view().getUint16(at + 40, true) & 1 ? timeout - now(clock) : timeout) / 1e6;
          if (first === null || ms < first.until) first = { until: ms, at };
        }
        if (first === null) return count === 0 ? inval : notSup;
        if (first.until > 0) Atomics.wait(wait, 0, 0, Math.min(first.until, 2 ** 31));
        const event = bytes(events, 32);
        event.fill(0);
        event.set(bytes(first.at, 8));
        view().setUint32(size >>> 0, 1, true);
        return ok;
      },
    };
    const refuse = () => noSys;
    const imports = Object.fromEntries(wanted.map(({ name }) => [name, functions[name] ?? refuse]));
    let ended = "ended before its tests did";
    try {
      const { exports } = new Instance(module, { wasi_snapshot_preview1: imports });
      memory = exports.memory;
      exports._start();
    } catch (error) {
      if (error instanceof GuestEnd) ended = error.reason;
      else ended = `the interpreter stopped: ${String((error as Error)?.message ?? error).slice(0, 100)}`;
    }
    return { ended, memoryBytes: memory?.buffer.byteLength ?? 0 };
  }
}

/** Tries what Node's permission model and V8's flags should refuse. Runs in the process itself, as text. */
export function tryForbidden(load: (name: string) => unknown): string[] {
  const fs = load("node:fs") as typeof import("node:fs");
  const tries: Record<string, () => unknown> = {
    "file reads": () => fs.readdirSync("/"),
    // Tried beneath a folder that is not there: nothing would be written even if it were let.
    "file writes": () => fs.writeFileSync("/there-is-no-such-folder/file", ""),
    processes: () =>
      (load("node:child_process") as typeof import("node:child_process")).execFileSync("there-is-no-such"),
    threads() {
      const { Worker } = load("node:worker_threads") as typeof import("node:worker_threads");
      return new Worker("", { eval: true });
    },
    "code from strings": () => Reflect.construct(Function, ["return 1"]),
  };
  return Object.keys(tries).filter((name) => {
    try {
      tries[name]();
      return false;
    } catch (error) {
      const { code, name: kind } = error as { code?: string; name: string };
      return code === "ERR_ACCESS_DENIED" || kind === "EvalError";
    }
  });
}

/** The program of the process. `__name`: what a transpiler may leave in a function's text. */
export const guestProgram = `"use strict";
const __name = (one) => one;
const fs = require("node:fs");
(${serveGuests})({ readSync: fs.readSync, writeSync: fs.writeSync, denied: () => (${tryForbidden})(require) });`;
