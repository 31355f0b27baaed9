/** Static pages: files of the package under web/, read once and sent as they are. No build, nothing from elsewhere. */
import type { FastifyInstance } from "fastify";
import { packageFile, readBytes } from "../platform/machine.ts";
import { pageHeaders } from "./security.ts";

export interface PageFile {
  /** Where it is answered, "/" or "/chat.css". */
  path: string;
  /** From the package's root, "web/chat/index.html". */
  file: string;
  type: string;
}

export function addPages(server: FastifyInstance, files: readonly PageFile[]): void {
  for (const { path, file, type } of files) {
    const content = new TextDecoder().decode(readBytes(packageFile(file)));
    server.get(path, async (_request, reply) =>
      reply
        .headers({ ...pageHeaders, "cache-control": "no-cache" })
        .type(type)
        .send(content),
    );
  }
}
