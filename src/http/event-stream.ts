/** Server-sent events as an answer's body, made no faster than they are read. */

/**
 * A generator's texts as the body of an answer: nothing is made before the reader wants it. A reader that takes nothing for
 * `patienceMs` is given up.
 */
export function eventBody(
  events: AsyncGenerator<string>,
  { patienceMs, onStall }: { patienceMs: number; onStall(): void },
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let timer: ReturnType<typeof setTimeout> | undefined;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        clearTimeout(timer);
        const { value, done } = await events.next();
        if (done) return controller.close();
        controller.enqueue(encoder.encode(value));
        timer = setTimeout(onStall, patienceMs);
      },
      async cancel() {
        clearTimeout(timer);
        await events.return(undefined);
      },
    },
    // Nothing is kept ready: what is not wanted yet waits at the engine.
    { highWaterMark: 0 },
  );
}
