/** Windows that score each token of a text once, as lm-evaluation-harness cuts them. Called by wikitext.ts and log-likelihood.ts. */

/** Tokens that go in, and those of them at the end whose next tokens are scored. */
export interface RollingWindow {
  input: number[];
  targets: number[];
}

/**
 * The harness's rolling windows with one token of context: each token is a target once; the first is predicted from
 * `prefix`; every window but the last begins with the last token of the one before, and the last is full where the text
 * is long enough, so that its targets see more.
 *
 * @param window T: tokens of input at most
 */
export function* rollingWindows(tokens: ArrayLike<number>, prefix: number, window: number): Generator<RollingWindow> {
  const piece = (from: number, to: number): number[] => Array.prototype.slice.call(tokens, from, to);
  const n = tokens.length;
  if (n === 0) return;
  const first = Math.min(window, n);
  yield { input: [prefix, ...piece(0, first - 1)], targets: piece(0, first) };
  for (let done = first; done < n; ) {
    const end = Math.min(done + window, n);
    yield { input: piece(end - window - 1, end - 1), targets: piece(done, end) };
    done = end;
  }
}
