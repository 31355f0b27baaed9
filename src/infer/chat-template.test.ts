// Oracles: prompt formats as their makers publish them (OpenAI's ChatML; Meta's pages on Llama 2 and Llama 3;
// the model card of microsoft/bitnet-b1.58-2B-4T), written out.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { type ChatMessage, chatTemplateByName, createChatTemplate, readChatTemplate } from "./chat-template.ts";
import { endTokensOf } from "./end-tokens.ts";

const talk: ChatMessage[] = [
  { role: "system", content: "Be kind." },
  { role: "user", content: "Hi" },
  { role: "assistant", content: "Hello!" },
  { role: "user", content: "Bye" },
];
const formats: Record<string, string> = {
  chatml:
    "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
  llama2: "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Bye [/INST]",
  llama3:
    "<s><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
  zephyr: "<|system|>\nBe kind.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n<|user|>\nBye</s>\n<|assistant|>\n",
  bitnet: "<s>System: Be kind.<|eot_id|>User: Hi<|eot_id|>Assistant: Hello!<|eot_id|>User: Bye<|eot_id|>Assistant: ",
};
const tokens = { bosToken: "<s>", eosToken: "</s>" };

test.for(Object.keys(formats))("%s: messages become the published prompt", (name) => {
  const template = createChatTemplate(chatTemplateByName(name), tokens);
  expect(template.render(talk)).toBe(formats[name]);
});

test("without a prompt for the answer, and without a system message", () => {
  const template = createChatTemplate(chatTemplateByName("chatml"), tokens);
  expect(template.render(talk.slice(1, 2), { addGenerationPrompt: false })).toBe("<|im_start|>user\nHi<|im_end|>\n");
  const llama2 = createChatTemplate(chatTemplateByName("llama2"), tokens);
  expect(llama2.render(talk.slice(1, 2))).toBe("<s>[INST] Hi [/INST]");
});

test("a template is found in the model's folder: a file of its own, or the tokenizer's config", () => {
  const folder = temporaryFolder();
  const put = (name: string, content: unknown) =>
    writeFileSync(join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
  expect(readChatTemplate(folder)).toBeNull();
  put("tokenizer_config.json", { eos_token: "</s>" });
  expect(readChatTemplate(folder)).toBeNull();
  put("tokenizer_config.json", { chat_template: "one" });
  expect(readChatTemplate(folder)).toBe("one");
  const several = [
    { name: "tools", template: "x" },
    { name: "default", template: "two" },
  ];
  put("tokenizer_config.json", { chat_template: several });
  expect(readChatTemplate(folder)).toBe("two");
  put("tokenizer_config.json", { chat_template: 3 });
  expect(() => readChatTemplate(folder)).toThrow("tokenizer_config.json: chat_template is no text");
  put("tokenizer_config.json", "{");
  expect(() => readChatTemplate(folder)).toThrow("is not JSON");
  put("chat_template.jinja", "three");
  expect(readChatTemplate(folder)).toBe("three");
});

test("what a template refuses, and what is no template, is told", () => {
  const picky = createChatTemplate("{{ raise_exception('only one system message') }}");
  expect(() => picky.render(talk)).toThrow("chat template: only one system message");
  expect(() => createChatTemplate("{% for %}")).toThrow("chat template: cannot be read");
  expect(() => createChatTemplate("{% for m in messages %}")).toThrow(
    "it ends amid a statement; is an endfor missing?",
  );
  expect(() => chatTemplateByName("toString")).toThrow('unknown chat template "toString"; those by name are: chatml');
});

test("an answer ends with the tokenizer's tokens, those of well-known names, and those that generation_config.json lists", () => {
  const folder = temporaryFolder();
  const specialTokens = new Map([
    ["<|eot_id|>", 9],
    ["<|start_header_id|>", 8],
  ]);
  const tokenizer = { eos: 3, endOfText: 2, specialTokens, vocabSize: 12 };
  expect(endTokensOf(tokenizer, null)).toEqual([2, 3, 9]);
  expect(endTokensOf(tokenizer, folder)).toEqual([2, 3, 9]);
  mkdirSync(folder, { recursive: true });
  const put = (eos: unknown) =>
    writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: eos }));
  put([3, 11]);
  expect(endTokensOf(tokenizer, folder)).toEqual([2, 3, 9, 11]);
  put(null);
  expect(endTokensOf(tokenizer, folder)).toEqual([2, 3, 9]);
  put([12]);
  expect(() => endTokensOf(tokenizer, folder)).toThrow("eos_token_id has 12; expected tokens of the vocabulary of 12");
});
