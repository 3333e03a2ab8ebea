// What a subscription hands to its reader.

import type { Cursor } from "./cursor.js";

/** Rows as they stood at one cursor. They replace all that was known before. */
export interface SnapshotBatch<Row> {
  kind: "snapshot";
  cursor: Cursor;
  rows: Row[];
  /** The first page: what was known before is void once the last page is there. */
  first: boolean;
  /** The last page. */
  last: boolean;
}

/** Rows that came after the batch before, without gap or overlap. */
export interface UpdateBatch<Row> {
  kind: "update";
  cursor: Cursor;
  rows: Row[];
  /** Rows left out because a newer one of their key is here: the reader or the line was slow. */
  conflated: number;
  /** Rows left out because the reader was slow and its buffer full. */
  dropped: number;
}

/** Windows that are open still. They replace the forming rows before. */
export interface FormingBatch<Row> {
  kind: "forming";
  rows: Row[];
}

/**
 * Rows after `cursor` are void. Updates from there on may follow, a snapshot does in any case.
 */
export interface ResetBatch<Row> {
  kind: "reset";
  cursor: Cursor;
  /**
   * `withdrawn`: they were never committed, and the server was killed. `unknown`: the stream began
   * anew, so all rows are void. `moved-on`: none is, but rows after `cursor` are missing before the
   * snapshot, because the server keeps them no longer.
   */
  reason: string;
  /** Those that were dropped from the view; empty without one. */
  withdrawn: Row[];
}

export type Batch<Row> =
  | SnapshotBatch<Row>
  | UpdateBatch<Row>
  | FormingBatch<Row>
  | ResetBatch<Row>;

/** A row's key as text, equal for equal keys. */
export function keyOf(row: object, key: readonly string[]): string {
  const values = row as Record<string, unknown>;
  return key.length === 1
    ? String(values[key[0]!])
    : JSON.stringify(key.map((name) => values[name]));
}
