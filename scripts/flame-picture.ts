/**
 * One training step as a flame-style picture: the step, its phases, their ops, their kernels, each as wide as its time;
 * in a kernel, the dark part is its floor. An SVG as text; hovering a box names it.
 */
import type { BreakdownResult } from "./performance-results.ts";

const width = 1200;
const [left, rowHeight, gap] = [10, 34, 2];
/** Narrower than this, a box has no room for words. */
const charWidth = 6.2;

interface Box {
  name: string;
  ms: number;
  floorMs?: number;
  children?: Box[];
}

const escapeXml = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const byTime = (a: Box, b: Box) => b.ms - a.ms;
const total = (boxes: readonly { ms: number }[]) => boxes.reduce((sum, { ms }) => sum + ms, 0);

/** The same hue wherever an op appears. */
function hueOf(name: string): number {
  let hash = 7;
  for (const char of name) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) | 0;
  return ((hash % 360) + 360) % 360;
}

function tree(result: BreakdownResult): Box {
  const phases: Box[] = (["forward", "backward", "update"] as const).map((phase) => {
    const rows = result.rows.filter((row) => row.phase === phase);
    const ops: Box[] = [...new Set(rows.map(({ op }) => op))].map((op) => {
      const children = rows
        .filter((row) => row.op === op)
        .map(({ kernel, ms, floorMs }) => ({ name: kernel, ms, floorMs }))
        .sort(byTime);
      return { name: op, ms: total(children), children };
    });
    return { name: phase, ms: total(ops), children: ops.sort(byTime) };
  });
  const inKernels = total(phases);
  // Medians of parts need not add up to the median of the whole.
  const outside = Math.max(0, result.wallMs - inKernels);
  phases.push({ name: "outside kernels", ms: outside });
  return { name: `one step of ${result.preset}, ${result.variant}`, ms: inKernels + outside, children: phases };
}

export function flamePicture(result: BreakdownResult): string {
  const step = tree(result);
  const scale = (width - 2 * left) / step.ms;
  const parts: string[] = [];
  const draw = (box: Box, x: number, depth: number, hue: number | null) => {
    const w = Math.max(0, box.ms * scale - gap);
    if (w < 0.5) return;
    const y = 40 + depth * (rowHeight + gap);
    const floor =
      box.floorMs === undefined || !result.peaks ? null : Math.min(1, box.ms > 0 ? box.floorMs / box.ms : 0);
    const title = `${box.name}: ${box.ms.toFixed(2)} ms, ${((100 * box.ms) / step.ms).toFixed(1)} %${
      floor === null ? "" : `; floor ${box.floorMs!.toFixed(2)} ms`
    }`;
    const fill = hue === null ? "#e4e4e0" : `hsl(${hue} 55% ${floor === null ? 80 : 86}%)`;
    parts.push(`<g><title>${escapeXml(title)}</title>`);
    parts.push(
      `<rect x="${x.toFixed(2)}" y="${y}" width="${w.toFixed(2)}" height="${rowHeight}" rx="2" fill="${fill}"/>`,
    );
    if (floor !== null)
      parts.push(
        `<rect x="${x.toFixed(2)}" y="${y}" width="${(w * floor).toFixed(2)}" height="${rowHeight}" rx="2" fill="hsl(${hue ?? 0} 55% 66%)"/>`,
      );
    const room = Math.floor((w - 6) / charWidth);
    const label = box.name.length <= room ? box.name : room >= 4 ? `${box.name.slice(0, room - 1)}…` : "";
    if (label) parts.push(`<text x="${(x + 3).toFixed(2)}" y="${y + 14}">${escapeXml(label)}</text>`);
    const time = `${box.ms.toFixed(box.ms < 10 ? 1 : 0)} ms`;
    if (label && time.length <= room)
      parts.push(`<text x="${(x + 3).toFixed(2)}" y="${y + 28}" fill="#555">${time}</text>`);
    parts.push("</g>");
    let at = x;
    for (const child of box.children ?? []) {
      draw(child, at, depth + 1, depth === 0 ? null : depth === 1 ? hueOf(child.name) : hue);
      at += child.ms * scale;
    }
  };
  draw(step, left, 0, null);
  const height = 40 + 4 * (rowHeight + gap) + 14;
  const heading = `One step of ${result.preset}, ${result.variant}, ${result.batch} x ${result.sequence}: ${result.wallMs.toFixed(0)} ms. Dark: the kernel's floor.`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${left}" y="24" font-size="15">${escapeXml(heading)}</text>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}
