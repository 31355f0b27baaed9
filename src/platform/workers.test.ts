// Oracle: the pool's own contract. The workers run the module below, through tsx when the tests run from sources.
import { spawn } from "node:child_process";
import { afterEach, describe, expect, test } from "vitest";
import { createHandler, workerUrl } from "../../test/support/test-worker.ts";
import { DataError } from "./errors.ts";
import { createWorkerPool, type WorkerPool } from "./workers.ts";

const pools: WorkerPool<string, string>[] = [];
const open = (threads: number) => {
  const pool = createWorkerPool({ url: workerUrl, createHandler }, { greeting: "hello" }, { threads });
  pools.push(pool);
  return pool;
};
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close();
});

describe.for([0, 2])("with %d threads", (threads) => {
  test("every job gets its own result, with the setup made once", async () => {
    const pool = open(threads);
    const results = await Promise.all(["a", "b", "c", "d", "e"].map((name) => pool.run(name)));
    expect(results.map((result) => result.split(" on ")[0])).toEqual([
      "hello a",
      "hello b",
      "hello c",
      "hello d",
      "hello e",
    ]);
    const places = new Set(results.map((result) => result.split(" on ")[1]));
    expect(places.size).toBeLessThanOrEqual(Math.max(1, threads));
    expect(places.has("thread 0")).toBe(threads === 0);
  });

  test("what a job throws is thrown here, with its class and message, and the next job runs", async () => {
    const pool = open(threads);
    const failure = await pool.run("fail").catch((error) => error);
    expect(failure).toBeInstanceOf(DataError);
    expect(failure.message).toBe("no such name: fail");
    expect(await pool.run("after")).toContain("hello after");
  });

  test("an aborted signal refuses the job with its reason, and the pool goes on", async () => {
    const pool = open(threads);
    await expect(pool.run("x", { signal: AbortSignal.abort(new Error("not wanted")) })).rejects.toThrow("not wanted");
    expect(await pool.run("y")).toContain("hello y");
  });

  test("a closed pool refuses jobs", async () => {
    const pool = open(threads);
    await pool.close();
    await expect(pool.run("z")).rejects.toThrow("worker pool: closed before the job was done");
  });
});

test("a job that never ends is stopped by its signal, and its worker replaced", async () => {
  const pool = open(1);
  const controller = new AbortController();
  const endless = pool.run("forever", { signal: controller.signal });
  const waiting = pool.run("next");
  await pool.run; // the job has been sent
  controller.abort(new Error("enough"));
  await expect(endless).rejects.toThrow("enough");
  expect(await waiting).toContain("hello next");
});

test("closing a pool stops the job under way, so that the process can end", async () => {
  const script = `
    import { createWorkerPool } from ${JSON.stringify(new URL("./workers.ts", import.meta.url).href)};
    import { createHandler, workerUrl } from ${JSON.stringify(workerUrl)};
    const pool = createWorkerPool({ url: workerUrl, createHandler }, { greeting: "" }, { threads: 1 });
    await pool.run("ready");
    pool.run("forever").catch((error) => console.log(error.message));
    await pool.close();`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (data) => {
    said += data;
  });
  // A thread that goes on would keep it from ending.
  expect(await new Promise((done) => child.on("close", done))).toBe(0);
  expect(said).toBe("worker pool: closed before the job was done\n");
});

test("a worker that dies refuses its job and all later ones with the reason", async () => {
  const pool = open(1);
  await expect(pool.run("exit")).rejects.toThrow("worker pool: a worker ended with code 3");
  await expect(pool.run("later")).rejects.toThrow("worker pool: a worker ended with code 3");
});

test("a module that cannot be loaded refuses the job with the reason", async () => {
  const missing = new URL("./no-such-module.ts", import.meta.url).href;
  const pool = createWorkerPool({ url: missing, createHandler }, { greeting: "" }, { threads: 1 });
  await expect(pool.run("a")).rejects.toThrow("no-such-module");
});

test("a thread count that is none is refused", () => {
  expect(() => open(-1)).toThrow("-1 worker threads; expected a whole number from 0");
  expect(() => open(1.5)).toThrow("1.5 worker threads");
});
