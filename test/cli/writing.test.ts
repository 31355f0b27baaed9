// `bitnet run`, `chat` and `perplexity`, and what `generate` can besides, as processes over a checkpoint with random
// weights. Oracle: the library called here with the same settings, which has tests of its own; JSON.parse.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createReferenceBackend } from "../../src/backends/index.ts";
import { saveCheckpoint } from "../../src/checkpoint/index.ts";
import { evaluatePerplexity } from "../../src/eval/index.ts";
import {
  beamSearch,
  chatTemplateByName,
  createChatTemplate,
  generateText,
  TransformerEngine,
} from "../../src/infer/index.ts";
import { presets, Transformer } from "../../src/model/index.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { type Tokenizer, trainBpe } from "../../src/tokenizer/index.ts";
import { createAdamW } from "../../src/train/index.ts";
import { bitnet } from "../support/cli.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-writing-"));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string) => join(root, name);
let tokenizer: Tokenizer;
let engine: TransformerEngine;
const text = "the cat sat on the mat and the dog ran to the cat, then the cat ran to the mat. ".repeat(4);
const reference = ["--backend", "reference"];
const greedy = ["--temp", "0", "--ignore-eos", ...reference];

beforeAll(async () => {
  const specialTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
  ({ tokenizer } = await trainBpe([text], { vocabSize: 280, specialTokens }));
  const runtime = new Runtime(createReferenceBackend());
  const model = new Transformer(
    runtime,
    {
      ...presets.tiny,
      vocabSize: tokenizer.vocabSize,
      width: 16,
      layers: 1,
      heads: 2,
      kvHeads: 1,
      hiddenWidth: 24,
      contextLength: 256,
      initStd: 0.4,
    },
    4,
  );
  engine = new TransformerEngine(model);
  await saveCheckpoint(at("model"), {
    model,
    optimizer: createAdamW(runtime, model.parameters),
    tokenizer,
    step: 7,
    training: null,
  });
  writeFileSync(at("text.txt"), text);
});

const write = async (prompt: string, maxTokens: number) =>
  (
    await generateText(engine, tokenizer, prompt, {
      maxTokens,
      temperature: 0,
      stopTokens: [],
      startToken: tokenizer.endOfText,
    })
  ).text;

