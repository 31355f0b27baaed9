/** `bitnet chat`: a talk with a model in the terminal, through its chat template. Ctrl-C ends the answer, not the program. */
import { Command } from "commander";
import type { ChatMessage, ChatTemplate, OpenedEngine, PromptCache, SingleOptions } from "../infer/index.ts";
import { showText } from "../platform/show.ts";
import type { LineReader } from "../platform/terminal.ts";
import { chatPrompt, templateFor } from "./support/chat.ts";
import { Interrupted } from "./support/interrupt.ts";
import { addEngineOptions, type EngineFlags } from "./support/engine-options.ts";

import { modelWords } from "./support/options.ts";
import {
  addSamplingOptions,
  generationOptions,
  readText,
  type SamplingFlags,
  samplingHelp,
  seedOf,
} from "./support/sampling.ts";
import { describeReport, openForWriting, printText } from "./support/writing.ts";

interface ChatOptions extends EngineFlags, SamplingFlags {
  model: string;
  systemPrompt?: string;
  chatTemplate?: string;
  chatTemplateFile?: string;
  verbose?: boolean;
}

const commands = `/help            this
/system TEXT     what the model is told first; without TEXT: nothing more. Begins anew
/clear           forget all that was said
/regen           answer the last question again
/undo            take back the last question and its answer
/history         what was said
/save FILE       write it as JSON: messages with role and content
/load FILE       go on from such a file
/set NAME VALUE  temp, top-k, top-p, min-p, n-predict or seed
/exit            leave (also Ctrl-D)
A line that ends with \\ goes on in the next. Ctrl-C ends an answer; twice without one, the program.`;

export function chatCommand(): Command {
  const command = new Command("chat")
    .summary("talk with a model in the terminal")
    .description(
      "Asks a chat model through its chat template and keeps what was said. Only new messages are read by the model.",
    )
    .requiredOption("-m, --model <model>", modelWords)
    .option("--system-prompt <text>", "what the model is told first")
    .option("--chat-template <name>", "a template by name: chatml, llama2, llama3, zephyr, bitnet")
    .option("--chat-template-file <path>", "a Jinja template from a file")
    .option("-v, --verbose", "tell counts and rates after each answer");
  addSamplingOptions(command, -1);
  return addEngineOptions(command)
    .addHelpText(
      "after",
      `${samplingHelp}

In the chat:
${commands.replace(/^/gm, "  ")}

Examples:
  bitnet chat -m MODEL
  bitnet chat -m MODEL --system-prompt "Answer in one sentence." --temp 0
  bitnet chat -m runs/tiny-bitnet-1 --chat-template chatml`,
    )
    .action(run);
}

async function run(options: ChatOptions, command: Command): Promise<void> {
  const { PromptCache } = await import("../infer/index.ts");
  const { createLineReader } = await import("../platform/terminal.ts");
  const seed = seedOf(options);
  const settings = await generationOptions(options, seed, command);
  const opened = await openForWriting(options.model, options);
  let reader: LineReader | undefined;
  try {
    const template = await templateFor(opened, { name: options.chatTemplate, file: options.chatTemplateFile });
    const cache = new PromptCache(opened.engine);
    reader = createLineReader();
    process.stderr.write("/help tells the commands; Ctrl-C ends an answer, Ctrl-D leaves.\n");
    await new Chat(opened, template, cache, reader, settings, options, seed).talk();
  } finally {
    reader?.close();
    opened.close();
  }
}

class Chat {
  private messages: ChatMessage[] = [];
  private system: string | undefined;
  private verbose: boolean;

  constructor(
    private readonly opened: OpenedEngine,
    private readonly template: ChatTemplate,
    private readonly cache: PromptCache,
    private readonly reader: LineReader,
    private settings: SingleOptions,
    private readonly options: ChatOptions,
    private seed: number,
  ) {
    this.system = options.systemPrompt;
    this.verbose = options.verbose === true;
  }

  async talk(): Promise<void> {
    const say = (text: string) => process.stderr.write(`${text}\n`);
    for (let line = await this.ask(); line !== null; line = await this.ask()) {
      if (line.trim() === "") continue;
      try {
        if (line.startsWith("/")) {
          if (!(await this.command(line, say))) return;
        } else {
          this.messages.push({ role: "user", content: line });
          await this.answer();
        }
      } catch (error) {
        const { describeError } = await import("./support/run.ts");
        say(`bitnet: ${describeError(error).message}`);
        // A question that cannot be asked is not part of what was said.
        if (this.messages.at(-1)?.role === "user") this.messages.pop();
      }
    }
  }

  /** A line, or several that end with \; null at the end. Two Ctrl-C in a row end the program. */
  private async ask(): Promise<string | null> {
    let interrupts = 0;
    const release = this.reader.onInterrupt(() => {
      if (++interrupts > 1) process.exit(new Interrupted(130).exitCode);
      process.stderr.write("\n(Ctrl-C again, Ctrl-D or /exit leaves)\n> ");
    });
    try {
      let text = "";
      for (let line = await this.reader.read("> "); line !== null; line = await this.reader.read("... ")) {
        if (!line.endsWith("\\")) return text + line;
        text += `${line.slice(0, -1)}\n`;
      }
      return text === "" ? null : text;
    } finally {
      release();
    }
  }

