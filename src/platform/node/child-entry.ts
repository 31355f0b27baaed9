/** What a process of child.ts runs: one piece of work, its result or its error, and the end. */
import type { FromChild, ToChild } from "./child.ts";
import { setUpThisWorker } from "./workers.ts";

const aborted = new AbortController();
// A terminal sends Ctrl-C to this process too; the one that started it decides.
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => {});
// It is gone, killed perhaps: nobody waits for the result.
process.on("disconnect", () => process.exit(1));

const send = (message: FromChild) => process.send!(message);

process.on("message", async (message: ToChild) => {
  if ("abort" in message) return aborted.abort(new Error("aborted"));
  const { module, input, setup } = message.run;
  let answer: FromChild;
  try {
    await setUpThisWorker(setup);
    const { runInChild } = await import(module);
    const io = { send: (inner: unknown) => send({ message: inner }), signal: aborted.signal };
    answer = { result: await runInChild(input, io) };
  } catch (cause) {
    const { name, message: text, stack } = cause instanceof Error ? cause : new Error(String(cause));
    answer = { error: { name, message: text, ...(stack === undefined ? {} : { stack }) } };
  }
  process.send!(answer, () => process.exit(0));
});
