/**
 * A stand-in for the Hugging Face hub on this machine, for tests of downloads: the documented routes (info, tree, resolve
 * with ranges and checksums) over files that the test puts in, and faults that it asks for. Nothing outside is asked.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Of the repository; the only one there is. */
export const hubCommit = "0123456789abcdef0123456789abcdef01234567";

export interface HubFile {
  bytes: Buffer;
  /** Kept outside git, with a SHA-256. */
  large?: boolean;
}

export interface HubServer {
  url: string;
  files: Record<string, HubFile>;
  /** What was asked: "GET /path", and the range where there was one. */
  asked: string[];
  /** The authorisation of each question. */
  tokens: (string | undefined)[];
  /** Breaks answers with large files off after so many bytes. */
  cutAfter: number | null;
  /** One bit of large files is another one than the checksum says. */
  wrongByte: boolean;
  /** Answers everything with it. */
  status: number | null;
  /** Of every file: changes where it does. */
  etag: string;
  /** No faults, nothing asked, these files. */
  reset(files: Record<string, HubFile>): void;
  close(): void;
}

/** @param kind  what `org/name` is. Files also lie at the root, as behind any address. */
export async function startHubServer(kind: "models" | "datasets", repo: string): Promise<HubServer> {
  const faultless = { cutAfter: null, wrongByte: false, status: null, etag: '"one"' };
  const server = createServer((request, response) => answer(request, response));
  const hub: HubServer = {
    url: "",
    files: {},
    asked: [],
    tokens: [],
    ...faultless,
    reset: (files) => void Object.assign(hub, { files, asked: [], tokens: [], ...faultless }),
    close: () => void server.close(),
  };
  const prefix = kind === "models" ? repo : `datasets/${repo}`;

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url!, "http://x");
    const { range } = request.headers;
    hub.asked.push(`${request.method} ${pathname}${range ? ` ${range}` : ""}`);
    hub.tokens.push(request.headers.authorization);
    if (hub.status !== null) return void response.writeHead(hub.status).end("no");
    const json = (value: unknown) =>
      void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
    if (new RegExp(`^/api/${kind}/${repo}(/revision/[^/]+)?$`).test(pathname))
      return void json({ _id: "1", id: repo, sha: hubCommit, private: false, downloads: 0, likes: 0, gated: false });
    const tree = new RegExp(`^/api/${kind}/${repo}/tree/${hubCommit}/?(.*)$`).exec(pathname);
    if (tree)
      return void json(
        Object.entries(hub.files)
          .filter(([path]) => path.startsWith(tree[1]))
          .map(([path, { bytes, large }]) => ({
            type: "file",
            path,
            oid: "a".repeat(40),
            size: bytes.length,
            ...(large ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
          })),
      );
    const path = new RegExp(`^/${prefix}/resolve/${hubCommit}/(.+)$`).exec(pathname)?.[1] ?? pathname.slice(1);
    const found = hub.files[path];
    if (!found) return void response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
    const bytes = Buffer.from(found.bytes);
    if (hub.wrongByte && found.large) bytes[5] ^= 1;
    const [, from = "0", to = ""] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
    const start = Number(from);
    const end = to === "" ? bytes.length - 1 : Math.min(Number(to), bytes.length - 1);
    const body = bytes.subarray(start, end + 1);
    response.writeHead(range ? 206 : 200, {
      etag: hub.etag,
      "content-length": body.length,
      "content-range": `bytes ${start}-${end}/${bytes.length}`,
    });
    if (request.method === "HEAD") return void response.end();
    if (hub.cutAfter !== null && found.large && body.length > hub.cutAfter) {
      response.write(body.subarray(0, hub.cutAfter), () => setTimeout(() => response.destroy(), 20));
      return;
    }
    response.end(body);
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  hub.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return hub;
}
