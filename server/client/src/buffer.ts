// Batches that wait for a reader of the async iterator. Bounded: a browser cannot make a WebSocket
// wait, so what a slow reader misses is decided here, by a policy that the reader chose.
//
// The bound counts rows of updates. A snapshot is held whole (it is as large as the stream has
// keys), but only the newest one; of resets one is held, of forming rows the newest.

import { keyOf, type Batch, type UpdateBatch } from "./batch.js";
import { comparePlaces } from "./cursor.js";
import { Overflow } from "./errors.js";

/**
 * What becomes of rows that do not fit: `conflate` keeps the newest row of each key (and where the
 * stream has no key, or more keys than the bound, does as `oldest`), `oldest` drops the oldest
 * rows, `fail` ends the iteration with an `Overflow`. Left out rows are counted in the next update.
 */
export type OverflowPolicy = "conflate" | "oldest" | "fail";

export interface BufferOptions {
  /** How many rows of updates may wait. 10,000 unless told. */
  rows?: number;
  /** `conflate` unless told. */
  overflow?: OverflowPolicy;
}

interface Reader<Row> {
  resolve(result: IteratorResult<Batch<Row>>): void;
  reject(error: Error): void;
}

export class Buffer<Row> {
  readonly #stream: string;
  readonly #limit: number;
  readonly #policy: OverflowPolicy;
  #key: readonly string[] = [];
  #batches: Batch<Row>[] = [];
  #rows = 0;
  /** The rows of the last batch by key, once updates were conflated into it. */
  #merged: Map<string, Row> | undefined;
  #readers: Reader<Row>[] = [];
  #ended = false;
  #error: Error | undefined;

  constructor(stream: string, options: BufferOptions = {}) {
    this.#stream = stream;
    this.#limit = Math.max(1, options.rows ?? 10_000);
    this.#policy = options.overflow ?? "conflate";
  }

  /** The key by which updates are conflated; known once the server has answered. */
  set key(key: readonly string[]) {
    this.#key = key;
  }