  /** Answers the last question; what Ctrl-C leaves of an answer is kept. */
  private async answer(): Promise<void> {
    const { generate } = await import("../infer/index.ts");
    const { systemClock } = await import("../platform/system.ts");
    const { engine, tokenizer, startToken, stopTokens } = this.opened;
    const prompt = chatPrompt(this.template, this.opened, this.system, this.messages);
    const controller = new AbortController();
    const release = this.reader.onInterrupt(() => controller.abort());
    try {
      const generation = generate(engine, tokenizer, prompt, {
        ...this.settings,
        // Another draw for each answer, told by the first seed and the answer's place.
        seed: this.seed + this.messages.length,
        stopTokens: this.options.ignoreEos ? [] : stopTokens,
        startToken,
        cache: this.cache,
        signal: controller.signal,
        clock: systemClock,
      });
      const text = await printText(generation);
      this.messages.push({ role: "assistant", content: text.trim() });
      if (this.verbose || generation.report.finish === "context")
        process.stderr.write(`${describeReport(generation.report, engine.contextLength)}\n`);
    } finally {
      release();
    }
  }

  /** @returns false to leave */
  private async command(line: string, say: (text: string) => void): Promise<boolean> {
    const { UsageError } = await import("../platform/errors.ts");
    const [, name, rest] = /^\/(\S*)\s*([\s\S]*)$/.exec(line)!;
    const words = rest.trim();
    switch (name) {
      case "help":
        say(commands);
        return true;
      case "exit":
      case "quit":
      case "bye":
        return false;
      case "system":
        this.system = words || undefined;
        this.messages = [];
        return true;
      case "clear":
        this.messages = [];
        return true;
      case "undo":
        this.takeBack();
        this.messages.pop();
        return true;
      case "regen":
        this.takeBack();
        if (this.messages.length === 0) throw new UsageError("there is no question to answer yet");
        this.seed += 1000;
        await this.answer();
        return true;
      case "history":
        for (const { role, content } of this.transcript()) say(`${role}: ${content}`);
        return true;
      case "save": {
        if (words === "") throw new UsageError("name a file: /save talk.json");
        const { writeAtomically } = await import("../platform/files.ts");
        writeAtomically(words, `${JSON.stringify({ messages: this.transcript() }, null, 2)}\n`);
        return true;
      }
      case "load":
        if (words === "") throw new UsageError("name a file: /load talk.json");
        await this.load(words);
        return true;
      case "set":
        await this.set(words);
        return true;
      default:
        throw new UsageError(`unknown command /${name}; /help tells those that there are`);
    }
  }

  /** Removes the last answer. */
  private takeBack(): void {
    if (this.messages.at(-1)?.role === "assistant") this.messages.pop();
  }

  private transcript(): ChatMessage[] {
    return [...(this.system ? [{ role: "system" as const, content: this.system }] : []), ...this.messages];
  }

  private async load(path: string): Promise<void> {
    const { FormatError } = await import("../platform/errors.ts");
    const { z } = await import("zod");
    const message = z.strictObject({ role: z.enum(["system", "user", "assistant"]), content: z.string() });
    let parsed: unknown;
    try {
      parsed = JSON.parse(await readText(path));
    } catch (cause) {
      if (cause instanceof SyntaxError)
        throw new FormatError(`${path}: is not JSON (${showText(cause.message, 120)})`, { cause });
      throw cause;
    }
    const result = z.object({ messages: z.array(message) }).safeParse(parsed);
    if (!result.success)
      throw new FormatError(`${path}: expected {"messages": [{"role", "content"}, ...]}, as /save writes`);
    const [first, ...others] = result.data.messages;
    const hasSystem = first?.role === "system";
    this.system = hasSystem ? first.content : undefined;
    this.messages = hasSystem ? others : result.data.messages;
  }

  private async set(words: string): Promise<void> {
    const { UsageError } = await import("../platform/errors.ts");
    const [name, word] = words.split(/\s+/);
    const value = Number(word);
    if (word === undefined || !Number.isFinite(value))
      throw new UsageError("expected a name and a number: /set temp 0.5");
    const names = { temp: "temperature", "top-k": "topK", "top-p": "topP", "min-p": "minP" } as const;
    if (name === "seed" || name === "n-predict") {
      if (!Number.isSafeInteger(value)) throw new UsageError(`${name} is ${word}; expected a whole number`);
      if (name === "seed") this.seed = value;
      else this.settings = { ...this.settings, maxTokens: value < 0 ? Number.MAX_SAFE_INTEGER : value };
      return;
    }
    if (!Object.hasOwn(names, name))
      throw new UsageError(`/set knows ${Object.keys(names).join(", ")}, n-predict, seed`);
    const { checkSampling, samplingDefaults } = await import("../infer/index.ts");
    const changed = { ...this.settings, [names[name as keyof typeof names]]: value };
    checkSampling({ ...samplingDefaults, ...changed });
    this.settings = changed;
  }
}
