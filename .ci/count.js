// Prints "N passed, N failed" from vitest's JSON reports. A command that failed without a failing test (type-check, lint,
// format, build, install) counts as one failure, and so does a report that is not there.
import { readFileSync } from "node:fs";

const [status, ...paths] = process.argv.slice(2);
let passed = 0;
let failed = 0;
for (const path of paths)
  try {
    const report = JSON.parse(readFileSync(path, "utf8"));
    passed += report.numPassedTests;
    // A file that could not even be loaded has no tests of its own to fail.
    const broken = report.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
    failed += report.numFailedTests + broken.length;
  } catch {
    failed++;
  }
if (status !== "0" && failed === 0) failed = 1;
if (passed === 0) failed = Math.max(failed, 1);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
