/** Settings of a run small enough to look at in seconds: for the examples beside this, not for results. */
export const smallRun = (file, steps) => ({
  preset: "tiny",
  model: { vocabSize: 512, width: 128, layers: 2, heads: 4, kvHeads: 2, hiddenWidth: 256, contextLength: 64 },
  data: { files: [file] },
  train: { steps: Number(steps), batch: 8, sequence: 64, microBatch: 8 },
  evaluation: { every: null, batches: 4 },
  samples: { every: null },
  checkpoints: { every: null },
});
