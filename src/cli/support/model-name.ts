/** What an export is called where no output is named. */

/**
 * Of runs/tiny/checkpoints/step_000500 "tiny"; of what was downloaded by its name on the hub (models--org--name/COMMIT) "name";
 * of any other folder or file its own name, without a model file's ending.
 */
export function modelName(folder: string): string {
  const parts = folder.split(/[\\/]+/).filter((part) => part !== "" && part !== ".");
  const own = parts.at(-1) ?? "model";
  const hub = /^models--.*--(.+)$/.exec(parts.at(-2) ?? "")?.[1];
  if (hub !== undefined && /^[0-9a-f]{4,64}$/.test(own)) return hub;
  const name = /^step_\d+$/.test(own) && parts.at(-2) === "checkpoints" ? (parts.at(-3) ?? own) : own;
  return name.replace(/\.(bitnet|gguf)$/i, "");
}
