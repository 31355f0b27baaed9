/**
 * What a schema's check found, in words for people: the field, what was expected and what came. The schema's library says
 * "received undefined" of what is missing, and prints keys whole. Knows no schema. Called by readers of JSON.
 */
import { showText } from "./show.ts";

/** An issue as zod has it, as far as it matters here. */
export interface SchemaIssue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** An issue's message without the library's own words. */
export const plainMessage = (message: string): string =>
  message
    .replace(/^(Invalid input|Too small|Too big|Invalid option): /, "")
    .replace(/,? ?received undefined$/, ", but it is missing")
    .replace(/^Invalid input$/, "is none of what may stand here");

/** @param root what the content is called where the issue is with all of it */
export function issueWords({ path, message }: SchemaIssue, root = "content"): string {
  const where = path.length === 0 ? root : showText(path.map(String).join("."));
  return `${where}: ${showText(plainMessage(message), 200)}`;
}