describe("generate", () => {
  test("keeps to a schema, and says that its text is complete", async () => {
    const schema = '{"type":"object","properties":{"a":{"enum":[1,2]}},"required":["a"]}';
    const args = [
      "generate",
      "-m",
      at("model"),
      "-p",
      "the",
      "-n",
      "90",
      "-s",
      "1",
      "-j",
      schema,
      "--no-display-prompt",
    ];
    const [inline, file] = await Promise.all([
      bitnet([...args]),
      bitnet(["generate", "-m", at("model"), "--grammar", 'root ::= "x" | "y"', "--grammar-file", at("text.txt")]),
    ]);
    expect([1, 2]).toContain(JSON.parse(inline.stdout).a);
    expect(inline.stderr).toMatch(/: what the grammar describes is complete; seed 1\n$/);
    expect(file).toMatchObject({ code: 2, stderr: "bitnet: name one of --grammar and --grammar-file, not both\n" });
  });

  test("prints tokens with log-probabilities as JSON, and beams with their scores", async () => {
    const args = ["generate", "-m", at("model"), "-p", "the cat", "-n", "3", ...greedy];
    const [json, beams] = await Promise.all([
      bitnet([...args, "--json", "--logprobs", "2"]),
      bitnet([...args, "--beams", "2", "--length-penalty", "0"]),
    ]);
    const result = JSON.parse(json.stdout);
    expect(result).toMatchObject({ text: await write("the cat", 3), report: { finish: "length" } });
    expect(result.tokens).toHaveLength(3);
    for (const token of result.tokens)
      expect(token.top_logprobs[0]).toMatchObject({ id: token.id, logprob: token.logprob });
    const found = await beamSearch(engine, tokenizer, "the cat", {
      ...{ beams: 2, maxTokens: 3, lengthPenalty: 0, stopTokens: [], startToken: tokenizer.endOfText },
    });
    expect(beams.stdout).toBe(`the cat${found[0].text}\n`);
    expect(beams.stderr).toContain(`score ${found[0].score.toFixed(4)}, `);
  });

  test("refuses options that would change nothing, and mistakes in a grammar, in one line", async () => {
    const refused: [string[], number, string][] = [
      [["--logprobs", "3"], 2, "--logprobs is printed with --json alone"],
      [["--beams", "2", "--draft-max", "3"], 2, "--draft-max has no meaning for --beams"],
      [["--beams", "2", "--top-p", "0.5"], 2, "--top-p has no meaning for --beams; leave it out"],
      [["--beams", "2", "--temp", "1"], 2, "--temp has no meaning for --beams"],
      [["--length-penalty", "2"], 2, "--length-penalty has no meaning without --beams"],
      [["--keep", "4"], 2, "--keep says what --context-shift does not forget; give that too"],
      [["--context-shift", "--context-ring"], 2, "are two ways past the context's end; name one"],
      [["-l", "5*3"], 2, "Expected a token's number, + or -"],
      [["-l", "9999+3"], 2, "logitBias names token 9999; the vocabulary has 280"],
      [["--grammar", "root = 1"], 1, 'grammar, line 1, column 6: expected "::="'],
      [["-j", '{"not":{}}'], 1, 'the keyword "not" is not supported'],
      [["-j", "{"], 1, "--json-schema: is not JSON"],
    ];
    const results = await Promise.all(refused.map(([args]) => bitnet(["generate", "-m", at("model"), ...args])));
    for (const [i, [, code, message]] of refused.entries()) {
      expect(results[i]).toMatchObject({ code, stdout: "" });
      expect(results[i].stderr).toContain(message);
      expect(results[i].stderr).toMatch(/^bitnet: [^\n]*\n$/);
    }
  });
});

describe("run", () => {
  test("continues the prompt, and asks through a template where one is named", async () => {
    const asked = createChatTemplate(chatTemplateByName("chatml")).render([
      { role: "system", content: "meow" },
      { role: "user", content: "the cat" },
    ]);
    const args = ["run", "-m", at("model"), "-n", "8", ...greedy];
    const [plain, chat, none] = await Promise.all([
      bitnet([...args, "the cat"]),
      bitnet([...args, "--chat-template", "chatml", "--system-prompt", "meow", "-v"], { input: "the cat" }),
      bitnet([...args, "--system-prompt", "meow", "the cat"]),
    ]);
    expect(plain).toMatchObject({ code: 0, stdout: `${await write("the cat", 8)}\n`, stderr: "" });
    expect(chat).toMatchObject({ code: 0, stdout: `${await write(asked, 8)}\n` });
    expect(chat.stderr).toContain("wrote 8 tokens");
    expect(none.code).toBe(2);
    expect(none.stderr).toContain("has no chat template to put --system-prompt into; name one with --chat-template");
  });
});

describe("chat", () => {
  const args = () => ["chat", "-m", at("model"), "-n", "6", "--chat-template", "chatml", ...greedy];

  test("keeps what was said, takes commands, and saves the talk", async () => {
    const template = createChatTemplate(chatTemplateByName("chatml"));
    const first = await write(template.render([{ role: "user", content: "the cat" }]), 6);
    const messages = [
      { role: "user" as const, content: "the cat" },
      { role: "assistant" as const, content: first.trim() },
      { role: "user" as const, content: "the\ndog" },
    ];
    const second = await write(template.render(messages), 6);
    const input = `the cat\nthe\\\ndog\n/nonsense\n/save ${at("talk.json")}\n/undo\n/history\n/clear\n/regen\n`;
    const { code, stdout, stderr } = await bitnet(args(), { input });
    expect(code).toBe(0);
    const line = (answer: string) => (answer.endsWith("\n") ? answer : `${answer}\n`);
    expect(stdout).toBe(line(first) + line(second));
    expect(stderr).toContain("bitnet: unknown command /nonsense; /help tells those that there are\n");
    expect(stderr).toContain(`user: the cat\nassistant: ${first.trim()}\n`);
    expect(stderr).toContain("bitnet: there is no question to answer yet\n");
    expect(JSON.parse(readFileSync(at("talk.json"), "utf8")).messages).toEqual([
      ...messages,
      { role: "assistant", content: second.trim() },
    ]);
  });

  test("Ctrl-C ends the answer, not the program", async () => {
    const { code, stdout } = await bitnet(
      ["chat", "-m", at("model"), "--chat-template", "chatml", "--ignore-eos", "-s", "1"],
      {
        input: "the cat\n/exit\n",
        meanwhile: (child) => child.stdout!.once("data", () => child.kill("SIGINT")),
      },
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/\n$/);
  });

  test("a model without a template is refused with what to do", async () => {
    const { code, stderr } = await bitnet(["chat", "-m", at("model")]);
    expect(code).toBe(2);
    expect(stderr).toContain(
      "has no chat template; it may not be a chat model. Name one with --chat-template (chatml,",
    );
  });
});

