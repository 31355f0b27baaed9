#!/usr/bin/env node
/** The command `bitnet`. What it does is in program.ts; each command is a file beside it. */
import { createProgram } from "./program.ts";
import { runProgram } from "./support/run.ts";

await runProgram(createProgram, process.argv.slice(2));
