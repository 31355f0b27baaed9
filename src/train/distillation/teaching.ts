/**
 * What a teacher means for a run before its first step: the vocabulary that the student takes from it, the check that both have
 * one, its targets where they are kept, and the promise that a resumed run has the same teacher. Called by train.ts.
 */
import { isDataset, openSources, pathsOf } from "../../data/index.ts";
import type { Transformer } from "../../model/index.ts";
import { UsageError } from "../../platform/errors.ts";
import { joinPath } from "../../platform/files.ts";
import type { Runtime } from "../../tensor/index.ts";
import { loadTokenizer, type Tokenizer } from "../../tokenizer/index.ts";
import type { ConfigLayer } from "../config.ts";
import type { RunConfig } from "../config-schema.ts";
import type { Callback } from "../events.ts";
import type { TrainingData } from "../training-data.ts";
import type { TeacherTargets } from "./targets.ts";
import { checkTeacher, checkVocabulary, type Teacher } from "./teacher.ts";
import { teacherTargets } from "./write-targets.ts";

export interface Teaching {
  teacher: Teacher;
  /** What the objectives learn from: the model, or its targets, one for each source of the data. */
  by: Transformer | readonly TeacherTargets[];
  close(): void;
}

/** Where nobody asked for a vocabulary of some size, the student has its teacher's. */
export function sizedByTeacher(config: RunConfig, layers: readonly ConfigLayer[], { model }: Teacher): RunConfig {
  if (layers.some(({ patch }) => patch.model?.vocabSize !== undefined)) return config;
  return { ...config, model: { ...config.model, vocabSize: model.config.vocabSize } };
}

/**
 * The tokenizer of a run with a teacher: the one that is named, compared with the teacher's; else the teacher's own. null: one is
 * asked for by kind, or comes with prepared data, and is compared afterwards.
 *
 * @throws UsageError where the named one has another vocabulary; as loadTokenizer
 */
export function tokenizerOfTeacher(
  { tokenizer, data }: RunConfig,
  layers: readonly ConfigLayer[],
  teacher: Teacher,
): Tokenizer | null {
  const paths = data.mixture ? data.mixture.sources.flatMap((source) => pathsOf(source)) : data.files;
  if (tokenizer.file !== null) {
    const named = loadTokenizer(tokenizer.file);
    checkVocabulary(teacher, named);
    return named;
  }
  const asked = layers.some(({ patch }) => patch.tokenizer?.kind !== undefined);
  return asked || paths.some(isDataset) ? null : teacher.tokenizer;
}

/**
 * Checks the teacher against the run, and makes or opens its targets where the config wants them kept; its weights are let go
 * of then.
 *
 * @throws UsageError for another vocabulary; as teacherTargets
 */
export async function beTaught(
  { distill, data, train, model }: RunConfig,
  parts: {
    teacher: Teacher;
    corpus: TrainingData;
    runtime: Runtime;
    onNote: (text: string) => void;
    signal?: AbortSignal;
  },
): Promise<Teaching> {
  const { teacher, corpus, ...rest } = parts;
  checkTeacher(teacher, { tokenizer: corpus.tokenizer, vocabSize: model.vocabSize, sequence: train.sequence });
  if (distill.cache === null) return { teacher, by: teacher.model, close() {} };
  const root = distill.cache === "auto" ? joinPath(data.cacheDir, "teachers") : distill.cache;
  const { sources, close } = openSources(corpus.feed);
  const targets: TeacherTargets[] = [];
  const closeTargets = () => {
    for (const one of targets) one.close();
  };
  try {
    for (const source of sources)
      targets.push(
        await teacherTargets({
          ...rest,
          root,
          teacher,
          source,
          temperature: distill.temperature,
          samples: distill.samples,
          seed: distill.seed,
          maskDocuments: data.maskDocuments,
          microBatch: Math.min(train.microBatch ?? train.batch, train.batch),
        }),
      );
  } catch (error) {
    closeTargets();
    throw error;
  } finally {
    close();
  }
  teacher.dispose();
  return { teacher, by: targets, close: closeTargets };
}

/** Saves which teacher a run has. @throws UsageError, when the run is resumed, for another one */
export function sameTeacher({ teacher }: Teaching): Callback {
  return {
    name: "distillation",
    on() {},
    state: () => ({ teacher: teacher.hash }),
    restore(saved) {
      if ((saved as { teacher?: unknown }).teacher !== teacher.hash)
        throw new UsageError(
          `distill.teacher ${teacher.name}: is not the model that this run began with (its weights or config are others); name that one, or begin a new run`,
        );
    },
  };
}
