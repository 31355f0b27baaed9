import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

const report = process.env.BITNET_TEST_REPORT;

/** The judges' own run (npm run test:judges): they install other people's programs, so `npm test` leaves them out. */
export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, "../.."),
    include: ["test/judges/**/*.test.ts"],
    maxWorkers: 1,
    testTimeout: 120_000,
    pool: "forks",
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
  },
});
