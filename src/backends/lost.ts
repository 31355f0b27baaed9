/**
 * The one place where a backend keeps what made it useless after a call had come back (backend.ts, "What fails later").
 * Made by a backend that can be lost; the others take `neverLost`.
 */
import { BackendLostError } from "../platform/errors.ts";

export interface Loss {
  /** For `Backend.lost`. */
  readonly lost: Promise<BackendLostError>;
  /** Null as long as the backend works. */
  readonly error: BackendLostError | null;
  /** The first report counts; later ones are told of it. @returns what every call fails with from now on */
  report(message: string, cause?: unknown): BackendLostError;
  /** @throws BackendLostError once there was a report */
  check(): void;
}

export function createLoss(): Loss {
  let resolve: (error: BackendLostError) => void;
  let error: BackendLostError | null = null;
  return {
    lost: new Promise((settle) => {
      resolve = settle;
    }),
    get error() {
      return error;
    },
    report(message, cause) {
      if (!error) {
        error = new BackendLostError(message, { cause });
        resolve(error);
      }
      return error;
    },
    check() {
      if (error) throw error;
    },
  };
}

/** For a backend whose calls fail at once or not at all. */
export const neverLost: Promise<BackendLostError> = new Promise(() => {});
