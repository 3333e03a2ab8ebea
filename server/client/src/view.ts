// The rows of a stream by key, kept up to date: a snapshot with its updates merged in.

import { keyOf, type Batch, type ResetBatch } from "./batch.js";
import { comparePlaces, type Cursor } from "./cursor.js";

export class View<Row> {
  /** The newest row of every key. Read it; only the subscription writes it. */
  readonly rows: ReadonlyMap<string, Row>;
  /** The columns that make the key; a row's place in `rows` is `keyText` of it. */
  readonly key: readonly string[];
  /** Windows that are open still. */
  forming: Row[] = [];
  readonly #rows = new Map<string, Row>();
  /** Where each row came from, to withdraw it. */
  readonly #cursors = new Map<string, Cursor>();
  readonly #merge: boolean;
  /** Keys met in the snapshot whose pages are coming. */
  #met = new Set<string>();

  /** With `merge`, updates hold changed columns only and are laid over the row before. */
  constructor(key: readonly string[], merge: boolean) {
    this.key = key;
    this.#merge = merge;
    this.rows = this.#rows;
  }

  /** The text under which a row stands in `rows`. */
  keyText(row: Row): string {
    return keyOf(row as object, this.key);
  }

  /** Takes a batch in. Gives it back with whole rows, or with the rows that were withdrawn. */
  apply(batch: Batch<Row>): Batch<Row> {
    switch (batch.kind) {
      case "snapshot":
        return this.#snapshot(batch);
      case "update":
        return { ...batch, rows: batch.rows.map((row) => this.#put(row, batch.cursor)) };
      case "forming":
        this.forming = batch.rows;
        return batch;
      case "reset":
        this.forming = [];
        return { ...batch, withdrawn: this.#withdraw(batch) };
    }
  }

  #snapshot(batch: Batch<Row> & { kind: "snapshot" }): Batch<Row> {
    if (batch.first) {
      this.#met = new Set();
    }
    for (const row of batch.rows) {
      const key = this.keyText(row);
      this.#met.add(key);
      this.#rows.set(key, row);
      this.#cursors.set(key, batch.cursor);
    }
    if (batch.last) {
      for (const key of this.#rows.keys()) {
        if (!this.#met.has(key)) {
          this.#delete(key);
        }
      }
      this.#met = new Set();
    }
    return batch;
  }

  #put(row: Row, cursor: Cursor): Row {
    const key = this.keyText(row);
    const before = this.#merge ? this.#rows.get(key) : undefined;
    const whole = before === undefined ? row : { ...before, ...row };
    this.#rows.set(key, whole);
    this.#cursors.set(key, cursor);
    return whole;
  }

  #withdraw({ cursor, reason }: ResetBatch<Row>): Row[] {
    const withdrawn: Row[] = [];
    for (const [key, row] of this.#rows) {
      if (reason === "unknown" || comparePlaces(this.#cursors.get(key)!, cursor) > 0) {
        withdrawn.push(row);
        this.#delete(key);
      }
    }
    return withdrawn;
  }

  #delete(key: string): void {
    this.#rows.delete(key);
    this.#cursors.delete(key);
  }
}
