/** Chat templates for commands: the model's own, one by name, or one from a file; and messages through it. */
import type { ChatMessage, ChatTemplate, OpenedEngine } from "../../infer/index.ts";
import { readText } from "./sampling.ts";

/** @throws UsageError where there is none, or two are named */
export async function templateFor(
  { chatTemplate, tokenizer, folder }: Pick<OpenedEngine, "chatTemplate" | "tokenizer" | "folder">,
  { name, file }: { name?: string; file?: string },
): Promise<ChatTemplate> {
  const { chatTemplateByName, chatTemplates, createChatTemplate } = await import("../../infer/index.ts");
  const { UsageError } = await import("../../platform/errors.ts");
  if (name !== undefined && file !== undefined)
    throw new UsageError("name either a chat template (--chat-template) or a file with one (--chat-template-file)");
  let source = chatTemplate;
  if (name !== undefined) source = chatTemplateByName(name);
  if (file !== undefined) source = await readText(file);
  if (source === null)
    throw new UsageError(
      `${folder}: has no chat template; it may not be a chat model. Name one with --chat-template (${Object.keys(chatTemplates).join(", ")}), or continue a text with bitnet generate`,
    );
  const named = (id: number | null) => (id === null ? null : (tokenizer.tokenOf(id) ?? null));
  return createChatTemplate(source, { bosToken: named(tokenizer.bos), eosToken: named(tokenizer.eos) });
}

/** The prompt's tokens; what messages say is plain text in it. */
export const chatPrompt = (
  template: ChatTemplate,
  { tokenizer, startToken }: Pick<OpenedEngine, "tokenizer" | "startToken">,
  system: string | undefined,
  messages: readonly ChatMessage[],
): number[] => {
  const turns = [...(system ? [{ role: "system" as const, content: system }] : []), ...messages];
  const ids = template.encode(turns, tokenizer);
  return startToken === null || ids[0] === startToken ? ids : [startToken, ...ids];
};
