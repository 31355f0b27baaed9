/**
 * Messages to a prompt through a model's chat template (Jinja, run by jinja/template.ts as transformers runs it), and a few
 * templates by name for models that carry none. Called by cli/ and serve/.
 *
 * As tokens, the template's own markers are special tokens, and what messages say is plain text: a message that has
 * "<|im_end|>" in it ends no message.
 */
import { withinTime } from "../platform/deadline.ts";
import { DataError, FormatError, UsageError } from "../platform/errors.ts";
import { showText } from "../platform/show.ts";
import { exists, joinPath, readWhole } from "../platform/files.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { Template } from "./jinja/template.ts";
import { fromJson, type Said, TemplateError, textOf, type Value } from "./jinja/values.ts";

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

/** Templates by the names that llama.cpp's --chat-template has for them. `bitnet` is that of BitNet b1.58 2B4T. */
export const chatTemplates: Readonly<Record<string, string>> = {
  chatml:
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
  llama2:
    "{% for m in messages %}{% if m.role == 'system' %}{% set ns = m.content %}{% elif m.role == 'user' %}{{ bos_token }}[INST] {% if loop.index0 == 1 and messages[0].role == 'system' %}<<SYS>>\n{{ messages[0].content }}\n<</SYS>>\n\n{% endif %}{{ m.content }} [/INST]{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}",
  llama3:
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
  zephyr:
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
  bitnet:
    "{{ bos_token }}{% for m in messages %}{{ m.role | capitalize }}: {{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}",
};

/** A template is a page of text; some carry tools and reasoning. */
const maxTemplateBytes = 2 ** 20;
/** Parsing such a page takes a few milliseconds. */
const maxParseMs = 2000;

/**
 * The template in a model's folder: chat_template.jinja, or `chat_template` of tokenizer_config.json (of several, the one
 * named "default"); null where there is none.
 *
 * @throws FormatError for one that is no text
 */
export function readChatTemplate(folder: string): string | null {
  const jinja = joinPath(folder, "chat_template.jinja");
  if (exists(jinja)) return textOfFile(jinja, maxTemplateBytes);
  const path = joinPath(folder, "tokenizer_config.json");
  if (!exists(path)) return null;
  let config: unknown;
  try {
    config = JSON.parse(textOfFile(path, 2 ** 26));
  } catch (cause) {
    if (cause instanceof SyntaxError)
      throw new FormatError(`${path}: is not JSON (${showText(cause.message, 120)})`, { cause });
    throw cause;
  }
  const found = (config as { chat_template?: unknown } | null)?.chat_template;
  if (found === undefined || found === null) return null;
  const named = Array.isArray(found) ? (found.find((entry) => entry?.name === "default") ?? found[0])?.template : found;
  if (typeof named !== "string") throw new FormatError(`${path}: chat_template is no text`);
  return named;
}

const textOfFile = (path: string, maxBytes: number): string => {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readWhole(path, maxBytes));
  } catch (cause) {
    if (cause instanceof TypeError) throw new FormatError(`${path}: is not UTF-8 text`, { cause });
    throw cause;
  }
};

export interface ChatTemplate {
  /**
   * The prompt that the assistant's answer follows.
   *
   * @throws DataError with the template's own words where it refuses the messages
   */
  render(messages: readonly ChatMessage[], options?: { addGenerationPrompt?: boolean }): string;
  /**
   * The same prompt as tokens, in which names of special tokens are those tokens where the template wrote them, and plain
   * text where a message did.
   *
   * @throws DataError as render
   */
  encode(
    messages: readonly ChatMessage[],
    tokenizer: Pick<Tokenizer, "encode" | "specialTokens">,
    options?: { addGenerationPrompt?: boolean },
  ): number[];
}