  /** Takes a batch in. Gives an error where the policy is to fail and the bound is passed. */
  push(batch: Batch<Row>): Overflow | undefined {
    if (this.#ended) {
      return undefined;
    }
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve({ done: false, value: batch });
      return undefined;
    }
    switch (batch.kind) {
      case "update":
        return this.#update(batch);
      case "snapshot":
        if (batch.first) {
          this.#supersede();
        }
        this.#batches.push(batch);
        break;
      case "forming":
        this.#keep((other) => other.kind !== "forming");
        this.#batches.push(batch);
        break;
      case "reset":
        this.#reset(batch);
        break;
    }
    return undefined;
  }

  /** No more will come. What waits can still be read; then the iteration ends, or throws `error`. */
  end(error?: Error): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    this.#error = error;
    for (const reader of this.#readers) {
      if (error === undefined) {
        reader.resolve({ done: true, value: undefined });
      } else {
        reader.reject(error);
      }
    }
    this.#readers = [];
  }

  next(): Promise<IteratorResult<Batch<Row>>> {
    const batch = this.#shift();
    if (batch !== undefined) {
      return Promise.resolve({ done: false, value: batch });
    }
    if (this.#ended) {
      const error = this.#error;
      this.#error = undefined;
      return error === undefined
        ? Promise.resolve({ done: true, value: undefined })
        : Promise.reject(error);
    }
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  #shift(): Batch<Row> | undefined {
    const batch = this.#batches.shift();
    if (batch?.kind === "update") {
      if (this.#merged !== undefined) {
        batch.rows = [...this.#merged.values()];
        this.#merged = undefined;
      }
      this.#rows -= batch.rows.length;
    }
    return batch;
  }

  #update(batch: UpdateBatch<Row>): Overflow | undefined {
    if (this.#merged !== undefined) {
      this.#merge(batch, this.#lastUpdate()!);
    } else {
      // A copy, because it may be changed while it waits.
      this.#batches.push({ ...batch });
      this.#rows += batch.rows.length;
    }
    if (this.#rows <= this.#limit) {
      return undefined;
    }
    if (this.#policy === "fail") {
      return new Overflow(this.#stream, this.#limit);
    }
    if (this.#policy === "conflate" && this.#key.length > 0 && this.#merged === undefined) {
      this.#conflate();
    }
    this.#dropOldest();
    return undefined;
  }

  /** Lays all waiting updates over each other: one remains, in the place of the last. */
  #conflate(): void {
    const updates = this.#batches.filter((batch) => batch.kind === "update");
    const last = updates[updates.length - 1]!;
    const merged: UpdateBatch<Row> = { ...last, rows: [], conflated: 0, dropped: 0 };
    this.#keep((batch) => batch.kind !== "update");
    this.#batches.push(merged);
    this.#merged = new Map();
    for (const update of updates) {
      this.#merge(update, merged);
    }
  }

  #merge(batch: UpdateBatch<Row>, into: UpdateBatch<Row>): void {
    const rows = this.#merged!;
    const before = rows.size;
    for (const row of batch.rows) {
      const key = keyOf(row as object, this.#key);
      rows.delete(key); // So that the order is that of the newest rows.
      rows.set(key, row);
    }
    const added = rows.size - before;
    this.#rows += added;
    into.cursor = batch.cursor;
    into.conflated += batch.conflated + batch.rows.length - added;
    into.dropped += batch.dropped;
  }

  #dropOldest(): void {
    const last = this.#lastUpdate()!;
    while (this.#rows > this.#limit) {
      const excess = this.#rows - this.#limit;
      if (this.#merged !== undefined) {
        for (const key of [...this.#merged.keys()].slice(0, excess)) {
          this.#merged.delete(key);
        }
        this.#rows -= excess;
        last.dropped += excess;
        return;
      }
      const oldest = this.#batches.find((batch) => batch.kind === "update") as UpdateBatch<Row>;
      const count = Math.min(excess, oldest.rows.length);
      if (count === oldest.rows.length && oldest !== last) {
        this.#batches.splice(this.#batches.indexOf(oldest), 1);
        last.conflated += oldest.conflated;
        last.dropped += oldest.dropped;
      } else {
        oldest.rows = oldest.rows.slice(count);
      }
      this.#rows -= count;
      last.dropped += count;
    }
  }

  /** A snapshot begins: an unread one is void, and with `conflate` so are updates before it. */
  #supersede(): void {
    const conflate = this.#policy === "conflate" && this.#key.length > 0;
    this.#keep((batch) => batch.kind !== "snapshot" && !(conflate && batch.kind === "update"));
  }

  /** Unread rows after the reset's cursor are never shown; two unread resets are one. */
  #reset(batch: Batch<Row> & { kind: "reset" }): void {
    let { cursor, withdrawn } = batch;
    for (const other of this.#batches) {
      if (other.kind === "reset") {
        withdrawn = [...other.withdrawn, ...withdrawn];
        cursor = comparePlaces(other.cursor, cursor) < 0 ? other.cursor : cursor;
      }
    }
    this.#keep((other) => other.kind === "update" && comparePlaces(other.cursor, cursor) <= 0);
    this.#batches.push({ ...batch, cursor, withdrawn });
  }

  #lastUpdate(): UpdateBatch<Row> | undefined {
    return this.#batches.findLast((batch) => batch.kind === "update") as UpdateBatch<Row>;
  }

  #keep(wanted: (batch: Batch<Row>) => boolean): void {
    const merged = this.#merged === undefined ? undefined : this.#lastUpdate();
    this.#batches = this.#batches.filter(wanted);
    if (merged !== undefined && !this.#batches.includes(merged)) {
      this.#merged = undefined;
    }
    this.#rows = this.#merged?.size ?? 0;
    for (const batch of this.#batches) {
      if (batch.kind === "update" && batch !== merged) {
        this.#rows += batch.rows.length;
      }
    }
  }
}
