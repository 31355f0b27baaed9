/** Training text without ends of documents: the model never learns to stop. */
import type { DiagnosisRule } from "../rule.ts";

/** Tokens of one document from which it is surely many. */
const longDocument = 200_000;

export const noEndOfText: DiagnosisRule = {
  name: "no-end-of-text",
  summary: "training text that is one endless document",
  check({ meta }) {
    const { documents, tokens } = meta.data;
    if (!(documents <= 1 && tokens >= longDocument)) return null;
    return {
      what: "the training text has no end of text",
      figure: `${documents} document of ${tokens} tokens`,
      why: "documents are separated by data.separator, which does not occur; generation has no token to end with",
      advice: 'name what separates documents: --data.separator "..."',
    };
  },
};
