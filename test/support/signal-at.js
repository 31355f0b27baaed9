/**
 * Preloaded into a process (`--import`), it sends that process a signal at one exact moment: before the n-th call of a
 * function of node:fs on a path that holds some text. So a test kills a process amid its work on any machine, however busy:
 * nobody watches from outside and comes too late. support/signalled.ts starts such processes.
 *
 * BITNET_TEST_SIGNAL: JSON of { signal, call, path, count, torn, ends }. torn: of writeSync, half of the bytes are written
 * first; ends: the path ends with that text.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const { signal, call, path: text, count, torn, ends } = JSON.parse(process.env.BITNET_TEST_SIGNAL);
const paths = new Map();
let seen = 0;

/** Whether now is the moment. */
const isMoment = (name, path) => {
  const shown = String(path).replaceAll("\\", "/");
  return name === call && (ends ? shown.endsWith(text) : shown.includes(text)) && ++seen === count;
};
const send = () => process.kill(process.pid, signal);

for (const name of ["openSync", "renameSync", "mkdirSync", "writeSync"]) {
  const original = fs[name];
  fs[name] = (...args) => {
    // A descriptor stands for the path that it was opened with; a rename is known by its new name.
    const path = name === "writeSync" ? paths.get(args[0]) : args[name === "renameSync" ? 1 : 0];
    if (isMoment(name, path)) {
      if (torn) original(args[0], args[1], 0, Math.floor(args[1].length / 2));
      send();
    }
    const result = original(...args);
    if (name === "openSync") paths.set(result, path);
    return result;
  };
}
syncBuiltinESMExports();
