// The server's and the engine's times come from the clock that is handed in. Oracle: a clock that moves only when it is told.
import { expect, test } from "vitest";
import { serveAlphabet, until } from "../../test/support/serving.ts";

test("with a clock that is handed in, no time is another's", async () => {
  let nowMs = 5000;
  const clock = { monotonicMs: () => nowMs, epochMs: () => 1_700_000_000_000 + nowMs };
  const { server, passesBegun, gate } = await serveAlphabet({ clock });
  gate.shut();
  const asked = server.fastify.inject({
    method: "POST",
    url: "/v1/completions",
    payload: { prompt: "w", temperature: 0 },
  });
  await until(() => passesBegun() > 0);
  nowMs += 3000; // the prompt's pass
  gate.open();
  const { created } = (await asked).json();
  expect(created).toBe(1_700_000_005);
  const lines = (await server.fastify.inject("/metrics")).body.split("\n");
  expect(lines).toContain("bitnet_text_duration_seconds_sum 3"); // by the engine's side
  expect(lines).toContain("bitnet_http_request_duration_seconds_sum 3"); // by the server's
  expect(lines).toContain("bitnet_uptime_seconds 3");
});
