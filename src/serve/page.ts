/** The chat page's files. Called by server.ts. */
import type { PageFile } from "../http/pages.ts";

export const chatPage: readonly PageFile[] = [
  { path: "/", file: "web/chat/index.html", type: "text/html; charset=utf-8" },
  { path: "/chat.css", file: "web/chat/chat.css", type: "text/css; charset=utf-8" },
  { path: "/chat.js", file: "web/chat/chat.js", type: "text/javascript; charset=utf-8" },
  { path: "/icon.svg", file: "web/chat/icon.svg", type: "image/svg+xml" },
];