test("perplexity prints what the library computes, as a table and as JSON", async () => {
  const ids = [tokenizer.endOfText!, ...tokenizer.encode(text)];
  const options = { contextTokens: 24, stride: 8, startToken: tokenizer.endOfText };
  const expected = await evaluatePerplexity(engine, ids, options);
  const args = ["perplexity", "-m", at("model"), "-f", at("text.txt"), "-c", "24", "--ppl-stride", "8", ...reference];
  const [table, json, short] = await Promise.all([
    bitnet(args),
    bitnet([...args, "--json"]),
    bitnet(["perplexity", "-m", at("model"), "-f", at("text.txt"), "-c", "200"]),
  ]);
  expect(JSON.parse(json.stdout).perplexity / expected.perplexity).toBeCloseTo(1, 6);
  expect(JSON.parse(json.stdout)).toMatchObject({ tokens: expected.tokens, ctx_size: 28, ppl_stride: 8 });
  expect(table.stdout).toContain(`perplexity  ${expected.perplexity.toFixed(4)} +/- `);
  expect(short).toMatchObject({ code: 1, stdout: "" });
  expect(short.stderr).toContain("two windows of 200 are needed at least");
});

test("perplexity tells what a rounded head and cache cost, beside the same with nothing rounded", async () => {
  const args = ["perplexity", "-m", at("model"), "-f", at("text.txt"), "-c", "24", "--engine", "packed"];
  const rounded = ["--head-type", "int4", "--cache-type", "int8"];
  const [exact, alone, effect, each, refused] = await Promise.all([
    bitnet([...args, "--json"]),
    bitnet([...args, ...rounded, "--json"]),
    bitnet([...args, ...rounded, "--effect", "--json"]),
    bitnet([...args, "--effect"]),
    bitnet([...args.slice(0, -1), "float", "--effect"]),
  ]);
  const perplexityOf = ({ stdout }: { stdout: string }) => JSON.parse(stdout).perplexity as number;
  const told = JSON.parse(effect.stdout);
  const percent = 100 * (perplexityOf(alone) / perplexityOf(exact) - 1);
  expect(percent).not.toBe(0);
  expect(told.perplexity).toBe(perplexityOf(alone));
  expect(told.effects).toMatchObject([
    { head: "f32", cache: "f32", perplexity: perplexityOf(exact), percent: 0 },
    { head: "int4", cache: "int8", perplexity: perplexityOf(alone), percent },
  ]);
  expect(told.effects[1].bytes_for_token).toBeLessThan(told.effects[0].bytes_for_token);
  expect(each.stdout).toContain("nothing rounded");
  for (const type of ["bf16 +f32", "f16 +f32", "int8 +f32", "int4 +f32", "f32 +f16", "f32 +int8", "f32 +int4"])
    expect(each.stdout).toMatch(new RegExp(`^${type} +[\\d.]+ +[+-][\\d.]+ % `, "m"));
  expect(refused).toMatchObject({ code: 2, stdout: "" });
  expect(refused.stderr).toContain("--engine float rounds nothing");
});
