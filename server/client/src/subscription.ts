// One subscription as its user sees it: batches through a callback, the async iterator, or a view.

import type { Batch } from "./batch.js";
import { Buffer, type BufferOptions } from "./buffer.js";
import type { Cursor } from "./cursor.js";
import { Follower } from "./follower.js";
import type { AnyRow, ChannelFrame, ClientFrame, Column, Mode, SubscribedFrame } from "./protocol.js";
import { View } from "./view.js";

export interface SubscribeOptions<Row> {
  /** A job's output: its table's name, or `job.table` where two jobs have one of that name. */
  stream: string;
  /** An SQL condition over the stream's columns, tested on the server. */
  where?: string;
  /** Only these columns; the key's are always there. */
  columns?: readonly (keyof Row & string)[];
  /** `changes` sends changed columns only; this client lays them over the row before. */
  mode?: Mode;
  /** Goes on after this cursor instead of starting with a snapshot. Not with `view` or `changes`. */
  from?: Cursor;
  /** Keeps the newest row of every key in `subscription.view`. The stream must have a key. */
  view?: boolean;
  /** Bounds what waits for the async iterator. */
  buffer?: BufferOptions;
  /** Called with every batch, as it comes. */
  onBatch?: (batch: Batch<Row>) => void;
  /** The server has answered: columns and key are known. Called again after a reconnect. */
  onSubscribed?: (subscription: Subscription<Row>) => void;
  /** The server cannot serve it for now (its job was stopped, say); it is asked for again. */
  onSuspended?: (error: Error) => void;
  /** The subscription ended: without an error where it was closed from here. */
  onEnd?: (error: Error | undefined) => void;
}

/** One stream that is followed. */
export interface Subscription<Row = AnyRow> extends AsyncIterable<Batch<Row>> {
  readonly stream: string;
  /** `pending` until the server has answered, after a reconnect too. */
  readonly state: "pending" | "live" | "ended";
  /** Empty until the server has answered. */
  readonly columns: readonly Column[];
  /** Empty until the server has answered, and for a stream without a key. */
  readonly key: readonly string[];
  /** Everything up to here was delivered; keep it to resume in another process. */
  readonly cursor: Cursor | undefined;
  /** The newest rows by key, where `view` was asked for and the server has answered. */
  readonly view: View<Row> | undefined;
  /** Unsubscribes. The iteration ends after what is buffered. */
  close(): void;
  /**
   * The batches in order. With a callback or a view they are kept from this call on, otherwise from
   * the beginning. Leaving the loop unsubscribes.
   */
  [Symbol.asyncIterator](): AsyncIterator<Batch<Row>, undefined>;
}

/** A subscription as its connection sees it, whatever its rows. */
export interface Member {
  readonly stream: string;
  /** Whether the server has ever answered: then a refusal may pass. */
  readonly established: boolean;
  /** The frame that asks for this subscription, first or again. */
  request(id: string): ClientFrame;
  /** The server has answered. Gives an error where the stream cannot serve the options. */
  subscribed(frame: SubscribedFrame): Error | undefined;
  /** A frame of this subscription's channel: `gap` where rows before it are missing. */
  take(frame: ChannelFrame): "gap" | Error | undefined;
  /** Nothing comes for now. */
  suspended(error: Error): void;
  /** Nothing more will come. */
  end(error?: Error): void;
}

/** Calls a user's function so that its fault is reported as uncaught and harms nobody else. */
export function call(run: () => void): void {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

export class Feed<Row> implements Subscription<Row>, Member {
  readonly stream: string;
  readonly #options: SubscribeOptions<Row>;
  /** Tells the connection that nobody follows any more. */
  readonly #leave: () => void;
  readonly #follower: Follower;
  readonly #buffer: Buffer<Row>;
  /** Whether batches are kept for the iterator. */
  #buffered: boolean;
  #view: View<Row> | undefined;
  #columns: readonly Column[] = [];
  #key: readonly string[] = [];
  #state: "pending" | "live" | "ended" = "pending";

  constructor(options: SubscribeOptions<Row>, leave: (feed: Member) => void) {
    if (options.from !== undefined && (options.view === true || options.mode === "changes")) {
      throw new TypeError(
        `"from" cannot be combined with "view" or mode "changes": rows before it are not known`,
      );
    }
    this.stream = options.stream;
    this.#options = options;
    this.#leave = () => leave(this);
    this.#follower = new Follower(options.from);
    this.#buffer = new Buffer(options.stream, options.buffer);
    // Who has a callback or a view need not iterate, and nothing must pile up for nobody.
    this.#buffered = options.onBatch === undefined && options.view !== true;
  }

  get state(): "pending" | "live" | "ended" {
    return this.#state;
  }

  get columns(): readonly Column[] {
    return this.#columns;
  }

  get key(): readonly string[] {
    return this.#key;
  }

  get cursor(): Cursor | undefined {
    return this.#follower.cursor;
  }

  get view(): View<Row> | undefined {
    return this.#options.view === true ? this.#view : undefined;
  }

  close(): void {
    if (this.#state !== "ended") {
      this.#leave();
      this.end();
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<Batch<Row>, undefined> {
    this.#buffered = true;
    return {
      next: () => this.#buffer.next(),
      return: () => {
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  request(id: string): ClientFrame {
    const { stream, where, columns, mode } = this.#options;
    this.#state = "pending";
    const from = this.#follower.begin();
    return {
      type: "subscribe",
      id,
      stream,
      ...(where === undefined ? {} : { where }),
      ...(columns === undefined ? {} : { columns }),
      ...(mode === undefined ? {} : { mode }),
      ...(from === undefined ? {} : { from }),
    };
  }

  subscribed(frame: SubscribedFrame): Error | undefined {
    this.#state = "live";
    this.#columns = frame.columns;
    this.#key = frame.key;
    this.#buffer.key = frame.key;
    if (frame.key.length > 0) {
      const merge = this.#options.mode === "changes";
      if (this.#options.view === true || merge) {
        this.#view ??= new View<Row>(frame.key, merge);
      }
    } else if (this.#options.view === true) {
      return new TypeError(
        `stream "${this.stream}" has no key, so it has no view; give its table a 'key'`,
      );
    }
    call(() => this.#options.onSubscribed?.(this));
    return undefined;
  }

  take(frame: ChannelFrame): "gap" | Error | undefined {
    const batches = this.#follower.take(frame) as Batch<Row>[] | "gap";
    if (batches === "gap") {
      return "gap";
    }
    for (const plain of batches) {
      if (this.#state === "ended") {
        break; // By a callback.
      }
      const batch = this.#view?.apply(plain) ?? plain;
      call(() => this.#options.onBatch?.(batch));
      const error = this.#buffered ? this.#buffer.push(batch) : undefined;
      if (error !== undefined) {
        return error;
      }
    }
    return undefined;
  }

  suspended(error: Error): void {
    this.#state = "pending";
    call(() => this.#options.onSuspended?.(error));
  }

  end(error?: Error): void {
    if (this.#state !== "ended") {
      this.#state = "ended";
      this.#buffer.end(error);
      call(() => this.#options.onEnd?.(error));
    }
  }

  get established(): boolean {
    return this.#columns.length > 0;
  }
}
