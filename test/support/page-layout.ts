/** What a browser made of a page of ours, for tests of pages (report, inspection). */

/** Runs in the page: of every chart that is shown, texts that lie on each other, or outside of it. */
export function layout() {
  type Box = { left: number; right: number; top: number; bottom: number; width: number; text: string };
  // The page's own globals: this project's types are Node's.
  const { document, getComputedStyle } = globalThis as never as {
    document: {
      documentElement: { scrollWidth: number };
      body: object;
      querySelectorAll(query: string): Iterable<never>;
    };
    getComputedStyle(element: object): { backgroundColor: string };
  };
  const boxOf = (element: { getBoundingClientRect(): Box; textContent: string }): Box => {
    const { left, right, top, bottom, width } = element.getBoundingClientRect();
    return { left, right, top, bottom, width, text: element.textContent };
  };
  const overlapping: string[] = [];
  const outside: string[] = [];
  let seen = 0;
  for (const svg of document.querySelectorAll("svg") as Iterable<never>) {
    const frame = boxOf(svg);
    if (frame.width === 0) continue;
    seen++;
    const texts = [...(svg as { querySelectorAll(query: string): Iterable<never> }).querySelectorAll("text")].map(
      boxOf,
    );
    for (const [i, a] of texts.entries()) {
      if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
        outside.push(a.text);
      for (const b of texts.slice(i + 1))
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2)
          overlapping.push(`${a.text} / ${b.text}`);
    }
  }
  return {
    ...{ seen, overlapping, outside },
    scrollWidth: document.documentElement.scrollWidth,
    paper: getComputedStyle(document.body).backgroundColor,
  };
}
