/**
 * A TensorBoard event file beside scalars.jsonl, with the same names in groups: train/ (a step's line), val/ (an evaluation's,
 * where val_loss is val/loss) and layers/. `tensorboard --logdir runs` shows all runs, a run's own folder that run. Each process
 * that works on a run writes a file of its own; TensorBoard reads a folder's files as one run, and steps that a resume
 * did again have the same values twice.
 */
import { eventFileName, scalarsRecord, versionRecord } from "../../formats/tensorboard.ts";
import { type AppendFile, openAppend } from "../../platform/append-file.ts";
import { joinPath } from "../../platform/files.ts";
import type { Clock } from "../../platform/system.ts";
import type { Callback, ScalarLine } from "../events.ts";

export function tensorboard(folder: string, clock: Clock, writer: { host: string; pid: number }): Callback {
  const seconds = () => clock.epochMs() / 1000;
  let file: AppendFile | undefined;
  return {
    name: "tensorboard",
    on(event) {
      if (event.type === "start") {
        const started = seconds();
        file = openAppend(joinPath(folder, eventFileName(started, `${writer.host}.${writer.pid}`)), { lines: false });
        if (file.sizeBytes === 0) file.append(versionRecord(started));
      } else if (event.type === "scalars") {
        const { step } = event.line;
        file?.append(scalarsRecord({ wallTimeSeconds: seconds(), step, scalars: flatten(event.line) }));
      }
    },
    close: () => file?.close(),
  };
}

/**
 * { loss: 1, layers: { a: { zero: 2 } } } to { "train/loss": 1, "layers/a/zero": 2 }, and an evaluation's { val_loss: 1 } to
 * { "val/loss": 1 }; what is no number is left out.
 */
export function flatten(line: ScalarLine): Record<string, number> {
  const scalars: Record<string, number> = {};
  const evaluated = "val_loss" in line;
  const tagOf = (key: string) => {
    if (key === "layers") return key;
    return evaluated ? `val/${key.replace(/^val_/, "")}` : `train/${key}`;
  };
  const walk = (value: unknown, tag: string) => {
    if (typeof value === "number") scalars[tag] = value;
    else if (typeof value === "object" && value !== null)
      for (const [key, inner] of Object.entries(value)) walk(inner, tag === "" ? tagOf(key) : `${tag}/${key}`);
  };
  const { step: _, ...rest } = line;
  walk(rest, "");
  return scalars;
}
