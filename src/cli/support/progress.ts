/** A progress line on the standard error, where that is a terminal; nothing elsewhere. */
import { SingleBar } from "cli-progress";

export interface ProgressLine {
  /** @param total may become known, or change, on the way */
  update(done: number, total: number, note: string): void;
  /** Takes the line away. */
  close(): void;
}

export function createProgressLine(label: string): ProgressLine {
  if (!process.stderr.isTTY) return { update() {}, close() {} };
  const bar = new SingleBar({
    format: `${label} {bar} {percentage} % {note}`,
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
    fps: 5,
    barsize: 24,
  });
  let started = false;
  return {
    update(done, total, note) {
      if (!started) bar.start(total, done, { note });
      started = true;
      bar.setTotal(total);
      bar.update(done, { note });
    },
    close() {
      if (started) bar.stop();
    },
  };
}
