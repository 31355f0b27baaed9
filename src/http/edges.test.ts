// Rude clients: silent connections, heads and bodies by drops, odd names. Oracle: what RFC 9110 and 9112 say of each (408, 400,
// 421), and that another client is answered all the while.
import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { until } from "../../test/support/serving.ts";
import { checkHost, isLoopback } from "./security.ts";
import { createWebServer, type WebServerOptions } from "./server.ts";

async function open(options: WebServerOptions = {}) {
  let begun = 0;
  const server = createWebServer(
    {
      addRoutes(fastify) {
        fastify.get("/", async () => "here");
        fastify.post("/echo", async ({ body }) => body);
      },
      onBegin() {
        begun++;
      },
    },
    { port: 0, ...options },
  );
  onTestFinished(() => server.close());
  const url = await server.listen();
  const raw = (text: string) =>
    new Promise<{ socket: Socket; answer(): string; closed(): boolean }>((resolve) => {
      const socket = connect(Number(new URL(url).port), "127.0.0.1");
      let got = "";
      let closed = false;
      socket.on("data", (data) => {
        got += data;
      });
      socket.on("error", () => {});
      socket.on("close", () => {
        closed = true;
      });
      onTestFinished(() => void socket.destroy());
      socket.on("connect", () => {
        socket.write(text);
        resolve({ socket, answer: () => got, closed: () => closed });
      });
    });
  return { url, raw, begun: () => begun };
}

test("silent connections make room for one that speaks, the longest silent first", async () => {
  const { url, raw } = await open({ connections: 4 });
  const silent = [await raw(""), await raw(""), await raw(""), await raw("")];
  expect(await (await fetch(url)).text()).toBe("here");
  await until(() => silent[0].closed());
  expect(silent.slice(1).map(({ closed }) => closed())).toEqual([false, false, false]);
});

test("connections of one address have a limit of their own, and one amid a request is not ended", async () => {
  const { url, raw, begun } = await open({ connections: 100, connectionsOfAddress: 2 });
  const busy = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
  const held = [await raw(busy), await raw(busy)];
  await until(() => begun() === 2);
  await expect(fetch(url)).rejects.toThrow();
  expect(held.map(({ closed }) => closed())).toEqual([false, false]);
  held[0].socket.write('"a": 12}');
  await until(() => held[0].answer().includes("200 OK"));
});

test("a head, and a body, that come by drops end in 408", { timeout: 30_000 }, async () => {
  const { url, raw } = await open({ headMs: 300, bodyMs: 600 });
  const head = await raw("GET / HTTP/1.1\r\nho");
  const body = await raw(
    "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{",
  );
  await until(() => head.closed() && body.closed());
  expect(head.answer()).toMatch(/^HTTP\/1.1 408/);
  expect(body.answer()).toMatch(/^HTTP\/1.1 408/);
  expect(await (await fetch(url)).text()).toBe("here");
});

test("a body that is no UTF-8, and two Host headers, are 400", async () => {
  const { url, raw } = await open();
  const send = (body: Uint8Array) =>
    fetch(`${url}/echo`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: body as Uint8Array<ArrayBuffer>,
    });
  expect((await send(Uint8Array.from([0x22, 0xff, 0x22]))).status).toBe(400);
  const good = await send(new TextEncoder().encode('{"a":"é"}'));
  expect([good.status, await good.json()]).toEqual([200, { a: "é" }]);
  const two = await raw("GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.com\r\n\r\n");
  await until(() => two.answer() !== "");
  expect(two.answer()).toMatch(/^HTTP\/1.1 400/);
});

test("names that are this computer's, and names that only look so", () => {
  for (const name of [
    "localhost",
    "localhost:8080",
    "a.localhost",
    "127.0.0.1:80",
    "127.255.0.9",
    "[::1]:80",
    "LOCALHOST",
  ])
    expect(() => checkHost(name, [])).not.toThrow();
  for (const name of [
    ...[
      "evil.com",
      "evil.com/.localhost",
      "evil.com#.localhost",
      "a b.localhost",
      "127.999.999.999",
      "localhost.evil.com",
    ],
    ...["", ".localhost", "-a.localhost", "127.0.0.1.evil.com", "x".repeat(5000)],
  ])
    expect(() => checkHost(name, []), name).toThrow(/answers to localhost/);
  expect(isLoopback("::1")).toBe(true);
});
