/**
 * Language of a document: by `eld` (Efficient Language Detector: Apache-2.0, no dependencies, 60 languages, small table), or
 * as the source says. Weighed: franc's scores are distances of trigrams, relative to the best, and say nothing of certainty;
 * fastText and CLD3 need a native or WASM part and a model beside it.
 */
import { UsageError } from "../../platform/errors.ts";
import { defineFilter, type Stage } from "../pipeline.ts";

export interface LanguageOptions {
  /** ISO 639-1 codes that are kept. */
  languages?: readonly string[];
  /** The least score: of eld (0 to 1; good text of its language mostly has over 0.5), or of the field, if named. */
  threshold?: number;
  /** detect: by eld. field: what the source says (--language-field); a document of which it says nothing is dropped. */
  by?: "detect" | "field";
  /** So many characters of a text are looked at, from its middle. */
  characters?: number;
}

export const languageDefaults = {
  languages: ["en"] as readonly string[],
  threshold: 0.3,
  by: "detect",
  characters: 4000,
} satisfies Required<LanguageOptions>;

export interface LanguageDetector {
  /** ISO 639-1 codes that are told apart. */
  readonly languages: readonly string[];
  /** The language of a text and the score for it; "" and 0 for a text without letters. */
  detect(text: string, characters?: number): { language: string; score: number };
}

/** Loads eld and its table (1.6 MB), which only this filter needs. */
export async function loadLanguageDetector(): Promise<LanguageDetector> {
  const { eld } = await import("eld/small");
  return {
    languages: (Object.values(eld.info().Languages) as string[]).sort(),
    detect(text, characters = languageDefaults.characters) {
      const from = Math.max(0, (text.length - characters) >> 1);
      const result = eld.detect(text.slice(from, from + characters));
      const { language } = result;
      return { language, score: language === "" ? 0 : (result.getScores()[language] ?? 0) };
    },
  };
}

/** Drops documents: no-language, other-language (counted by language too), uncertain-language. */
export async function languageFilter(options: LanguageOptions = {}): Promise<Stage> {
  const rules = { ...languageDefaults, ...options };
  const wanted = new Set(rules.languages.map((code) => code.toLowerCase()));
  if (wanted.size === 0) throw new UsageError("language: name at least one language to keep, such as en");
  const detector = rules.by === "detect" ? await loadLanguageDetector() : null;
  for (const code of detector ? wanted : [])
    if (!detector!.languages.includes(code))
      throw new UsageError(`language: "${code}" is not detected; languages are: ${detector!.languages.join(", ")}`);
  return defineFilter("language", rules, (document, account) => {
    const found = detector?.detect(document.text, rules.characters) ?? {
      language: document.language?.toLowerCase() ?? "",
      score: 1,
    };
    if (found.language === "") return { drop: "no-language" };
    if (!wanted.has(found.language)) {
      account.count(`language: ${found.language}`);
      return { drop: "other-language", detail: `${found.language}, score ${found.score.toFixed(3)}` };
    }
    if (found.score < rules.threshold)
      return {
        drop: "uncertain-language",
        detail: `score ${found.score.toFixed(3)}, wanted at least ${rules.threshold}`,
      };
    return document.language === null ? { ...document, language: found.language } : document;
  });
}
