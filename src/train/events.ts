/** What the trainer tells its callbacks, and what a callback may do. Logging, saving and stopping are all callbacks. */
import type { DataPosition, SourceUse } from "../data/index.ts";
import type { Random } from "../platform/random.ts";
import type { Runtime } from "../tensor/index.ts";
import type { Controls, ControlsState, StopReason } from "./controls.ts";
import type { NamedTensor, Optimizer } from "./optimizers.ts";
import type { TrainableModel } from "./trainable-model.ts";

export type { StopReason } from "./controls.ts";

/** A step's gradients are there, and nothing is changed yet: the time to look at them, change them, or skip the update. */
export interface GradientsEvent {
  type: "gradients";
  /** From 1. */
  step: number;
  loss: number;
  /** As in the step's event. */
  parts?: Readonly<Record<string, number>>;
  /** L2 norm of the gradient before clipping, and its squares by parameter, in the order of `model.parameters`. */
  gradNorm: number;
  squares: Float64Array;
  /** Loss and gradient are numbers; else the step is skipped whatever callbacks say. */
  finite: boolean;
}

/** One step: an update, or a skipped one. */
export interface StepEvent {
  type: "step";
  /** From 1. */
  step: number;
  /** What was trained on: mean over the batch's targets, before the update; of several objectives the weighted sum. */
  loss: number;
  /** Each objective's loss before its weight, and its parts; absent where the plain next-token loss is all there is. */
  parts?: Readonly<Record<string, number>>;
  /** L2 norm of the gradient before clipping. */
  gradNorm: number;
  /** Of each objective times its weight, alone; absent but at the steps of `metrics.termsEvery`. */
  termNorms?: Readonly<Record<string, number>>;
  learningRate: number;
  weightDecay: number;
  /** Targets in this step, and in all so far. */
  tokens: number;
  totalTokens: number;
  /** Passes over the training text before this batch: 0 in the first. */
  epoch: number;
  /** Nothing was changed: the loss or the gradient was not finite, or a callback had it so. */
  skipped: boolean;
  /** Why a callback had it skipped; absent where none had. */
  skipReason?: string;
  skippedSteps: number;
  /** Of this step alone: reading, forward, backward, update. */
  elapsedMs: number;
  /** Of that, waiting for the batch. */
  dataWaitMs: number;
  /** Batches skipped before this one, since no target of theirs counts in the loss; absent: none. */
  passedOver?: number;
  /** How far the layers were quantized, as a mean over them; absent where they are wholly, always. */
  quantLambda?: number;
  /** More numbers of progressive quantization, by their key in the metrics, such as quant_temperature. */
  quantization?: Readonly<Record<string, number>>;
  /** What each source of a mixture has given so far; absent for one text. */
  sources?: readonly SourceUse[];
}

/** One line of metrics/scalars.jsonl; see metrics.ts for the keys. */
export type ScalarLine = { step: number } & Record<string, unknown>;

export type TrainingEvent =
  /** Before the first step of this process; `step` is 0, or where a resumed run stands. */
  | { type: "start"; step: number; steps: number }
  | GradientsEvent
  | StepEvent
  /** The run went back to the checkpoint of `step`, and goes on from there; `from` is the step that it had reached. */
  | { type: "rollback"; step: number; from: number; reason: string }
  | {
      type: "evaluation";
      step: number;
      /** Nats per token. */
      loss: number;
      /** Targets that it is the mean of. */
      tokens: number;
      /** null where the bytes behind the tokens are not known. */
      bitsPerByte: number | null;
      /** Lower than every one before. */
      best: boolean;
    }
  | { type: "samples"; step: number; samples: Sample[] }
  | { type: "scalars"; line: ScalarLine }
  /** `best`: the lowest validation loss so far was just measured here. */
  | { type: "checkpoint"; step: number; path: string; best: boolean }
  /** After the last step of this process, with the reason; what must be saved is saved now. */
  | { type: "end"; step: number; reason: StopReason };

export interface Sample {
  prompt: string;
  text: string;
}

/** The trainer, as a callback sees it. */
export interface Training {
  readonly runtime: Runtime;
  readonly model: TrainableModel;
  readonly optimizer: Optimizer;
  /** N. */
  readonly steps: number;
  /** For what callbacks draw; its state is saved with the run. */
  readonly random: Random;
  /** What a callback may do. */
  readonly controls: Controls;
  /** Tells every callback, in order. */
  emit(event: TrainingEvent): Promise<void>;
  /** Ends training after this step. */
  stop(reason: StopReason): void;
  /**
   * Adds keys to the next line of metrics, and to layers by their names where that line describes them; said again before that
   * line, the last values stand.
   */
  log(values: Readonly<Record<string, number>>, layers?: LayerValues): void;
  /** What was logged since the last time it was asked for: for who writes the lines. */
  takeLogged(): { values: Record<string, number>; layers: LayerValues };
  /** Everything that a run needs to go on from here, but for the tensors. */
  state(): TrainingState;
}

/** Numbers of layers, by the layer's name, such as `model.layers.0.mlp.down_proj`. */
export type LayerValues = Readonly<Record<string, Readonly<Record<string, number>>>>;

export interface Callback {
  /** Names its state in a checkpoint. */
  readonly name: string;
  on(event: TrainingEvent, training: Training): void | Promise<void>;
  /** Plain JSON to be saved, and taken back when a run is resumed. */
  state?(): unknown;
  restore?(state: unknown): void;
  /**
   * Tensors to be saved beside that, for state of every weight; restored in place, after `restore`. Made at the first call,
   * which comes before the first step; the callback frees them in `close`.
   */
  tensors?(parts: Pick<Training, "runtime" | "model">): readonly NamedTensor[];
  /** Told of every step before metrics are, so that what it logs stands in that step's line. */
  readonly beforeMetrics?: boolean;
  /** When the run rolls back, its state stays as it is, instead of becoming that of the checkpoint. */
  readonly keepsStateOnRollBack?: boolean;
  /** Called once when training ends, in whatever way: closes files, frees tensors. */
  close?(): void;
}

/** Plain JSON, in trainer_state.json. */
export interface TrainingState {
  /** Steps done. */
  step: number;
  /** Of these, the ones that changed the weights. */
  updates: number;
  totalTokens: number;
  skippedSteps: number;
  skippedInRow: number;
  data: DataPosition;
  random: [number, number, number, number];
  /** By name. */
  callbacks: Record<string, unknown>;
  /** What callbacks set (controls.ts); absent where nothing was. */
  controls?: ControlsState;
  /** Updates before a parameter's optimiser state began, for those unfrozen on the way; absent where there are none. */
  startedAt?: Record<string, number>;
}
