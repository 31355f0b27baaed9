/** `bitnet serve`: a model behind HTTP, for OpenAI's clients and for a browser. Ctrl-C lets answers under way end. */
import { Command, Option } from "commander";
import type { ServeOptions } from "../serve/index.ts";
import { UsageError } from "../platform/errors.ts";
import { addEngineOptions, type EngineFlags, engineOptions } from "./support/engine-options.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { backendChoice, decimalNumber, modelWords, wholeNumber } from "./support/options.ts";
import { countOf } from "./support/format.ts";
import { readText } from "./support/sampling.ts";

interface ServeFlags extends EngineFlags {
  model: string;
  host: string;
  port: number;
  alias?: string;
  parallel: number;
  queue: number;
  nPredict: number;
  cacheTokens?: number;
  chatTemplate?: string;
  chatTemplateFile?: string;
  apiKey: string[];
  apiKeyFile?: string;
  corsOrigin: string[];
  allowedHost: string[];
  bodyLimit: number;
  timeout: number;
  patience: number;
  grace: number;
  engineTimeout: number;
  page: boolean;
  log: "debug" | "info" | "warn" | "error" | "off";
}

const collect = (word: string, before: string[]): string[] => [...before, word];
const often = (command: Command, flags: string, description: string) =>
  command.addOption(new Option(flags, description).argParser(collect).default([], "none"));

