/** What `bitnet --version` prints: enough for a bug report. */
import { listBackends } from "../../backends/index.ts";
import { packageVersion } from "../../platform/system.ts";

export function versionText(): string {
  const { version, commit } = packageVersion();
  const lines = [`bitnet.ts ${version}${commit ? ` (commit ${commit.slice(0, 7)})` : ""}, Node ${process.version}`];
  const said = new Set<string>();
  for (const { choice, absent } of listBackends()) {
    const line = `${choice.backend} ${choice.isa}: ${absent ?? "works here"}`;
    if (!said.has(line)) lines.push(line);
    said.add(line);
  }
  return `${lines.join("\n")}\n`;
}
