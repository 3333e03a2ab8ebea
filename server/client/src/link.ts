// A WebSocket that comes back: opened anew after every loss, with a growing wait. It knows frames
// as text only. A socket that was given up is told apart by `#socket` alone: whatever it still
// delivers is ignored.

import { Backoff, type BackoffOptions } from "./backoff.js";
import type { Clock } from "./clock.js";
import { liveUrl, socketClass, type Secret, type Socket, type SocketClass } from "./socket.js";

/** Closing because of a fault of the other side (RFC 6455 gives 4000 to 4999 to applications). */
const CLOSED_BY_FAULT = 4000;

/** How a server closes on somebody it does not admit. */
const REFUSED = 1008;

/** `waiting` is the time before the next try; `closed` is final. */
export type ConnectionState = "connecting" | "open" | "waiting" | "closed";

export interface LinkOptions {
  /** The server's address, `http(s)` or `ws(s)`, such as `http://localhost:8080`. */
  url: string | URL;
  /** An API key, sent as the first frame. */
  token?: Secret;
  /** A one-use ticket for the address; give a function, for every connection needs a new one. */
  ticket?: Secret;
  /** Needed where there is no global one (Node 20). */
  WebSocket?: SocketClass;
  backoff?: BackoffOptions;
  /** Silence after which the connection is given up. 40 s unless told; the server speaks every 15 s. */
  heartbeatTimeoutMs?: number;
  /** How long a connection may take to open. 10 s unless told. */
  openTimeoutMs?: number;
}

/** Who uses the link. */
export interface LinkUser {
  /** The link is open and authenticated as far as the client can tell. */
  opened(): void;
  message(data: unknown): void;
  /** The link was lost; it comes back by itself. */
  lost(error: Error | undefined): void;
  /** The server does not admit this client; another try would not change that. */
  refused(reason: string): void;
  turned(state: ConnectionState, retryInMs?: number): void;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #clock: Clock;
  readonly #user: LinkUser;
  readonly #class: SocketClass;
  readonly #backoff: Backoff;
  #state: ConnectionState = "connecting";
  #socket: Socket | undefined;
  #cancel: () => void = () => {};
  #heardAt = 0;

  /** @throws TypeError for an address that is none, and where there is no WebSocket class */
  constructor(options: LinkOptions, clock: Clock, user: LinkUser) {
    liveUrl(options.url, undefined);
    this.#options = options;
    this.#clock = clock;
    this.#user = user;
    this.#class = socketClass(options.WebSocket);
    this.#backoff = new Backoff(clock, options.backoff);
    this.#open();
  }

  get state(): ConnectionState {
    return this.#state;
  }

  send(frame: object): void {
    try {
      this.#socket?.send(JSON.stringify(frame));
    } catch {
      // A socket that is closing: its `close` event follows, and everything is asked for again.
    }
  }

  /** The server is well: the next loss starts with the shortest wait again. */
  proven(): void {
    this.#backoff.reset();
  }

  /** Gives the connection up and makes it anew. */
  fail(error: Error | undefined): void {
    this.#release(CLOSED_BY_FAULT);
    this.#state = "waiting";
    this.#user.lost(error);
    if (this.#state !== "waiting") {
      return; // Closed by the user meanwhile.
    }
    const wait = this.#backoff.next();
    this.#cancel = this.#clock.after(wait, () => {
      this.#turn("connecting");
      this.#open();
    });
    this.#turn("waiting", wait);
  }

  close(): void {
    if (this.#state !== "closed") {
      this.#release(1000);
      this.#turn("closed");
    }
  }

  #turn(state: ConnectionState, retryInMs?: number): void {
    this.#state = state;
    this.#user.turned(state, retryInMs);
  }

  #open(): void {
    this.#cancel = this.#clock.after(this.#options.openTimeoutMs ?? 10_000, () =>
      this.fail(new Error("the server did not accept the connection in time")),
    );
    // Stands for this try until there is a socket.
    const attempt = { send() {}, close() {} } as unknown as Socket;
    this.#socket = attempt;
    this.#resolve(this.#options.ticket, attempt, (ticket) => this.#dial(ticket));
  }

  /** Goes on with a secret, unless the try it is for was given up meanwhile. */
  #resolve(
    secret: Secret | undefined,
    socket: Socket,
    next: (text: string | undefined) => void,
  ): void {
    if (typeof secret !== "function") {
      next(secret);
      return;
    }
    const current = (run: () => void) => {
      if (this.#socket === socket) {
        run();
      }
    };
    Promise.resolve()
      .then(secret)
      .then(
        (text) => current(() => next(text)),
        (error: unknown) =>
          current(() => this.fail(error instanceof Error ? error : new Error(String(error)))),
      );
  }

  #dial(ticket: string | undefined): void {
    let socket: Socket;
    try {
      socket = new this.#class(liveUrl(this.#options.url, ticket));
    } catch (error) {
      this.fail(error as Error); // A browser refuses some addresses, `ws:` on a page of `https:`.
      return;
    }
    this.#socket = socket;
    const current = (run: () => void) => () => {
      if (this.#socket === socket) {
        run();
      }
    };
    socket.onopen = current(() =>
      this.#resolve(this.#options.token, socket, (token) => this.#begin(token)),
    );
    socket.onmessage = (event: { data: unknown }) => {
      if (this.#socket === socket) {
        this.#heardAt = this.#clock.now();
        this.#user.message(event.data);
      }
    };
    socket.onclose = (event: { code?: number; reason?: string }) => {
      if (this.#socket === socket) {
        if (event.code === REFUSED) {
          this.#user.refused(event.reason || "the server does not admit this client");
        } else {
          this.fail(undefined);
        }
      }
    };
    // A `close` follows and says as much, but not everywhere: Node 20 leaves it out when nobody
    // listens at the address.
    socket.onerror = current(() => this.fail(undefined));
  }

  #begin(token: string | undefined): void {
    this.#cancel();
    if (token !== undefined) {
      this.send({ type: "auth", token });
    }
    this.#heardAt = this.#clock.now();
    const limit = this.#options.heartbeatTimeoutMs ?? 40_000;
    this.#watch(limit, limit);
    this.#turn("open");
    this.#user.opened();
  }

  /** Gives the connection up when it was silent for too long. One timer, however many frames. */
  #watch(milliseconds: number, limit: number): void {
    this.#cancel = this.#clock.after(milliseconds, () => {
      const silent = this.#clock.now() - this.#heardAt;
      if (silent >= limit) {
        this.fail(new Error(`the server was silent for ${Math.round(silent)} ms`));
      } else {
        this.#watch(limit - silent, limit);
      }
    });
  }

  #release(code: number): void {
    this.#cancel();
    const socket = this.#socket;
    this.#socket = undefined;
    try {
      socket?.close(code);
    } catch {
      // It is gone already.
    }
  }
}
