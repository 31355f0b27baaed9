/**
 * Messages to a prompt through a model's chat template (Jinja, run by @huggingface/jinja as in transformers.js), and a few
 * templates by name for models that carry none. Called by cli/chat and serve/.
 */
import { Template } from "@huggingface/jinja";
import { DataError, FormatError, UsageError } from "../platform/errors.ts";
import { exists, joinPath, readWhole } from "../platform/files.ts";

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
}

/** @param tokens names of the tokens that templates speak of. @throws FormatError for a template that cannot be read */
export function createChatTemplate(
  source: string,
  tokens: { bosToken?: string | null; eosToken?: string | null } = {},
): ChatTemplate {
  let template: Template;
  try {
    template = new Template(source);
  } catch (cause) {
    throw new FormatError(`chat template: cannot be read: ${(cause as Error).message}`, { cause });
  }
  return {
    render(messages, { addGenerationPrompt = true } = {}) {
      try {
        return template.render({
          messages,
          add_generation_prompt: addGenerationPrompt,
          bos_token: tokens.bosToken ?? "",
          eos_token: tokens.eosToken ?? "",
        });
      } catch (cause) {
        throw new DataError(`chat template: ${(cause as Error).message}`, { cause });
      }
    },
  };
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
