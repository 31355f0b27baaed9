/** `bitnet data mix`: what a mixture comes to before it is trained on. Writes nothing. */
import { Command } from "commander";
import type { CurriculumSpec, MixtureSpec, PlannedSource, SourceSpec } from "../../data/index.ts";
import { formatCount, formatShare, formatTable } from "../support/format.ts";
import { wholeNumber } from "../support/options.ts";

interface MixOptions {
  mix?: string[];
  tokens?: number;
  steps?: number;
  batch: number;
  sequence: number;
  json?: boolean;
}

/** A source's plan; null where it was not prepared yet and its tokens are not known. */
interface Row {
  name: string;
  share: number;
  plan: PlannedSource;
  known: boolean;
}

const collect = (value: string, before: string[] = []): string[] => [...before, value];

export function mixCommand(): Command {
  return new Command("mix")
    .summary("expected tokens and epochs of each source of a mixture")
    .description(
      "Tells what a mixture's sources give in a run of so many tokens: a plan; nothing is written or trained.",
    )
    .argument("[mixture]", "a mixture.yaml")
    .option("--mix <sources>", "or: name=weight:path, with commas between several; may be repeated", collect)
    .option("--tokens <n>", "of the run", wholeNumber(1))
    .option("--steps <n>", "or: steps of --batch sequences", wholeNumber(1))
    .option("--batch <n>", "sequences a step", wholeNumber(1), 32)
    .option("-T, --sequence <n>", "tokens of a sequence", wholeNumber(1), 2048)
    .option("--json", "print the plan as JSON")
    .addHelpText(
      "after",
      `
Without --tokens or --steps: one pass, as many tokens as all sources have. Sources are datasets that bitnet data prepare
made; of one that is not there yet, or is text, only the share is known. docs/mixing.md has the format of mixture.yaml;
recipes/mixtures/ has that of RedPajama.

Examples:
  bitnet data mix recipes/mixtures/redpajama.yaml --tokens 100000000000
  bitnet data mix --mix stories=0.7:stories,sums=0.3:sums --steps 1000 --batch 32 --sequence 256`,
    )
    .action(run);
}

async function run(path: string | undefined, options: MixOptions): Promise<void> {
  const { isDataset, parseMix, pathsOf, planMixture, readMixture } = await import("../../data/index.ts");
  const { UsageError } = await import("../../platform/errors.ts");
  if ((path === undefined) === (options.mix === undefined))
    throw new UsageError("name a mixture.yaml, or its sources with --mix");
  if (options.tokens !== undefined && options.steps !== undefined)
    throw new UsageError("name one of --tokens and --steps");
  const spec = path === undefined ? parseMix(options.mix!) : readMixture(path);
  const { sequence } = options;
  const isKnown = (source: SourceSpec) => pathsOf(source).every(isDataset);
  const counts = await Promise.all(
    spec.sources.map((source) => (isKnown(source) ? countOf(source, spec, sequence) : 0)),
  );
  const all = counts.reduce((sum, count) => sum + count, 0);
  const draws =
    options.steps !== undefined
      ? options.steps * options.batch
      : options.tokens !== undefined
        ? Math.ceil(options.tokens / sequence)
        : all;
  if (draws === 0)
    throw new UsageError(
      "no source was prepared yet, so one pass has no length; name the run's with --tokens or --steps",
    );
  const sources = spec.sources.map(({ name, weight }, s) => ({
    name,
    weight,
    sequences: { count: counts[s], length: sequence },
  }));
  const rows = planMixture(sources, draws).map((plan, s): Row => {
    const { name, share } = plan;
    return { name, share, plan, known: isKnown(spec.sources[s]) };
  });
  for (const [s, { name, known }] of rows.entries())
    if (!known)
      process.stderr.write(`bitnet: source "${name}": no prepared dataset at ${pathsOf(spec.sources[s]).join(", ")}\n`);
  if (options.json) {
    const plans = rows.map(({ plan, known }) =>
      known ? plan : { ...plan, tokens: null, sequences: null, epochs: null },
    );
    process.stdout.write(`${JSON.stringify({ sequence, draws, tokens: draws * sequence, sources: plans }, null, 2)}\n`);
    return;
  }
  await print(rows, draws * sequence, spec.curriculum ?? null);
}

/** Sequences of a source, and its scores looked for where there is a curriculum. */
async function countOf(source: SourceSpec, { curriculum = null }: MixtureSpec, sequence: number): Promise<number> {
  const { openSource, pathsOf } = await import("../../data/index.ts");
  const { name, weight, curriculum: follows = true } = source;
  const opened = openSource(
    { name, weight, folders: pathsOf(source), curriculum: follows },
    { split: "train", sequence, curriculum },
  );
  try {
    return opened.sequences.count;
  } finally {
    opened.order?.close();
    opened.close();
  }
}

async function print(rows: readonly Row[], tokens: number, curriculum: CurriculumSpec | null): Promise<void> {
  const { competence, manyEpochs } = await import("../../data/index.ts");
  const table = rows.map(({ name, share, plan, known }) => [
    name,
    formatShare(share),
    known ? formatCount(plan.tokens) : "?",
    formatCount(plan.drawnTokens),
    known ? plan.epochs.toPrecision(3) : "?",
  ]);
  const head = ["source", "share", "tokens there", "tokens drawn", "epochs"];
  const total = ["all", formatShare(1), "", formatCount(tokens), ""];
  let text = formatTable([head, ...table, total], [1, 2, 3, 4]);
  if (curriculum) {
    const { by, pacing, start, tokens: length, steps, power } = curriculum;
    const share = competence({ pacing, start, tokens: length, steps, power });
    const at = [0, 0.25, 0.5, 0.75, 1].map((x) => `${formatShare(share(x * length), 0)} at ${formatCount(x * length)}`);
    text += `\ncurriculum by ${by}, ${pacing}: the easiest ${at.join(", ")} tokens\n`;
  }
  process.stdout.write(text);
  for (const { name, plan, known } of rows)
    if (known && plan.epochs > manyEpochs)
      process.stderr.write(
        `bitnet: source "${name}" would be passed over ${plan.epochs.toPrecision(3)} times; more than ${manyEpochs} add little: lower its weight, or find more text\n`,
      );
}
