import { defineConfig } from "vitest/config";

const report = process.env.BITNET_TEST_REPORT;

// Two workers at most: kernels bring threads of their own.
export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["test/judges/**"],
    maxWorkers: 2,
    setupFiles: ["test/support/seed.ts"],
    testTimeout: 60_000,
    pool: "forks",
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
  },
});
