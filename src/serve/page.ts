/** The chat page's files (web/chat/), read once and sent as they are. No build, nothing from elsewhere. */
import type { FastifyInstance } from "fastify";
import { packageFile, readBytes } from "../platform/machine.ts";
import { pageHeaders } from "./security.ts";

const files = [
  { path: "/", file: "index.html", type: "text/html; charset=utf-8" },
  { path: "/chat.css", file: "chat.css", type: "text/css; charset=utf-8" },
  { path: "/chat.js", file: "chat.js", type: "text/javascript; charset=utf-8" },
  { path: "/icon.svg", file: "icon.svg", type: "image/svg+xml" },
] as const;

export const pagePaths: readonly string[] = files.map(({ path }) => path);

export function addPage(server: FastifyInstance): void {
  for (const { path, file, type } of files) {
    const content = new TextDecoder().decode(readBytes(packageFile(`web/chat/${file}`)));
    server.get(path, async (_request, reply) =>
      reply
        .headers({ ...pageHeaders, "cache-control": "no-cache" })
        .type(type)
        .send(content),
    );
  }
}
