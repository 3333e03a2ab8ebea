// A clock moved by hand, sockets without a network, and a server that serves one table from a
// script: it numbers rows, cuts frames as a hub does, and can drop, repeat or garble what it sends.

import type { Clock } from "../src/clock.js";
import type { ServerFrame } from "../src/protocol.js";
import type { Socket, SocketClass } from "../src/socket.js";

export class ManualClock implements Clock {
  #now = 0;
  #timers = new Map<number, { at: number; run: () => void }>();
  #last = 0;
  /** What `random` gives. */
  chance = 1;

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, run: () => void): () => void {
    const id = (this.#last += 1);
    this.#timers.set(id, { at: this.#now + milliseconds, run });
    return () => void this.#timers.delete(id);
  }

  random(): number {
    return this.chance;
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** Moves on, and runs what is due in its order. */
  pass(milliseconds: number): void {
    const until = this.#now + milliseconds;
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= until);
      due.sort(([, left], [, right]) => left.at - right.at);
      const next = due[0];
      if (next === undefined) {
        break;
      }
      this.#timers.delete(next[0]);
      this.#now = Math.max(this.#now, next[1].at);
      next[1].run();
    }
    this.#now = until;
  }
}

/** Lets promises that are settled run on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) {
    await Promise.resolve();
  }
}

/** A socket whose other end is a test. */
export class FakeSocket implements Socket {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly sent: Record<string, unknown>[] = [];
  closedWith: number | undefined;
  heard: (frame: Record<string, unknown>) => void = () => {};

  constructor(readonly url: string) {}

  send(text: string): void {
    if (this.closedWith !== undefined) {
      throw new Error("the socket is closed");
    }
    const frame = JSON.parse(text) as Record<string, unknown>;
    this.sent.push(frame);
    this.heard(frame);
  }

  close(code = 1005): void {
    this.closedWith ??= code;
  }

  open(): void {
    this.onopen?.({} as never);
  }

  say(frame: ServerFrame | Record<string, unknown>): void {
    this.sayText(JSON.stringify(frame));
  }

  sayText(data: unknown): void {
    this.onmessage?.({ data } as never);
  }

  drop(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason } as never);
  }

  last(): Record<string, unknown> {
    return this.sent[this.sent.length - 1]!;
  }
}

/** Makes a class that tells of every socket. */
export function sockets(made: (socket: FakeSocket) => void): SocketClass {
  return class extends FakeSocket {
    constructor(url: string) {
      super(url);
      made(this);
    }
  };
}

/** Sockets that a test opens and feeds itself. */
export class Dialled {
  readonly all: FakeSocket[] = [];
  readonly WebSocket = sockets((socket) => this.all.push(socket));

  get last(): FakeSocket {
    return this.all[this.all.length - 1]!;
  }
}

export interface Trade extends Record<string, string | number | null> {
  symbol: string;
  price: number | null;
  n: number;
}

interface Reader {
  socket: FakeSocket;
  channel: number;
  mode: string;
  at: number;
  known: Map<string, Trade>;
}

/** A hub of one stream, on a table of trades with the key `symbol`. */
export class FakeServer {
  readonly log: Trade[] = [];
  generation = 1;
  /** Rows up to here survive a kill. */
  committed = 0;
  /** Frames of one connection after which it is dropped; later ones live. */
  dropAfter = Number.POSITIVE_INFINITY;
  /** What becomes of each frame on its way: it, several, or garbled text. */
  mangle: (text: string) => string[] = (text) => [text];
  /** How many rows a page of a snapshot holds. */
  pageRows = 3;
  connections = 0;
  #sent = 0;
  /** How many rows each generation that was killed has left behind. */
  readonly #kept: number[] = [];
  readonly #readers = new Map<string, Reader>();
  readonly #perKey = new Map<string, number>();
  readonly WebSocket = sockets((socket) => this.#accept(socket));
  #waiting: FakeSocket[] = [];

  /** Opens what was dialled: a socket opens only after its maker has returned. */
  accept(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const socket of waiting) {
      socket.open();
    }
  }

  cursor(at: number): string {
    return `${this.generation}-${Math.floor(at / 4)}-${at}`;
  }

