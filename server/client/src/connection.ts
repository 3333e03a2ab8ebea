// The subscriptions of one connection, which is made anew after every loss; each subscription then
// goes on where it was.

import { Backoff } from "./backoff.js";
import { systemClock, type Clock } from "./clock.js";
import { ServerError } from "./errors.js";
import { Link, type ConnectionState, type LinkOptions } from "./link.js";
import { decode, type AnyRow, type ServerFrame, type SubscribedFrame } from "./protocol.js";
import { Roster } from "./roster.js";
import { call, Feed, type Member, type SubscribeOptions, type Subscription } from "./subscription.js";

/** Refusals of a connection that a new try does not change. */
const FATAL = new Set(["unauthorized", "forbidden"]);
/** Refusals of a subscription that may pass. */
const PASSING = new Set(["unavailable", "internal", "limit"]);
/** The same for one that ran before: its job may be starting again. */
const PASSING_LATER = new Set([...PASSING, "not-found", "ended"]);

export interface ConnectOptions extends LinkOptions {
  clock?: Clock;
  /** Called at every change; `retryInMs` comes with `waiting`. */
  onState?: (state: ConnectionState, retryInMs: number | undefined) => void;
  /** Errors of the connection, which is made anew unless it is closed then. */
  onError?: (error: Error) => void;
}

/** How long the answer to a subscription may take before it is asked for again. */
const ANSWER_TIMEOUT_MS = 10_000;

/** A subscription that is asked for again: it was refused after it ran, or not answered. */
interface Retry {
  backoff: Backoff;
  cancel: () => void;
}

export class Connection {
  readonly #options: ConnectOptions;
  readonly #clock: Clock;
  readonly #link: Link;
  readonly #roster = new Roster();
  readonly #retries = new Map<Member, Retry>();

  constructor(options: ConnectOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#link = new Link(options, this.#clock, {
      opened: () => this.#opened(),
      message: (data) => this.#message(data),
      lost: (error) => this.#lost(error),
      refused: (reason) => this.#refused(new ServerError("unauthorized", reason)),
      turned: (state, wait) => call(() => options.onState?.(state, wait)),
    });
  }

  get state(): ConnectionState {
    return this.#link.state;
  }

  /** Follows a stream. The result is usable at once; its batches come when the server answers. */
  subscribe<Row = AnyRow>(options: SubscribeOptions<Row>): Subscription<Row> {
    const feed = new Feed<Row>(options, (member) => this.#unsubscribe(member));
    if (this.state === "closed") {
      feed.end(new Error("the connection is closed"));
      return feed;
    }
    this.#roster.add(feed);
    if (this.state === "open") {
      this.#request(feed);
    }
    return feed;
  }

  /** Ends all subscriptions and the connection, for good. */
  close(): void {
    this.#finish(undefined);
  }

  #finish(error: Error | undefined): void {
    this.#link.close();
    for (const member of this.#roster.all()) {
      this.#forget(member);
      member.end(error);
    }
  }

  #refused(error: ServerError): void {
    this.#finish(error);
    call(() => this.#options.onError?.(error));
  }

  #opened(): void {
    for (const member of this.#roster.all()) {
      this.#request(member);
    }
  }

  #lost(error: Error | undefined): void {
    this.#roster.disconnect();
    for (const retry of this.#retries.values()) {
      retry.cancel();
    }
    if (error !== undefined) {
      call(() => this.#options.onError?.(error));
    }
  }

  #request(member: Member): void {
    const before = this.#roster.release(member);
    if (before !== undefined) {
      this.#link.send({ type: "unsubscribe", id: before });
    }
    this.#link.send(member.request(this.#roster.claim(member)));
    this.#retry(member, ANSWER_TIMEOUT_MS);
  }

  /** Asks again after a wait, by `backoff` where none is told, unless an answer comes before. */
  #retry(member: Member, wait?: number): void {
    const known = this.#retries.get(member);
    known?.cancel();
    const backoff = known?.backoff ?? new Backoff(this.#clock, this.#options.backoff);
    const cancel = this.#clock.after(wait ?? backoff.next(), () => this.#request(member));
    this.#retries.set(member, { backoff, cancel });
  }

  #unsubscribe(member: Member): void {
    const id = this.#forget(member);
    if (id !== undefined) {
      this.#link.send({ type: "unsubscribe", id });
    }
  }

  #forget(member: Member): string | undefined {
    const id = this.#roster.release(member);
    this.#roster.remove(member);
    this.#retries.get(member)?.cancel();
    this.#retries.delete(member);
    return id;
  }

  #message(data: unknown): void {
    let frame: ServerFrame | undefined;
    try {
      frame = decode(data);
    } catch (error) {
      this.#link.fail(error as Error);
      return;
    }
    switch (frame?.type) {
      case "subscribed":
        this.#subscribed(frame);
        return;
      case "snapshot":
      case "update":
      case "forming":
      case "reset":
        this.#link.proven();
        for (const member of this.#roster.on(frame.channel)) {
          this.#settle(member, member.take(frame));
        }
        return;
      case "unsubscribed":
        // Where it was asked for from here, the id is known no more.
        this.#failed(new ServerError("ended", frame.reason ?? "the server has ended it"), frame.id);
        return;
      case "error":
        this.#failed(
          new ServerError(frame.code, frame.message, frame.errors ?? []),
          frame.id ?? undefined,
        );
        return;
      default:
        return;
    }
  }

  #subscribed(frame: SubscribedFrame): void {
    const member = this.#roster.find(frame.id);
    if (member === undefined) {
      return; // Closed from here in the meantime.
    }
    this.#roster.join(frame.channel, member);
    this.#retries.get(member)?.cancel();
    this.#retries.delete(member);
    this.#settle(member, member.subscribed(frame));
  }

  #settle(member: Member, result: "gap" | Error | undefined): void {
    if (result === "gap") {
      this.#request(member);
    } else if (result !== undefined) {
      this.#unsubscribe(member);
      member.end(result);
    }
  }

  #failed(error: ServerError, id: string | undefined): void {
    if (id === undefined) {
      if (FATAL.has(error.code)) {
        this.#refused(error);
      } else {
        call(() => this.#options.onError?.(error));
      }
      return;
    }
    const member = this.#roster.find(id);
    if (member === undefined) {
      return; // About one that was closed in the meantime.
    }
    const passing = member.established ? PASSING_LATER : PASSING;
    if (passing.has(error.code)) {
      this.#roster.release(member);
      this.#retry(member);
      member.suspended(error);
    } else {
      this.#forget(member);
      member.end(error);
    }
  }
}

/** Connects, and stays connected until `close`. */
export function connect(options: ConnectOptions): Connection {
  return new Connection(options);
}
