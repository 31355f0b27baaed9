/** Memory that grows from step to step: it should be flat once every size has been seen. */
import { ends } from "../evidence.ts";
import type { DiagnosisRule } from "../rule.ts";

const growth = 1.5;
const leastBytes = 512 * 2 ** 20;
const leastSteps = 100;

export const memoryGrowth: DiagnosisRule = {
  name: "memory-growth",
  summary: "memory that keeps growing",
  check({ steps }) {
    const used = steps.slice(Math.floor(steps.length / 4)).map(({ memoryBytes }) => memoryBytes);
    if (used.length < leastSteps) return null;
    const { first, last } = ends(used);
    const middle = ends(used.slice(0, Math.ceil(used.length / 2))).last;
    // Growing in both halves, so not one late jump such as a first evaluation.
    if (!(last > growth * first && last - first > leastBytes && middle > first * 1.1 && last > middle * 1.1))
      return null;
    const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
    return {
      what: "memory grows while it trains",
      figure: `${mib(first)}, then ${mib(middle)}, at the end ${mib(last)}`,
      why: "a step frees all that it makes; a callback or an extension that keeps tensors does not",
      advice: "leave out callbacks and extensions one by one; a smaller train.microBatch gives room meanwhile",
    };
  },
};
