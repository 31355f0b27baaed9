// A server without a model: what stands before its routes and behind them. Oracle: HTTP (RFC 9110's statuses), and the
// contract in server.ts. serve/ holds the same to OpenAI's client and to real connections.
import { onTestFinished, test, expect } from "vitest";
import { HttpError } from "./errors.ts";
import { createWebServer, type EndedRequest, type Site, type WebServerOptions } from "./server.ts";

/** A site with an answer, a mistake, something that waits, and a page. */
function open(options: WebServerOptions = {}, more: Partial<Site> = {}) {
  const ended: EndedRequest[] = [];
  const lines: { status?: number; ended?: string; path?: string }[] = [];
  const server = createWebServer(
    {
      addRoutes(fastify, requests) {
        fastify.get("/runs/:name", async (request) => ({ name: (request.params as { name: string }).name }));
        fastify.post("/echo", async ({ body }) => body);
        fastify.get("/broken", async () => {
          throw new Error("secret /home/x");
        });
        fastify.get("/ours", async () => {
          throw Object.assign(new Error("the run is damaged"), { name: "FormatError" });
        });
        fastify.get("/waits", async (request) => {
          const signal = requests.signalOf(request);
          await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        });
        fastify.get("/ended", async (request) => {
          requests.end(request, "stalled");
          throw requests.signalOf(request).reason;
        });
      },
      pages: [{ path: "/", file: "web/chat/index.html", type: "text/html; charset=utf-8" }],
      onEnd: (one) => ended.push(one),
      ...more,
    },
    {
      port: 0,
      log: { level: "info", stream: { write: (line) => void lines.push(JSON.parse(line)) } },
      ...options,
    },
  );
  onTestFinished(() => server.close());
  return { server, ended, lines, get: (url: string, headers = {}) => server.fastify.inject({ url, headers }) };
}

test("answers its routes and its pages, counts them, and says each in one line", async () => {
  let nowMs = 0;
  const { server, get, ended, lines } = open({ clock: { monotonicMs: () => (nowMs += 250), epochMs: () => 0 } });
  const url = await server.listen(); // a real connection: only there is an answer ever whole
  expect(await (await fetch(`${url}/runs/a`)).json()).toEqual({ name: "a" });
  await expect.poll(() => ended.length).toBe(1);
  expect(ended).toEqual([{ route: "/runs/:name", method: "GET", status: 200, seconds: 0.25, early: null }]);
  expect(lines.at(-1)).toMatchObject({ method: "GET", path: "/runs/a", status: 200, ms: 250 });
  const page = await get("/?x=1");
  expect(page.headers["content-security-policy"]).toMatch(/^default-src 'none'/);
  expect(page.headers["x-request-id"]).toMatch(/^req_[0-9a-f]{24}$/);
  expect((await get("/runs")).statusCode).toBe(404);
  expect(ended.at(-1)).toMatchObject({ route: "unknown", status: 404 });
});

test("lets in by key, by this computer's names, and other sites only where named; pages need no key", async () => {
  const { get } = open({ apiKeys: ["k"], corsOrigins: ["https://a.example"] }, { openPaths: ["/runs/open"] });
  expect((await get("/runs/a")).statusCode).toBe(401);
  expect((await get("/runs/a", { authorization: "Bearer k" })).statusCode).toBe(200);
  for (const path of ["/", "/runs/open"]) expect((await get(path)).statusCode).toBe(200);
  expect((await get("/", { host: "evil.example" })).statusCode).toBe(421);
  const other = await get("/", { origin: "https://a.example" });
  expect(other.headers["access-control-allow-origin"]).toBe("https://a.example");
});

test("says what is wrong: unknown addresses with a hint, bodies, errors of its own, and nothing of the rest", async () => {
  const { server, get, lines } = open(
    { bodyBytes: 20 },
    {
      hint: "GET /runs/a works",
      translate: (error) =>
        (error as Error).name === "FormatError" ? new HttpError(422, (error as Error).message) : null,
    },
  );
  expect((await get("/nowhere")).json().error.message).toBe("there is no GET /nowhere here; GET /runs/a works");
  const large = await server.fastify.inject({ method: "POST", url: "/echo", payload: { text: "x".repeat(30) } });
  expect([large.statusCode, large.json().error.code]).toEqual([413, "body_too_large"]);
  const text = await server.fastify.inject({
    method: "POST",
    url: "/echo",
    payload: "a=b",
    headers: { "content-type": "text/plain" },
  });
  expect(text.statusCode).toBe(415);
  const ours = await get("/ours");
  expect([ours.statusCode, ours.json().error.message]).toEqual([422, "the run is damaged"]);
  const broken = await get("/broken");
  expect([broken.statusCode, broken.body.includes("secret")]).toEqual([500, false]);
  expect(JSON.stringify(lines)).toContain("secret"); // the log has it
});

test("ends a request that takes too long, one that a route ends, and what is under way when it closes", async () => {
  const { get, ended } = open({ timeoutMs: 20 });
  expect((await get("/waits")).statusCode).toBe(504);
  expect(ended.at(-1)).toMatchObject({ status: 504, early: "timeout" });
  await get("/ended");
  expect(ended.at(-1)).toMatchObject({ early: "stalled" });

  const { server, ended: later } = open({ graceMs: 20 });
  const url = await server.listen();
  const asked = fetch(`${url}/waits`).then((response) => response.status);
  await expect.poll(() => server.fastify.server.listening).toBe(true);
  await new Promise<void>((resolve) => server.fastify.server.once("request", () => resolve()));
  await server.close();
  expect(await asked).toBe(503);
  expect(later).toMatchObject([{ route: "/waits", status: 503, early: "shutdown" }]);
});
