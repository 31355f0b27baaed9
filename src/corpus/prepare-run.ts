/**
 * The run of a preparation through its stages, for both of its fronts: prepare-shards.ts (out of core, taken up again, many
 * machines) and prepare.ts (a training run's own text). It leaves a dataset in the work folder; who called puts it in place.
 */
import type { DatasetManifest } from "../data/dataset.ts";
import { UsageError } from "../platform/errors.ts";
import type { DedupStage } from "./dedup/dedup.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import { checkEncoder } from "./prepare-checks.ts";
import type { PrepareStage, StageContext, TokenizerSource } from "./prepare-context.ts";
import { checkAnyText, finishDataset } from "./prepare-finish.ts";
import { dedupStage, encodeStage, planShards, shardStage, textStage } from "./prepare-stages.ts";
import { openTokenizer } from "./prepare-tokenizer.ts";

const dedupParts: Record<string, DedupStage | undefined> = {
  signatures: "signatures",
  candidates: "candidates",
  shingles: "shingles",
  clusters: "clusters",
  drops: "write",
};

/**
 * @param stage  this one alone; absent: all
 * @returns the manifest of the dataset in the work folder's `result`; null where `stage` is another than "finish"
 * @throws UsageError for a stage that this preparation has not, or whose parts are not there; DataError as finishDataset
 */
export async function runPreparation(
  context: StageContext,
  tokenizer: DocumentEncoder | TokenizerSource,
  stage?: PrepareStage,
): Promise<DatasetManifest | null> {
  const { given, say } = context;
  const wants = (...names: PrepareStage[]) => !stage || names.includes(stage);
  if (wants("text") && given.keepsText) {
    await textStage(context);
    if (!given.share) checkAnyText(context);
  } else if (stage === "text") throw new UsageError("this preparation keeps no text: its first stage is encode");
  if (given.dedup && !stage) await dedupStage(context);
  const part = dedupParts[stage ?? ""];
  if (part) await dedupStage(context, part);
  if (!wants("tokenizer", "encode", "shards", "finish")) return null;
  say("tokenizer", 0, 0, "");
  const open = await openTokenizer(context, tokenizer);
  try {
    checkEncoder(open.encoder);
    if (wants("encode")) await encodeStage(context, open.encoder);
    if (!wants("shards", "finish")) return null;
    const plans = (["train", "valid"] as const).map((split) => planShards(context, open.encoder, split));
    if (wants("shards")) await shardStage(context, plans);
    return wants("finish") ? await finishDataset(context, plans, given.key, open.files) : null;
  } finally {
    await open.close();
  }
}
