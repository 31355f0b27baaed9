// Oracle: an engine's side that never comes back from a certain question (test/support/stuck-service.ts).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { jsonOf, until } from "../../test/support/serving.ts";
import { createService, poison, stuckUrl } from "../../test/support/stuck-service.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { EngineClient } from "./engine-client.ts";
import { createServer } from "./server.ts";

async function openStuck(stuckMs: number) {
  const log = join(temporaryFolder(), "log");
  const notes: string[] = [];
  const client = await EngineClient.open({ url: stuckUrl, createService }, log, {
    stuckMs,
    onNote: (text) => notes.push(text),
  });
  const server = createServer(client, { modelName: "stuck", port: 0 });
  const url = await server.listen();
  onTestFinished(async () => {
    await server.close();
    await client.close({ cancel: true, withinMs: 10 });
  });
  const detokenize = (tokens: number[]) =>
    fetch(`${url}/detokenize`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ tokens }),
    });
  return { client, url, notes, detokenize, openings: () => readFileSync(log, "utf8").split("\n").length - 1 };
}

test("an engine that says nothing more is ended and opened anew; health tells it meanwhile", {
  timeout: 60_000,
}, async () => {
  const { url, notes, detokenize, openings } = await openStuck(2000);
  const health = async () => (await fetch(`${url}/health`)).status;
  expect([await health(), (await detokenize([1])).status, openings()]).toEqual([200, 200, 1]);
  const lost = detokenize([poison]);
  await until(async () => (await health()) === 503);
  const answer = await lost;
  expect(answer.status).toBe(503);
  expect(answer.headers.get("retry-after")).not.toBeNull();
  expect((await jsonOf(answer)).error).toMatchObject({
    code: "engine_stuck",
    message: "the engine did not answer for 2 s; it is being opened anew, try again later",
  });
  await until(async () => (await health()) === 200);
  expect(await (await detokenize([1])).json()).toEqual({ content: "text" });
  expect(openings()).toBeGreaterThan(1);
  expect(notes[0]).toContain("opening the model anew");
});

test("an engine that is stuck is closed all the same", { timeout: 60_000 }, async () => {
  const { client } = await openStuck(0);
  const lost = client.ask<"detokenize">({ kind: "detokenize", tokens: [poison] });
  lost.catch(() => {});
  await client.close({ cancel: true, withinMs: 50 });
  await expect(lost).rejects.toThrow("the engine is closed");
});
