/**
 * What a resumed run does otherwise than before, in words. Its folder keeps one config, so a setting that changes on the way is
 * said once, when it changes. What must not change (model, quantizers, frozen parameters, optimizer) is refused elsewhere.
 * Called by train.ts.
 */
import { show } from "../platform/show.ts";
import type { RunConfig } from "./config-schema.ts";

/** Told of by every session's own line in meta.json, and by recordRun. */
const toldElsewhere = ["backend"];

/** One entry for each setting: `train.steps is 600 (was 300)`. */
export function changedSettings(before: RunConfig, now: RunConfig): string[] {
  const found: string[] = [];
  const walk = (path: string, old: unknown, value: unknown): void => {
    if (toldElsewhere.includes(path) || JSON.stringify(old) === JSON.stringify(value)) return;
    if (path === "train.callbacks") found.push(...changedCallbacks(before.train.callbacks, now.train.callbacks));
    else if (isSection(old) && isSection(value))
      for (const key of new Set([...Object.keys(old), ...Object.keys(value)]))
        walk(path === "" ? key : `${path}.${key}`, old[key], value[key]);
    else found.push(`${path} is ${show(value)} (was ${show(old)})`);
  };
  walk("", before, now);
  return found;
}

type Callbacks = RunConfig["train"]["callbacks"];

/** A callback's state in a checkpoint is found by its name: what comes, goes or stays is told with it. */
function changedCallbacks(before: Callbacks, now: Callbacks): string[] {
  const named = (list: Callbacks, name: string) => list.find((choice) => choice.name === name);
  const came = now.filter(({ name }) => !named(before, name)).map(({ name }) => name);
  const went = before.filter(({ name }) => !named(now, name)).map(({ name }) => name);
  const changed = now.filter((choice) => {
    const old = named(before, choice.name);
    return old && JSON.stringify(old) !== JSON.stringify(choice);
  });
  const say = (names: readonly string[], what: string) => names.map((name) => `train.callbacks: ${show(name)} ${what}`);
  const all = [
    ...say(came, "is new and begins without a state"),
    ...say(went, "is gone, and its state with it"),
    ...say(
      changed.map(({ name }) => name),
      "has other options, and keeps its state",
    ),
  ];
  return all.length > 0 ? all : ["train.callbacks: another order"];
}

const isSection = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
