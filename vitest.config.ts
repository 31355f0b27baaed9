import { defineConfig } from "vitest/config";

const report = process.env.BITNET_TEST_REPORT;

/**
 * Tests under src/ that start processes or threads, train, prepare data or read real data: by the file's name, whatever its
 * room. All others under src/ are unit tests, and answer together within a minute (`npm run test:unit`).
 */
const slow = [
  "src/cli/**/*.test.ts",
  "src/serve/**/*.test.ts",
  "src/report/**/*.test.ts",
  "src/**/gguf/{gguf,tokenizers}.test.ts",
  ...[
    ...["dedup", "prepare", "prepare-shards", "recipe", "sources", "row-files", "hub-dataset", "wikitext2", "feed"],
    ...[
      "filters",
      "filter-counts",
      "text-measures",
      "pipeline",
      "bad-records",
      "files",
      "checkpoint",
      "hub",
      "hub-file",
    ],
    ...[
      "train",
      "resume",
      "study",
      "trainer",
      "teaching",
      "mixed-corpus",
      "corpus",
      "starting-point",
      "audit",
      "contenders",
      "speed",
    ],
    ...["sensitivity", "calibration", "learned-quantizers", "quantizer-files", "python-sandbox"],
    ...["humaneval", "wikitext-pytorch", "task-source", "chance", "tasks", "perplexity", "log-likelihood"],
    ...["workers", "service-worker", "file-map", "file-weights", "memory", "vocabulary"],
    ...["damage", "byte-level", "code-points", "parts", "encode-documents"],
  ].map((name) => `src/**/${name}.test.ts`),
];
/** Pages and documents: what a browser shows, and what docs/ says, against the measurements behind it. */
const pages = ["test/docs/**/*.test.ts", "test/browser/**/*.test.ts"];
const acrossRooms = [
  "test/support/**/*.test.ts",
  // llama2c: over real weights and real text.
  "test/parity/!(llama2c).test.ts",
  "test/{walls,purity}.test.ts",
];
/** Other people's programs, which they install: `npm run test:judges` alone. */
const judges = ["test/judges/**/*.test.ts"];

const project = (name: string, include: string[], exclude: string[] = []) => ({
  test: {
    name,
    include,
    exclude,
    setupFiles: ["test/support/seed.ts"],
    pool: "forks" as const,
    // Against a deadlock alone, on the busiest machine: no test's outcome depends on how fast it is.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    teardownTimeout: 120_000,
  },
});

// Two workers at most: kernels bring threads of their own.
export default defineConfig({
  test: {
    maxWorkers: 2,
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
    projects: [
      project("unit", ["src/**/*.test.ts", ...acrossRooms], slow),
      project("integration", [...slow, "test/**/*.test.ts"], [...acrossRooms, ...pages, ...judges]),
      project("pages", pages),
      project("judges", judges),
    ],
  },
});
