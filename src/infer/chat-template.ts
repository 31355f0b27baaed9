/**
 * Messages to a prompt through a model's chat template (Jinja, run by @huggingface/jinja as in transformers.js), and a few
 * templates by name for models that carry none. Called by cli/ and serve/.
 *
 * As tokens, the template's own markers are special tokens, and what messages say is plain text: a message that has
 * "<|im_end|>" in it ends no message.
 */
import { Template } from "@huggingface/jinja";
import { withinTime } from "../platform/deadline.ts";
import { DataError, FormatError, UsageError } from "../platform/errors.ts";
import { exists, joinPath, readWhole } from "../platform/files.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { runTemplate } from "./template-run.ts";

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
  if (exists(jinja)) return textOf(jinja, maxTemplateBytes);
  const path = joinPath(folder, "tokenizer_config.json");
  if (!exists(path)) return null;
  let config: unknown;
  try {
    config = JSON.parse(textOf(path, 2 ** 26));
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new FormatError(`${path}: is not JSON (${cause.message})`, { cause });
    throw cause;
  }
  const found = (config as { chat_template?: unknown } | null)?.chat_template;
  if (found === undefined || found === null) return null;
  const named = Array.isArray(found) ? (found.find((entry) => entry?.name === "default") ?? found[0])?.template : found;
  if (typeof named !== "string") throw new FormatError(`${path}: chat_template is no text`);
  return named;
}

const textOf = (path: string, maxBytes: number): string => {
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
    // The library finds out by falling over that a statement is cut off, or that its stack is full.
    const why =
      cause instanceof TypeError
        ? "it ends amid a statement; is an endfor or endif missing?"
        : cause instanceof RangeError
          ? "it nests too deep"
          : cause;
    throw new FormatError(`chat template: cannot be read: ${why instanceof Error ? why.message : why}`, { cause });
  }
  const render: ChatTemplate["render"] = (messages, { addGenerationPrompt = true } = {}) => {
    try {
      return runTemplate(template, {
        messages,
        add_generation_prompt: addGenerationPrompt,
        bos_token: tokens.bosToken ?? "",
        eos_token: tokens.eosToken ?? "",
      });
    } catch (cause) {
      throw new DataError(`chat template: ${(cause as Error).message}`, { cause });
    }
  };
  return {
    render,
    encode(messages, tokenizer, options) {
      const names = specialNames(tokenizer);
      if (!names) return [...tokenizer.encode(render(messages, options))];
      const mark = unusedMark(messages);
      const marked = messages.map((message) => ({
        ...message,
        // Behind the first character: wherever the template cuts or trims, what is left is no name.
        content: message.content.replace(names, (name) => {
          const [first] = name;
          return first + mark + name.slice(first.length);
        }),
      }));
      return encodeMarked(render(marked, options), mark, names, tokenizer);
    },
  };
}

/** Matches any special token's name, the longest first; null where there are none. */
function specialNames({ specialTokens }: Pick<Tokenizer, "specialTokens">): RegExp | null {
  const names = [...specialTokens.keys()].filter((name) => name !== "").sort((a, b) => b.length - a.length);
  return names.length === 0 ? null : new RegExp(names.map(escapeForRegExp).join("|"), "gu");
}

const escapeForRegExp = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

/** A character that is no character of any text (Unicode's noncharacters, U+FDD0 to U+FDEF), and is not in these either. */
function unusedMark(messages: readonly ChatMessage[]): string {
  for (let code = 0xfdd0; code <= 0xfdef; code++) {
    const mark = String.fromCharCode(code);
    if (messages.every(({ content }) => !content.includes(mark))) return mark;
  }
  throw new DataError(
    "chat: the messages have all of U+FDD0 to U+FDEF in them, which are no characters; leave one out",
  );
}

/** Encodes a prompt: stretches between special tokens that have a mark in them as plain text, without it; the rest as ever. */
function encodeMarked(prompt: string, mark: string, names: RegExp, tokenizer: Pick<Tokenizer, "encode">): number[] {
  const ids: number[] = [];
  let usual = "";
  const add = (text: string, parseSpecialTokens: boolean) => {
    if (text !== "") for (const id of tokenizer.encode(text, { parseSpecialTokens })) ids.push(id);
  };
  let at = 0;
  // A name of one character has the mark behind it.
  const unmarked = new RegExp(`(?:${names.source})(?!${mark})`, "gu");
  for (const match of [...prompt.matchAll(unmarked), null]) {
    const stretch = prompt.slice(at, match?.index);
    if (stretch.includes(mark)) {
      add(usual, true);
      add(stretch.replaceAll(mark, ""), false);
      usual = "";
    } else usual += stretch;
    if (!match) break;
    usual += match[0];
    at = match.index + match[0].length;
  }
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
