// docs/progressive-quantization.md: its plot is what its command prints, and its table has every kind with its defaults.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test, vi } from "vitest";
import { createProgram } from "../../src/cli/program.ts";
import { progressives } from "../../src/train/progressive.ts";

const page = readFileSync(resolve(import.meta.dirname, "../../docs/progressive-quantization.md"), "utf8");

test("the plot is what the command above it prints", async () => {
  const command = /^ {4}bitnet (train .* --plot)$/m.exec(page)![1].split(" ");
  let out = "";
  const spy = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += text;
    return true;
  });
  try {
    await (await createProgram(command)).parseAsync(command, { from: "user" });
  } finally {
    spy.mockRestore();
  }
  const plot = out.split("\n").filter((line) => line.startsWith("#"));
  expect(page).toContain(`\`\`\`\n${plot.join("\n")}\n\`\`\``);
});

test("the table has every kind with its keys", () => {
  for (const { kind, defaults } of progressives) {
    const row = page.split("\n").find((line) => line.startsWith(`| \`${kind}\``));
    expect(row, kind).toBeDefined();
    for (const key of Object.keys(defaults)) expect(row).toContain(`\`${key}\``);
  }
});
