/** Appends every `scalars` line to metrics/scalars.jsonl; see ../scalars.ts for the file's rules and its reader. */
import { openAppend } from "../../platform/append-file.ts";
import type { Callback } from "../events.ts";
import { scalarsText } from "../scalars.ts";

export function scalarsFile(path: string): Callback {
  const file = openAppend(path, { lines: true });
  return {
    name: "scalars-file",
    on(event) {
      // Says to readers that lines past this step are of a run that went on no further.
      if ((event.type === "start" && file.sizeBytes > 0) || event.type === "rollback")
        file.append(`${JSON.stringify({ resumed_from: event.step })}\n`);
      else if (event.type === "scalars") file.append(scalarsText(event.line));
      // Whoever resumes from a checkpoint then finds the lines up to it.
      else if (event.type === "checkpoint" || event.type === "end") file.sync();
    },
    close: () => file.close(),
  };
}
