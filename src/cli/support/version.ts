/** What `bitnet --version` prints: enough for a bug report. */
import { findBackends } from "../../backends/index.ts";
import { packageVersion } from "../../platform/system.ts";

export async function versionText(): Promise<string> {
  const { version, commit } = packageVersion();
  const lines = [`bitnet.ts ${version}${commit ? ` (commit ${commit.slice(0, 7)})` : ""}, Node ${process.version}`];
  const said = new Set<string>();
  for (const { choice, absent } of await findBackends()) {
    const line = `${choice.backend} ${choice.isa}: ${absent ?? "works here"}`;
    if (!said.has(line)) lines.push(line);
    said.add(line);
  }
  return `${lines.join("\n")}\n`;
}
