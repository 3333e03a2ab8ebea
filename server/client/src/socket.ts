// What this client needs of a WebSocket. The one of browsers and of Node from 22 has it.

export interface Socket {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type SocketClass = new (url: string) => Socket;

/** A text, or a function that gives it anew for each connection. */
export type Secret = string | (() => string | Promise<string>);

/** The class to use: the given one, or the global one. */
export function socketClass(given: SocketClass | undefined): SocketClass {
  const found = given ?? (globalThis as { WebSocket?: unknown }).WebSocket;
  if (typeof found !== "function") {
    throw new TypeError(
      "there is no global WebSocket (Node has it from 22 on); give a class as the option WebSocket",
    );
  }
  return found as SocketClass;
}

/** The address of the live endpoint, from the server's own. */
export function liveUrl(server: string | URL, ticket: string | undefined): string {
  const folder = String(server).replace(/\/*$/, "/");
  const url = new URL("api/v1/live", folder);
  url.protocol = url.protocol.replace(/^http/, "ws");
  if (ticket !== undefined) {
    url.searchParams.set("ticket", ticket);
  }
  return url.href;
}
