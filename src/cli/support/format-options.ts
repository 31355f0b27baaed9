/** Options that only some formats of export and import read: found, and refused with the others. */
import { Command } from "commander";
import { UsageError } from "../../platform/errors.ts";

interface Format {
  name: string;
  addOptions?(command: Command): void;
}

/** Names of the options that a format adds. */
function namesOf(format: Format): string[] {
  const probe = new Command();
  format.addOptions?.(probe);
  return probe.options.map((option) => option.attributeName());
}

/**
 * The values of the options that `format` reads.
 *
 * @throws UsageError for one given that only other formats read
 */
export function ownOptions<T extends Format>(
  command: Command,
  format: T,
  formats: readonly T[],
): Record<string, unknown> {
  const own = namesOf(format);
  const values = command.opts();
  for (const other of formats)
    for (const name of namesOf(other))
      if (!own.includes(name) && command.getOptionValueSource(name) === "cli") {
        const option = command.options.find((one) => one.attributeName() === name)!;
        throw new UsageError(`${option.long} has no meaning for --format ${format.name}`);
      }
  return Object.fromEntries(own.map((name) => [name, values[name]]));
}
