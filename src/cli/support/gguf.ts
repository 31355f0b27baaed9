/** GGUF files for `export` and `import`. */
import { UnsupportedError } from "../../platform/errors.ts";
import type { ExportRequest } from "./export-formats.ts";
import type { ImportRequest } from "./import-formats.ts";

export async function exportGguf(request: ExportRequest): Promise<string> {
  throw new UnsupportedError(`${request.input}: GGUF is not written yet`);
}

export async function importGguf(request: ImportRequest): Promise<string> {
  throw new UnsupportedError(`${request.input}: GGUF is not read yet`);
}
