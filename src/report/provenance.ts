/** Where a report's numbers come from, as rows: machine, commit, data, tokenizer, text, command. */
import { countOf, formatBytes, formatCount, formatDuration } from "../platform/format.ts";
import type { ModelMeasurement } from "./measurement.ts";
import type { Report } from "./report.ts";
import type { Made } from "./store.ts";

export function provenanceOf({ models, command, createdMs }: Report): [string, string][] {
  const rows: [string, string][] = [
    ["made", new Date(createdMs).toISOString()],
    ["command", command],
  ];
  for (const model of models) rows.push(...ofModel(model));
  return rows;
}

/** Files, each with the tasks that are from it. */
function taskSources({ tasks }: ModelMeasurement): Map<string, { sha256: string; names: string[] }> {
  const found = new Map<string, { sha256: string; names: string[] }>();
  for (const { task, source, sha256 } of tasks) {
    const one = found.get(source) ?? { sha256, names: [] };
    if (!one.names.includes(task)) one.names.push(task);
    found.set(source, one);
  }
  return found;
}

/** Parts that were made at one place by one program, told together; speed by itself, since it hangs on what else ran. */
function measuredRows({ made, tasks }: ModelMeasurement): [string, string][] {
  const groups = new Map<string, [part: string, made: Made][]>();
  for (const [part, one] of Object.entries(made)) {
    const { machine, backend, software } = one;
    const key = JSON.stringify([part === "speed", machine, backend, software]);
    groups.set(key, [...(groups.get(key) ?? []), [part, one]]);
  }
  const count = (n: number) => `${formatCount(n)} ${n === 1 ? "task" : "tasks"}`;
  return [...groups.values()].map((group) => {
    const parts = group.map(([part]) => part).filter((part) => !part.startsWith("task-"));
    const here = group.flatMap(([part]) => (part.startsWith("task-") ? [part.slice(5)] : []));
    const all = new Set(tasks.map(({ task }) => task)).size;
    const named = here.length === 0 ? [] : [here.length === all ? count(all) : here.join(", ")];
    return [`measured: ${[...parts, ...named].join(", ")}`, madeText(group.map(([, one]) => one))];
  });
}

function madeText(parts: readonly Made[]): string {
  const [{ machine, backend, software }] = parts;
  const start = Math.min(...parts.map(({ startedMs }) => startedMs));
  const elapsed = parts.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0);
  const known = parts.flatMap(({ othersShare, elapsedMs }) =>
    othersShare === null ? [] : [{ othersShare, elapsedMs }],
  );
  const knownMs = known.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0);
  const others = known.reduce((sum, one) => sum + one.othersShare * one.elapsedMs, 0) / knownMs;
  return [
    `from ${new Date(start).toISOString()}, ${formatDuration(elapsed)} in all`,
    ...(knownMs > 0 ? [`other programs took ${(100 * others).toFixed(0)} % of the processors meanwhile`] : []),
    `${machine.processor}, ${machine.processors} processors, ${formatBytes(machine.memoryBytes)}, ${machine.system}, Node ${machine.node}; ${backend.name} ${backend.isa}, ${backend.threads} ${backend.threads === 1 ? "thread" : "threads"}`,
    `bitnet.ts ${software.version}, commit ${software.commit ?? "unknown"}`,
  ].join("; ");
}

function ofModel(m: ModelMeasurement): [string, string][] {
  const at = (what: string) => `${m.name}: ${what}`;
  const rows: [string, string][] = [
    [
      at("model"),
      `${m.path}${m.weights ? `, ${m.weights} weights` : ""}${m.step === null ? "" : `, step ${m.step.toLocaleString("en-US")}`}`,
    ],
  ];
  for (const [what, how] of measuredRows(m)) rows.push([at(what), how]);
  if (m.tokenizer) rows.push([at("tokenizer"), `${m.tokenizer.name}, ${m.tokenizer.hash}`]);
  if (m.text)
    rows.push([
      at("text"),
      `${m.text.files.join(", ")}; ${m.text.tokens.toLocaleString("en-US")} tokens${m.text.whole ? "" : " (a part)"} in windows of ${m.text.sequence}; sha256 ${m.text.sha256}`,
    ]);
  for (const [source, { sha256, names }] of taskSources(m))
    rows.push([at(`${names.length === 1 ? "task" : "tasks"} ${names.join(", ")}`), `${source}; sha256 ${sha256}`]);
  if (m.speed) {
    const { prompt, decode, firstToken } = m.speed.engines;
    rows.push([
      at("timed on"),
      `linear layers in ${m.speed.weights}; reading on the ${prompt} engine, writing on the ${decode}, first token on the ${firstToken}`,
    ]);
  }
  const { training } = m;
  if (training) {
    const session = training.sessions.at(-1);
    rows.push([
      at("trained on"),
      `${training.data.tokens.toLocaleString("en-US")} tokens of ${training.data.documents.toLocaleString("en-US")} documents, data ${training.data.identity}`,
    ]);
    if (session)
      rows.push([
        at("trained by"),
        `bitnet.ts ${session.version}, commit ${session.commit ?? "unknown"}; ${session.machine.processor}, ${session.backend} ${session.isa}, ${countOf(session.threads, "thread")}, ${session.precision}`,
      ]);
  }
  return rows;
}
