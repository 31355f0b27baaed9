/**
 * Jinja templates as transformers runs them (jinja2 in its sandbox, with trim_blocks and lstrip_blocks, loop controls and the
 * generation tag): held to jinja2 itself in template.test.ts. What is not supported is refused when a template is parsed.
 * Called by chat-template.ts.
 *
 * Rendered within a budget (budget.ts) and a deadline. Strings that messages said keep that mark through the template, and
 * its tests see nothing of it.
 */
import { withinTime } from "../../platform/deadline.ts";
import { DataError } from "../../platform/errors.ts";
import { Interpreter } from "./interpreter.ts";
import { parseTemplate } from "./parser.ts";
import type { Statement } from "./syntax.ts";
import { type Said, TemplateError, type Value } from "./values.ts";

/** Of one rendering, milliseconds. */
const maxMs = 1000;

export class Template {
  private readonly body: Statement[];

  /** @throws TemplateError for a mistake, or a tag, filter, test or method that is not supported */
  constructor(source: string) {
    try {
      this.body = parseTemplate(source);
    } catch (cause) {
      // The engine's own words for a stack that is full.
      if (cause instanceof RangeError) throw new TemplateError("it nests too deep", { cause });
      throw cause;
    }
  }

  /** @throws TemplateError with the template's own words; DataError, UnsupportedError where it would take too much */
  render(variables: ReadonlyMap<string, Value>): string | Said {
    try {
      return withinTime(
        maxMs,
        () => "the template takes too long",
        () => new Interpreter().run(this.body, variables),
      );
    } catch (cause) {
      if (cause instanceof RangeError)
        throw new DataError("the template nests too deep, or makes too long a text", { cause });
      throw cause;
    }
  }
}
