/** An engine's side for tests: answers questions, and is stuck for good by a certain one. Counts its openings in a file. */
import { appendFileSync } from "node:fs";
import type { Service } from "../../src/platform/service-worker.ts";
import type { FromHost, ModelFacts, ToHost } from "../../src/serve/messages.ts";

export const stuckUrl = import.meta.url;
/** Detokenizing this never ends. */
export const poison = 666;

export async function createService(log: string, post: (message: FromHost) => void): Promise<Service<ToHost>> {
  appendFileSync(log, "opened\n");
  post({ type: "opened", facts: { folder: "stuck" } as ModelFacts });
  return {
    receive(message) {
      if (message.type === "ping") post({ type: "pong" });
      if (message.type === "close") post({ type: "closed" });
      if (message.type !== "ask" || message.question.kind !== "detokenize") return;
      if (message.question.tokens.includes(poison)) for (;;);
      post({ type: "answer", id: message.id, value: "text" });
    },
  };
}
