/** What `bitnet data prepare --dry-run` says: sources, what is left of them, tokens, shards, disk and time. */
import type { PrepareEstimate } from "../../../corpus/index.ts";
import { countOf, formatBytes, formatCount, formatDuration, formatShare, formatTable } from "../../support/format.ts";

export function describeEstimate(
  name: string,
  { sources, heldOut, ...estimate }: PrepareEstimate,
  { deduplicates, shardTokens }: { deduplicates: boolean; shardTokens: string },
): string {
  const bytes = (value: number | null) => (value === null ? "?" : formatBytes(value));
  const rows = sources.map(({ name, files, bytes: size, textBytes, sample, keptBytes, licence }) => [
    name,
    files === null ? "?" : formatCount(files),
    bytes(size),
    bytes(textBytes),
    sample
      ? `${formatShare(sample.keptBytes / Math.max(1, sample.textBytes))} of ${formatCount(sample.documents)}`
      : "?",
    bytes(keptBytes),
    licence ?? "",
  ]);
  const head = ["source", "files", "to read", "text", "filters leave", "to encode", "licence"];
  const { bytesPerToken, filterBytesPerSecond, encodeBytesPerSecond, tokens, shards } = estimate;
  const rate = (value: number | null) => (value === null ? "?" : `${formatBytes(value)}/s`);
  const { seconds, filterSeconds } = estimate;
  const time =
    seconds !== null ? `about ${long(seconds)}` : filterSeconds !== null ? `over ${long(filterSeconds)}` : "not known";
  const facts = [
    ["would prepare", name],
    [
      "tokens",
      `${tokens === null ? "?" : `about ${formatCount(Math.round(tokens))}`}, at ${bytesPerToken.value.toFixed(2)} bytes a token (${bytesPerToken.measured ? "measured on the sample" : "assumed"})`,
    ],
    ["shards", `${shards === null ? "?" : formatCount(shards)}${shardTokens}`],
    [
      "on the disk",
      `${bytes(estimate.shardBytes)} of shards; the work folder at most ${bytes(estimate.workBytes)} more`,
    ],
    [
      "time",
      `${time}: reading and filtering ${rate(filterBytesPerSecond)} on one thread, encoding ${rate(encodeBytesPerSecond)}${estimate.measuredOn === "pages" ? " (measured on the package's own pages)" : ""}${deduplicates ? "; deduplication comes on top" : ""}`,
    ],
  ];
  const unreachable = [...sources, ...heldOut].flatMap(({ name, unreachable }) =>
    unreachable === null ? [] : [`${name}: ${unreachable}\n`],
  );
  if (estimate.tokenizer !== null) unreachable.push(`tokenizer: ${estimate.tokenizer}\n`);
  if (heldOut.length > 0)
    facts.push(["looked for", heldOut.map(({ name, files }) => heldOutText(name, files)).join(", ")]);
  const note =
    unreachable.length > 0
      ? `\nnot reached, so what the publisher says stands in, or nothing:\n${unreachable.join("")}`
      : "";
  return `${formatTable(facts)}\n${formatTable([head, ...rows], [1, 2, 3, 4, 5])}${note}\nnothing was written\n`;
}

const heldOutText = (name: string, files: number | null): string =>
  `${name} (${files === null ? "not reached" : files === 1 ? "1 file" : `${countOf(files, "file")}`})`;

const daySeconds = 86_400;
const long = (seconds: number): string =>
  seconds < 2 * daySeconds ? formatDuration(seconds * 1000) : `${formatCount(Math.round(seconds / daySeconds))} days`;
