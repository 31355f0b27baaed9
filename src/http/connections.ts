/**
 * Connections of a server: as many as are allowed in all and of one address. Where a further one comes, the longest silent
 * one makes room for it: connections that send nothing lock nobody out. Called by server.ts.
 */
import type { FastifyInstance } from "fastify";

type HttpServer = FastifyInstance["server"];
type Socket = Parameters<NonNullable<Parameters<HttpServer["on"]>[1]>>[0] & {
  remoteAddress?: string;
  destroy(): void;
  once(event: "close", listener: () => void): void;
};

export interface ConnectionLimits {
  connections: number;
  ofAddress: number;
}

/** Puts the limits on a server that does not listen yet. */
export function limitConnections(server: HttpServer, { connections, ofAddress }: ConnectionLimits): void {
  /** In the order in which they fell silent; true: a request of it is under way. */
  const open = new Map<Socket, boolean>();
  const addresses = new Map<string, number>();
  const addressOf = (socket: Socket) => socket.remoteAddress ?? "";

  /** Ends the longest silent connection of those asked for. @returns whether there was one */
  const makeRoom = (among: (socket: Socket) => boolean): boolean => {
    for (const [socket, busy] of open) {
      if (busy || !among(socket)) continue;
      close(socket);
      socket.destroy();
      return true;
    }
    return false;
  };
  const close = (socket: Socket) => {
    if (!open.delete(socket)) return;
    const left = addresses.get(addressOf(socket))! - 1;
    if (left > 0) addresses.set(addressOf(socket), left);
    else addresses.delete(addressOf(socket));
  };

  server.on("connection", (socket: Socket) => {
    const address = addressOf(socket);
    const full = open.size >= connections && !makeRoom(() => true);
    const fullAddress =
      (addresses.get(address) ?? 0) >= ofAddress && !makeRoom((other) => addressOf(other) === address);
    if (full || fullAddress) {
      socket.destroy();
      return;
    }
    open.set(socket, false);
    addresses.set(address, (addresses.get(address) ?? 0) + 1);
    socket.once("close", () => close(socket));
  });
  server.on("request", (request: { socket: Socket }, response: { once(event: "close", done: () => void): void }) => {
    const { socket } = request;
    if (!open.has(socket)) return;
    open.set(socket, true);
    response.once("close", () => {
      // Behind the others: it has just spoken.
      if (open.delete(socket)) open.set(socket, false);
    });
  });
}