  publish(symbol: string, price: number | null): void {
    const n = (this.#perKey.get(symbol) ?? 0) + 1;
    this.#perKey.set(symbol, n);
    this.log.push({ symbol, price, n });
    for (const reader of [...this.#readers.values()]) {
      this.#catchUp(reader);
    }
  }

  /** Dies, loses what was not committed, and comes back. */
  kill(): void {
    const sockets = new Set([...this.#readers.values()].map((reader) => reader.socket));
    this.#readers.clear();
    this.log.length = this.committed;
    this.#kept[this.generation] = this.committed;
    this.#perKey.clear();
    for (const row of this.log) {
      this.#perKey.set(row.symbol, row.n);
    }
    this.generation += 1;
    for (const socket of sockets) {
      socket.drop();
    }
  }

  latest(): Map<string, Trade> {
    return new Map(this.log.map((row) => [row.symbol, row]));
  }

  #accept(socket: FakeSocket): void {
    this.connections += 1;
    this.#sent = 0;
    this.#waiting.push(socket);
    socket.heard = (frame) => this.#heard(socket, frame);
  }

  #heard(socket: FakeSocket, frame: Record<string, unknown>): void {
    if (frame.type === "unsubscribe") {
      this.#readers.delete(String(frame.id));
      this.#say(socket, { type: "unsubscribed", id: frame.id });
    } else if (frame.type === "subscribe") {
      this.#subscribe(socket, frame);
    }
  }

  #subscribe(socket: FakeSocket, frame: Record<string, unknown>): void {
    const id = String(frame.id);
    const mode = String(frame.mode ?? "rows");
    const reader = { socket, channel: Number(id) + 100, mode, at: 0, known: new Map() };
    this.#readers.set(id, reader);
    const columns = ["symbol", "price", "n"].map((name) => ({ name, type: "X" }));
    const channel = reader.channel;
    const named = { type: "subscribed", id, channel, stream: "trades", columns, key: ["symbol"] };
    if (!this.#say(socket, named)) {
      return;
    }
    const from = frame.from === undefined ? undefined : String(frame.from).split("-").map(Number);
    // What any kill since then has left: later rows with those numbers are other rows.
    const kept = from && Math.min(...this.#kept.slice(from[0]), Number.POSITIVE_INFINITY);
    if (from === undefined) {
      this.#snapshot(reader);
    } else if (from[2]! > kept!) {
      const cursor = this.cursor(kept!);
      if (this.#say(socket, { type: "reset", channel, cursor, reason: "withdrawn" })) {
        // What stands in their place now, then a snapshot.
        reader.at = kept!;
        reader.known = new Map(this.log.slice(0, kept).map((row) => [row.symbol, row]));
        if (this.#catchUp(reader)) {
          this.#snapshot(reader);
        }
      }
    } else {
      reader.at = from[2]!;
      for (const row of this.log.slice(0, reader.at)) {
        reader.known.set(row.symbol, row);
      }
      this.#catchUp(reader, String(frame.from));
    }
  }

  #snapshot(reader: Reader): void {
    reader.at = this.log.length;
    const rows = [...this.latest().values()];
    const cursor = this.cursor(reader.at);
    const { channel, socket } = reader;
    reader.known = this.latest();
    for (let first = 0; first === 0 || first < rows.length; first += this.pageRows) {
      const page = rows.slice(first, first + this.pageRows);
      const more = first + this.pageRows < rows.length;
      if (!this.#say(socket, { type: "snapshot", channel, cursor, rows: page, more })) {
        return;
      }
    }
  }

  #catchUp(reader: Reader, after = this.cursor(reader.at)): boolean {
    const rows = this.log.slice(reader.at).map((row) => {
      const before = reader.known.get(row.symbol);
      reader.known.set(row.symbol, row);
      if (reader.mode !== "changes" || before === undefined) {
        return row;
      }
      const changed = Object.entries(row).filter(
        ([name, value]) => name === "symbol" || before[name] !== value,
      );
      return Object.fromEntries(changed);
    });
    reader.at = this.log.length;
    const cursor = this.cursor(reader.at);
    if (cursor !== after) {
      const { channel } = reader;
      return this.#say(reader.socket, { type: "update", channel, after, cursor, rows });
    }
    return true;
  }

  /** False once the connection is gone. */
  #say(socket: FakeSocket, frame: Record<string, unknown>): boolean {
    for (const text of this.mangle(JSON.stringify(frame))) {
      if (this.#sent >= this.dropAfter) {
        this.dropAfter = Number.POSITIVE_INFINITY;
        for (const [id, reader] of this.#readers) {
          if (reader.socket === socket) {
            this.#readers.delete(id);
          }
        }
        socket.drop();
        return false;
      }
      this.#sent += 1;
      socket.sayText(text);
    }
    return true;
  }
}