/** @param tokens names of the tokens that templates speak of. @throws FormatError for a template that cannot be read */
export function createChatTemplate(
  source: string,
  tokens: { bosToken?: string | null; eosToken?: string | null } = {},
): ChatTemplate {
  if (source.length > maxTemplateBytes)
    throw new FormatError(`chat template: has ${source.length} characters; at most ${maxTemplateBytes} are read`);
  let template: Template;
  try {
    template = withinTime(
      maxParseMs,
      () => "reading it takes too long",
      () => new Template(source),
    );
  } catch (cause) {
    throw new FormatError(`chat template: cannot be read: ${showText((cause as Error).message, 200)}`, { cause });
  }
  const run = (messages: readonly ChatMessage[], { addGenerationPrompt = true } = {}, mark: boolean) => {
    const variables = new Map<string, Value>([
      ["messages", messages.map((message) => withSaid(message, mark))],
      ["tools", null],
      ["documents", null],
      ["add_generation_prompt", addGenerationPrompt],
      ["bos_token", tokens.bosToken ?? ""],
      ["eos_token", tokens.eosToken ?? ""],
    ]);
    try {
      return template.render(variables);
    } catch (cause) {
      if (cause instanceof TemplateError)
        throw new DataError(`chat template: ${showText(cause.message, 200)}`, { cause });
      throw cause;
    }
  };
  const render: ChatTemplate["render"] = (messages, options) => textOf(run(messages, options, false));
  return {
    render,
    encode(messages, tokenizer, options) {
      const names = specialNames(tokenizer);
      if (!names) return [...tokenizer.encode(render(messages, options))];
      return encodeSaid(run(messages, options, true), names, tokenizer);
    },
  };
}

/** A message as the template sees it; what it says is marked as said, where that is asked for. */
function withSaid({ content, ...rest }: ChatMessage, mark: boolean): Value {
  const message = fromJson(rest) as Map<Value, Value>;
  message.set("content", fromJson(content, mark));
  return message;
}

/** Matches any special token's name, the longest first; null where there are none. */
function specialNames({ specialTokens }: Pick<Tokenizer, "specialTokens">): RegExp | null {
  const names = [...specialTokens.keys()].filter((name) => name !== "").sort((a, b) => b.length - a.length);
  return names.length === 0 ? null : new RegExp(names.map(escapeForRegExp).join("|"), "gu");
}

const escapeForRegExp = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

/**
 * Encodes a prompt. A special token's name that holds a character which a message said is plain text, and with it the stretch
 * between the template's own markers that it stands in; the rest as ever.
 */
function encodeSaid(prompt: string | Said, names: RegExp, tokenizer: Pick<Tokenizer, "encode">): number[] {
  const text = textOf(prompt);
  const spans = typeof prompt === "string" ? [] : prompt.spans;
  const ids: number[] = [];
  let usual = "";
  const add = (part: string, parseSpecialTokens: boolean) => {
    if (part !== "") for (const id of tokenizer.encode(part, { parseSpecialTokens })) ids.push(id);
  };
  let span = 0;
  let at = 0;
  let holdsName = false;
  const stretchTo = (end: number) => {
    const stretch = text.slice(at, end);
    if (holdsName) {
      add(usual, true);
      add(stretch, false);
      usual = "";
    } else usual += stretch;
    holdsName = false;
  };
  names.lastIndex = 0;
  for (let match = names.exec(text); match !== null; match = names.exec(text)) {
    const end = match.index + match[0].length;
    while (span < spans.length && spans[span][1] <= match.index) span++;
    if (span < spans.length && spans[span][0] < end) {
      holdsName = true;
      // A marker of the template's may begin within a name that is none.
      names.lastIndex = match.index + 1;
      continue;
    }
    stretchTo(match.index);
    usual += match[0];
    at = end;
  }
  stretchTo(text.length);
  add(usual, true);
  return ids;
}

/** @throws UsageError naming those that there are */
export function chatTemplateByName(name: string): string {
  const known = Object.hasOwn(chatTemplates, name) ? chatTemplates[name] : undefined;
  if (known === undefined)
    throw new UsageError(
      `unknown chat template "${name}"; those by name are: ${Object.keys(chatTemplates).join(", ")}`,
    );
  return known;
}
