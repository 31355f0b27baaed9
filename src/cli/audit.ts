/** `bitnet audit`: each claim of the BitNet papers, computed on a checkpoint: pass, fail or not applicable, with its figure. */
import { Command } from "commander";
import type { AuditReport } from "../analysis/index.ts";
import { formatShare, formatTable } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { downloaded, noteOpened, startTokenFor, tokenizerOf } from "./support/model.ts";
import { addModelOptions, type ModelFlags } from "./support/model-options.ts";
import { addBackendOptions, type BackendOptions, backendChoice, wholeNumber } from "./support/options.ts";
import { createProgressLine } from "./support/progress.ts";

interface Options extends BackendOptions, ModelFlags {
  data?: string;
  maxTokens: number;
  json?: boolean;
  output?: string;
  layers?: boolean;
}

export function auditCommand(): Command {
  const command = new Command("audit")
    .summary("check the papers' claims on a checkpoint, by computing them")
    .description(
      "Computes what the BitNet b1.58 papers claim: ternary weights, histograms, no biases, int8 activations on real text, integer products, bits per weight, norms, rotary and SwiGLU. Exits with 1 if a check fails.",
    )
    .argument("<checkpoint>", "a run, checkpoint, model folder, compact or GGUF file")
    .option("-d, --data <file>", "text to take activations from; else this package's README.md")
    .option("--max-tokens <n>", "of the text", wholeNumber(1, 4096), 64)
    .option("--layers", "print every matrix's shares of -1, 0 and +1 too")
    .option("--json", "print the result as JSON")
    .option("-o, --output <file>", "write the result there as JSON");
  return addBackendOptions(addModelOptions(command))
    .addHelpText(
      "after",
      `
Examples:
  bitnet audit runs/tiny-bitnet-1
  bitnet audit runs/tiny-bitnet-1 --data held-out.txt --layers
  bitnet audit tiny.bitnet --json -o audit.json`,
    )
    .action(run);
}

async function run(checkpoint: string, options: Options): Promise<void> {
  const { auditModel } = await import("../analysis/index.ts");
  const { createBackend } = await import("../backends/index.ts");
  const { loadModel } = await import("../exchange/index.ts");
  const { Runtime } = await import("../tensor/index.ts");
  const { packageFile } = await import("../platform/machine.ts");
  const { readText } = await import("./support/sampling.ts");
  const text = await readText(options.data ?? packageFile("README.md"));
  const interruption = listenForInterrupts();
  const progress = createProgressLine("auditing");
  const backend = await createBackend(backendChoice(options));
  let failed = 0;
  try {
    const runtime = new Runtime(backend);
    const opened = await loadModel(await downloaded(checkpoint), runtime, { pre: options.pre });
    noteOpened(opened);
    const tokenizer = tokenizerOf(opened);
    let step = 0;
    const report = await auditModel(opened.model, runtime, tokenizer, {
      text,
      startToken: await startTokenFor(opened, tokenizer, options),
      maxTokens: options.maxTokens,
      signal: interruption.signal,
      onProgress: (what) => progress.update(step++, 14, what),
    });
    opened.model.dispose();
    progress.close();
    failed = report.checks.filter(({ verdict }) => verdict === "fail").length;
    const json = `${JSON.stringify({ checkpoint: opened.folder, step: opened.step, ...report }, null, 2)}\n`;
    if (options.output !== undefined) {
      const { writeAtomically } = await import("../platform/files.ts");
      writeAtomically(options.output, json);
    }
    process.stdout.write(options.json ? json : describe(opened.folder, report, options.layers === true));
  } finally {
    progress.close();
    interruption.release();
    backend.close();
  }
  if (failed > 0) process.exitCode = 1;
}

function describe(folder: string, { variant, quantization, checks, layers }: AuditReport, withLayers: boolean): string {
  const mixed = quantization === "ternary" || quantization === "full precision" ? "" : `, ${quantization}`;
  const lines = [`${folder} (${variant}${mixed})\n`];
  for (const { verdict, claim, source, figure } of checks)
    lines.push(`${verdict.toUpperCase().padEnd(14)}  ${claim} (${source})\n${" ".repeat(16)}${figure}\n`);
  const count = (wanted: string) => checks.filter(({ verdict }) => verdict === wanted).length;
  lines.push(`${count("pass")} passed, ${count("fail")} failed, ${count("not applicable")} not applicable\n`);
  if (withLayers && layers.length > 0)
    lines.push(
      formatTable(
        [
          ["ternary matrix", "-1", "0", "+1", "entropy", "bits in a file"],
          ...layers.map(({ name, minus, zero, plus, entropyBits, fileBits }) => [
            name,
            ...[minus, zero, plus].map((share) => formatShare(share, 1)),
            entropyBits.toFixed(4),
            fileBits?.toFixed(4) ?? "-",
          ]),
        ],
        [1, 2, 3, 4, 5],
      ),
    );
  return lines.join("\n");
}
