/** What a dataset holds: for people, or its manifest with the folder's name, lengths and account. */
import type { DatasetManifest, SplitName } from "../../../data/index.ts";
import { describeLengths, describeSamples, describeSources, describeSpread, describeStages } from "./data-report.ts";
import { countOf, formatBytes, formatCount, formatShare, formatTable } from "../../support/format.ts";

export async function printDataset(
  folder: string,
  manifest: DatasetManifest,
  json?: boolean,
  samples = 0,
): Promise<void> {
  const { histogramOfLengths, readPrepareReport } = await import("../../../corpus/index.ts");
  const { openShards } = await import("../../../data/index.ts");
  const account = readPrepareReport(folder);
  const lengths = Object.fromEntries(
    (Object.keys(manifest.splits) as SplitName[]).map((split) => {
      const shards = openShards(folder, split);
      try {
        return [split, histogramOfLengths(shards)];
      } finally {
        for (const shard of shards) shard.close();
      }
    }),
  );
  if (json) {
    process.stdout.write(`${JSON.stringify({ folder, ...manifest, lengths, account }, null, 2)}\n`);
    return;
  }
  const { tokenizer, splits, sources } = manifest;
  const all = splits.train.documents + (splits.valid?.documents ?? 0);
  const entries = Object.entries(splits);
  const table = entries.map(([name, { documents, tokens, textBytes, shards, packing }]) => [
    name,
    formatCount(documents),
    formatShare(documents / all),
    formatCount(tokens),
    formatCount(textBytes),
    // End-of-text tokens, and those that fill sequences up, stand for no byte and are left out of the ratio.
    textBytes > 0 ? ((tokens - documents - (packing?.padding ?? 0)) / textBytes).toFixed(4) : "-",
    String(shards.length),
  ]);
  const head = ["split", "documents", "share", "tokens", "bytes", "tokens/byte", "shards"];
  const shown = sources.slice(0, 8).map(({ name, split }) => (split === "valid" ? `${name} (validation)` : name));
  const more = sources.length > shown.length ? `, and ${sources.length - shown.length} more` : "";
  const facts = [
    ["dataset", folder],
    ["key", manifest.key],
    ["tokenizer", `${countOf(tokenizer.vocabSize, "token")}, hash ${tokenizer.hash}`],
    ["sources", shown.join(", ") + more],
    ...(manifest.about?.licence ? [["licence", manifest.about.licence]] : licencesOf(manifest)),
    ["options", describeOptions(manifest)],
    ...describePacking(manifest),
  ];
  const files = entries.flatMap(([, { shards }]) =>
    shards.map(({ file, tokens, documents, contentHash }) => [
      file,
      `${countOf(tokens, "token")}`,
      `${countOf(documents, "document")}`,
      formatBytes(tokens * (tokenizer.vocabSize <= 65536 ? 2 : 4)),
      contentHash.slice(0, 16),
    ]),
  );
  const right = [1, 2, 3, 4, 5, 6];
  const stages = account?.stages ?? [];
  const parts = [
    formatTable(facts),
    account && (account.sources.bad > 0 || account.sources.blank > 0 || stages.length > 0)
      ? describeSources(account.sources)
      : "",
    describeStages(stages),
    describeSamples(stages, samples),
    describeDuplicates(manifest),
    formatTable([head, ...table], right),
    describeSpread(lengths.train) + describeLengths(lengths.train.bins, "tokens"),
    formatTable(files, [1, 2, 3]),
  ];
  process.stdout.write(parts.filter((part) => part !== "").join("\n"));
}

function licencesOf({ sources }: DatasetManifest): string[][] {
  const licences = [...new Set(sources.map(({ licence }) => licence).filter((one) => one))];
  return licences.length > 0 ? [["licence", licences.join("; ")]] : [];
}

/** How it was read and cut. */
function describeOptions({ options, packing, shuffle }: DatasetManifest): string {
  const { validFraction, separator, field } = options;
  const parts: string[] = [];
  if (separator !== undefined) parts.push(`separator ${JSON.stringify(separator)}, field ${JSON.stringify(field)}`);
  if (packing) parts.push(shuffle === null ? "in the order of sources" : `shuffled with seed ${shuffle}`);
  if (validFraction !== null) parts.push(`${formatShare(Number(validFraction))} held out by document`);
  return parts.join(", ");
}

/** How well packing went: what is filled up, and what is cut. */
function describePacking({ packing, splits }: Pick<DatasetManifest, "packing" | "splits">): string[][] {
  const { train } = splits;
  if (!packing || packing.sequence === null || !train.packing) return [];
  const { sequences, padding, cut, overLength } = train.packing;
  const share = (part: number, all: number) => formatShare(all > 0 ? part / all : 0);
  return [
    [
      "packing",
      `${packing.kind}, ${countOf(sequences, "sequence")} of ${countOf(packing.sequence, "token")}: ${share(padding, train.tokens)} filled up; ${share(cut, train.documents)} of documents cut (${share(overLength, train.documents)} are longer than a sequence)`,
    ],
  ];
}

function describeDuplicates({ counts }: DatasetManifest): string {
  if (!counts) return "";
  const rows = [
    ...Object.entries(counts.duplicates).map(([reason, n]) => [
      reason === "contaminated" ? "holding evaluation text" : `${reason} duplicates`,
      n,
    ]),
    ["emptied by filters", counts.emptied],
    ["beyond the last shard", counts.leftOver],
  ].filter(([, n]) => Number(n) > 0);
  return rows.length === 0
    ? ""
    : formatTable([["left out", "documents"], ...rows.map(([name, n]) => [String(name), formatCount(Number(n))])], [1]);
}