export function serveCommand(): Command {
  const command = new Command("serve")
    .summary("a model behind OpenAI's HTTP API, and a chat page")
    .description(
      "Serves a model at http://127.0.0.1:8080: /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models, llama.cpp's /completion, /props, /slots, /tokenize, /detokenize, and /health, /metrics, and a chat page at /.",
    )
    .requiredOption("-m, --model <model>", modelWords)
    .option("--host <address>", "where to listen; 0.0.0.0: to everybody (give --api-key then)", "127.0.0.1")
    .option("--port <n>", "port; 0: a free one", wholeNumber(0, 65535), 8080)
    .option("-a, --alias <name>", "what the model is called in requests (default: its folder's name)")
    .option("--parallel <n>", "texts written at once, as one batch", wholeNumber(1, 1024), 4)
    .option("--queue <n>", "texts that may wait; further ones are refused with 503", wholeNumber(0, 100_000), 64)
    .option("-n, --n-predict <n>", "tokens that a text may have at most; -1: the context", wholeNumber(-1), -1)
    .option(
      "--cache-tokens <n>",
      "tokens of ended texts kept for prompts that begin alike (default: two contexts)",
      wholeNumber(0),
    )
    .option("--chat-template <name>", "a template by name: chatml, llama2, llama3, zephyr, bitnet")
    .option("--chat-template-file <path>", "a Jinja template from a file");
  often(
    command,
    "--api-key <key>",
    "let in who sends this key; may come often. Others see it in the process list: better",
  );
  command.option("--api-key-file <path>", "keys from a file, one a line (or the variable BITNET_API_KEY)");
  often(
    command,
    "--cors-origin <origin>",
    "let pages of this site ask, such as https://example.com; *: all; may come often",
  );
  often(
    command,
    "--allowed-host <name>",
    "answer to this name too, where --host is this computer alone; may come often",
  );
  command
    .option("--body-limit <bytes>", "bytes of a request at most", wholeNumber(1024, 2 ** 30), 2 ** 20)
    .option("--timeout <s>", "seconds that an answer may take, waiting included", decimalNumber(0.001, 86_400), 600)
    .option("--patience <s>", "seconds that a reader may take nothing", decimalNumber(0.001, 86_400), 60)
    .option("--grace <s>", "seconds that answers have to end after Ctrl-C", decimalNumber(0, 86_400), 30)
    .option(
      "--engine-timeout <s>",
      "seconds without a sign from the engine after which it is ended and the model opened anew; must be longer than its longest pass; 0: never",
      decimalNumber(0, 86_400),
      60,
    )
    .option("--no-page", "no chat page")
    .addOption(
      new Option("--log <level>", "JSON lines on the standard error, one for each request from info on")
        .choices(["debug", "info", "warn", "error", "off"])
        .default("info"),
    );
  return addEngineOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  bitnet serve -m runs/tiny-bitnet-1
  bitnet serve -m MODEL --port 9000 --parallel 8 --head-type int8
  BITNET_API_KEY=secret bitnet serve -m MODEL --host 0.0.0.0
  curl http://127.0.0.1:8080/v1/completions -H 'content-type: application/json' \\
    -d '{"prompt": "Once upon a time", "max_tokens": 60}'

Ctrl-C takes no more requests and lets those under way end; a second one ends at once. docs/serving.md has all of it.`,
    )
    .action(run);
}

async function run(flags: ServeFlags): Promise<void> {
  const { serve } = await import("../serve/index.ts");
  const { createProgressLine } = await import("./support/progress.ts");
  const { noteRefused } = await import("./support/model.ts");
  const chosen = await serveOptions(flags);
  const progress = createProgressLine("downloading");
  const interruption = listenForInterrupts(() =>
    process.stderr.write("bitnet: ending; what is under way is finished first. Ctrl-C again ends at once.\n"),
  );
  try {
    const server = await serve({
      ...chosen,
      onNote: (text) => process.stderr.write(`bitnet: ${text}\n`),
      onProgress: ({ file, doneBytes, totalBytes }) => progress.update(doneBytes, totalBytes, file),
    })
      .catch(describeListenError(flags))
      .finally(() => progress.close());
    noteRefused(server.facts.refused);
    const { kind, backend, hasChatTemplate } = server.facts;
    const what = hasChatTemplate ? "chat and completions" : "completions alone: it has no chat template";
    process.stdout.write(
      `serving ${server.modelName} at ${server.url} (${kind} engine, ${backend.name} ${backend.isa}, ${countOf(backend.threads, "thread")}; ${what})\n`,
    );
    try {
      await Promise.race([
        server.failure,
        new Promise<void>((resolve) => {
          if (interruption.signal.aborted) resolve();
          else interruption.signal.addEventListener("abort", () => resolve(), { once: true });
        }),
      ]);
    } finally {
      await server.close();
    }
  } finally {
    interruption.release();
  }
}

/** An address that cannot be had is the commonest mistake: it gets words of its own. */
function describeListenError({ host, port }: ServeFlags): (error: unknown) => never {
  return (error) => {
    const { code } = error as { code?: string };
    const address = `${host}:${port}`;
    const words: Record<string, string> = {
      EADDRINUSE: `${address} is taken by another program; choose another --port, or 0 for a free one`,
      EACCES: `${address} is not allowed to this user; choose a --port from 1024 on`,
      EADDRNOTAVAIL: `${address}: this computer has no such address; choose another --host`,
      ENOTFOUND: `${host}: no such host; --host takes an address of this computer`,
    };
    if (code !== undefined && Object.hasOwn(words, code)) throw new UsageError(words[code], { cause: error });
    throw error;
  };
}

async function serveOptions(flags: ServeFlags): Promise<ServeOptions> {
  const { isLoopback } = await import("../http/security.ts");
  const { environmentVariable } = await import("../platform/machine.ts");
  const { log, host } = flags;
  const fromFile = flags.apiKeyFile === undefined ? [] : (await readText(flags.apiKeyFile)).split(/\r?\n/);
  const fromEnvironment = environmentVariable("BITNET_API_KEY");
  const apiKeys = [...flags.apiKey, ...fromFile, ...(fromEnvironment ? [fromEnvironment] : [])]
    .map((key) => key.trim())
    .filter((key) => key !== "");
  if (flags.apiKeyFile !== undefined && apiKeys.length === 0)
    throw new UsageError(`${flags.apiKeyFile}: has no key; expected one a line`);
  if (apiKeys.some((key) => /\s/.test(key))) throw new UsageError("an API key has no white space in it");
  if (apiKeys.length === 0 && !isLoopback(host))
    process.stderr.write(
      `bitnet: anybody who reaches ${host} may use this server; --api-key-file lets in whom you choose\n`,
    );
  return {
    ...engineOptions(flags),
    model: flags.model,
    backend: backendChoice(flags),
    chatTemplate: await templateSource(flags),
    host,
    port: flags.port,
    ...(flags.alias === undefined ? {} : { modelName: flags.alias }),
    slots: flags.parallel,
    queue: flags.queue,
    maxTokens: flags.nPredict < 0 ? null : flags.nPredict,
    cacheTokens: flags.cacheTokens ?? null,
    apiKeys,
    corsOrigins: flags.corsOrigin,
    allowedHosts: flags.allowedHost,
    bodyBytes: flags.bodyLimit,
    timeoutMs: 1000 * flags.timeout,
    patienceMs: 1000 * flags.patience,
    graceMs: 1000 * flags.grace,
    stuckMs: 1000 * flags.engineTimeout,
    page: flags.page,
    ...(log === "off" ? {} : { log: { level: log, stream: process.stderr } }),
  };
}

async function templateSource({ chatTemplate: name, chatTemplateFile: file }: ServeFlags): Promise<string | undefined> {
  if (name !== undefined && file !== undefined)
    throw new UsageError("name either a chat template (--chat-template) or a file with one (--chat-template-file)");
  if (file !== undefined) return readText(file);
  if (name === undefined) return undefined;
  const { chatTemplateByName } = await import("../infer/index.ts");
  return chatTemplateByName(name);
}
