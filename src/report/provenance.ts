/** Where a report's numbers come from, as rows: machine, commit, data, tokenizer, text, command. */
import { formatBytes } from "../platform/format.ts";
import type { ModelMeasurement } from "./measurement.ts";
import type { Report } from "./report.ts";

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

function ofModel(m: ModelMeasurement): [string, string][] {
  const at = (what: string) => `${m.name}: ${what}`;
  const { system, processor, processors, memoryBytes, node } = m.machine;
  const rows: [string, string][] = [
    [
      at("model"),
      `${m.path}${m.weights ? `, ${m.weights} weights` : ""}${m.step === null ? "" : `, step ${m.step.toLocaleString("en-US")}`}`,
    ],
    [
      at("measured on"),
      `${processor}, ${processors} processors, ${formatBytes(memoryBytes)}, ${system}, Node ${node}; ${m.backend.name} ${m.backend.isa}, ${m.backend.threads} threads`,
    ],
    [at("measured by"), `bitnet.ts ${m.software.version}, commit ${m.software.commit ?? "unknown"}`],
  ];
  if (m.tokenizer) rows.push([at("tokenizer"), `${m.tokenizer.name}, ${m.tokenizer.hash}`]);
  if (m.text)
    rows.push([
      at("text"),
      `${m.text.files.join(", ")}; ${m.text.tokens.toLocaleString("en-US")} tokens${m.text.whole ? "" : " (a part)"} in windows of ${m.text.sequence}; sha256 ${m.text.sha256}`,
    ]);
  for (const [source, { sha256, names }] of taskSources(m))
    rows.push([at(`tasks ${names.join(", ")}`), `${source}; sha256 ${sha256}`]);
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
        `bitnet.ts ${session.version}, commit ${session.commit ?? "unknown"}; ${session.machine.processor}, ${session.backend} ${session.isa}, ${session.threads} threads, ${session.precision}`,
      ]);
  }
  return rows;
}
