/**
 * Who may ask: the API key, the name that a browser came by, other sites (CORS). Pure of HTTP's library but for the types:
 * server.ts hangs them in front of the routes.
 */
import { equalSecrets } from "../platform/secrets.ts";
import { HttpError } from "./errors.ts";

/** @throws HttpError 401 for a missing or wrong key */
export function checkKey(authorization: string | undefined, keys: readonly string[]): void {
  if (keys.length === 0) return;
  const given = /^Bearer[ \t]+(\S+)[ \t]*$/i.exec(authorization ?? "")?.[1];
  if (given === undefined)
    throw new HttpError(401, "this server wants a key: send it as the header Authorization: Bearer KEY", {
      type: "authentication_error",
      code: "missing_api_key",
    });
  // Every key is compared, so that the time does not tell which came near.
  const matches = keys.map((key) => equalSecrets(given, key));
  if (!matches.includes(true))
    throw new HttpError(401, "the API key is wrong", { type: "authentication_error", code: "invalid_api_key" });
}

const loopback = /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/i;

export const isLoopback = (host: string): boolean =>
  loopback.test(host.includes(":") && !host.startsWith("[") ? `[${host}]` : host);

/**
 * A server on this computer alone answers to this computer's names alone: a page from elsewhere, whose own name was made to
 * point here (DNS rebinding), would otherwise be let in by the browser.
 *
 * @param allowed further names, without ports; "*": any
 * @throws HttpError 421
 */
export function checkHost(header: string | undefined, allowed: readonly string[]): void {
  const name = (header ?? "").replace(/:\d+$/, "").toLowerCase();
  if (loopback.test(name) || allowed.includes("*") || allowed.some((each) => each.toLowerCase() === name)) return;
  throw new HttpError(
    421,
    `this server answers to localhost, and was asked as ${JSON.stringify(name)}; start it with --allowed-host ${name || "NAME"} if that is right`,
    { code: "wrong_host" },
  );
}

/** Headers of an answer to another site's page; none where that site may not ask. */
export function corsHeaders(origin: string | undefined, allowed: readonly string[]): Record<string, string> {
  if (origin === undefined || allowed.length === 0) return {};
  if (!allowed.includes("*") && !allowed.includes(origin)) return { vary: "origin" };
  return {
    "access-control-allow-origin": allowed.includes("*") ? "*" : origin,
    "access-control-expose-headers": "x-request-id, retry-after",
    vary: "origin",
  };
}

/** Of the browser's question before a request with a body. The names are those that the openai client sends. */
export const preflightHeaders: Readonly<Record<string, string>> = {
  "access-control-allow-methods": "GET, POST",
  "access-control-allow-headers": "*, authorization, content-type",
  "access-control-max-age": "600",
};

/** For the page: nothing from elsewhere, no script but ours, in nobody's frame. */
export const pageHeaders: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};
