/**
 * The frame of our pages (html.ts, inspection-page.ts): one HTML file, no script, no font, no address; light and dark by the
 * reader's setting, and fit to print. Text from outside is escaped.
 */
import { styles } from "./styles.ts";
import { escapeText as e } from "./svg.ts";

/** A chart as a function of a width in pixels: SVG text. */
export interface DrawnChart {
  id: string;
  heading: string;
  /** What is to be seen, in a sentence. */
  caption: string;
  draw(width: number): string;
}

/** Pixels of the charts: one fits a page, the other a phone. */
const [wide, narrow] = [760, 340];

/** A chart in both widths; the page shows the one that fits. */
export const figure = ({ id, heading, caption, draw }: DrawnChart): string =>
  `<figure id="${e(id)}"><h3>${e(heading)}</h3><div class="wide">${draw(wide)}</div><div class="narrow">${draw(narrow)}</div><figcaption>${e(caption)}</figcaption></figure>`;

export interface Page {
  title: string;
  createdMs: number;
  /** HTML; empty ones are left out. */
  sections: readonly string[];
  moreStyles?: string;
}

export function pageOf({ title, createdMs, sections, moreStyles = "" }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${e(title)}</title>
<style>${styles}${moreStyles}</style>
</head>
<body>
<main>
<header><h1>${e(title)}</h1><p>bitnet.ts, ${e(new Date(createdMs).toISOString().slice(0, 10))}</p></header>
${sections.filter((section) => section !== "").join("\n")}
</main>
</body>
</html>
`;
}

export function simpleTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: "th" | "td") =>
    `<tr>${cells.map((c) => `<${tag}>${e(c)}</${tag}>`).join("")}</tr>`;
  return `<table><thead>${line(head, "th")}</thead><tbody>${rows.map((cells) => line(cells, "td")).join("")}</tbody></table>`;
}
