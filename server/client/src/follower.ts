// Follows the chain of cursors of one subscription, and decides for every frame: deliver it, leave
// it out because its rows are known, or say that something is missing. Pure: no socket, no clock.
//
// Several subscriptions of a connection may share a channel, so a frame may be meant for another
// one. The chain tells: what does not continue it is either known (left out) or a gap.

import type { Batch } from "./batch.js";
import { compareCursors, type Cursor } from "./cursor.js";
import type { AnyRow, ChannelFrame, ResetFrame, SnapshotFrame, UpdateFrame } from "./protocol.js";

/** Updates held back while the pages of a snapshot come. With more, a page must have been lost. */
const MAX_HELD = 16;
/** Gaps in a row, without progress, after which the cursor is given up for a fresh snapshot. */
const MAX_GAPS = 3;

/**
 * `fresh`: a snapshot is to come. `renewing`: the same, behind a reset; updates from the reset on
 * may come before it. `resuming`: an update from the cursor, or a reset. `live`: updates.
 */
type Phase = "fresh" | "renewing" | "resuming" | "live";

export class Follower {
  #phase: Phase = "fresh";
  /** Where to resume from. A reset leaves it as it is until its snapshot is whole. */
  #resume: Cursor | undefined;
  /** The end of the chain: the next update must name it. */
  #end: Cursor | undefined;
  /** The cursor of the snapshot whose pages are coming. */
  #paging: Cursor | undefined;
  #held: UpdateFrame[] = [];
  #gaps = 0;

  constructor(from?: Cursor) {
    this.#resume = from;
  }

  /** The place to resume from, where there is one. */
  get cursor(): Cursor | undefined {
    return this.#resume;
  }

  /** A subscription is about to be asked for, first or again. Gives where to resume. */
  begin(): Cursor | undefined {
    if (this.#gaps > MAX_GAPS) {
      this.#resume = undefined;
      this.#gaps = 0;
    }
    this.#held = [];
    this.#paging = undefined;
    this.#end = this.#resume;
    this.#phase = this.#resume === undefined ? "fresh" : "resuming";
    return this.#resume;
  }

  /** What to deliver because of this frame, in order; or that rows are missing before it. */
  take(frame: ChannelFrame): Batch<AnyRow>[] | "gap" {
    switch (frame.type) {
      case "snapshot":
        return this.#snapshot(frame);
      case "update":
        return this.#update(frame);
      case "reset":
        return this.#reset(frame);
      case "forming":
        return [{ kind: "forming", rows: frame.rows }];
    }
  }

  #snapshot(frame: SnapshotFrame): Batch<AnyRow>[] {
    if (this.#phase === "live") {
      return []; // Another subscription of this channel asked for it.
    }
    const { cursor, rows } = frame;
    const first = this.#paging !== cursor;
    const last = !frame.more;
    const batches: Batch<AnyRow>[] = [{ kind: "snapshot", cursor, rows, first, last }];
    this.#paging = cursor;
    if (!last) {
      return batches;
    }
    this.#phase = "live";
    this.#paging = undefined;
    this.#resume = cursor;
    this.#end = cursor;
    const held = this.#held;
    this.#held = [];
    for (const update of held) {
      const more = this.#update(update);
      if (more === "gap") {
        break; // The snapshot is whole; the next update shows the gap again.
      }
      batches.push(...more);
    }
    return batches;
  }

  #update(frame: UpdateFrame): Batch<AnyRow>[] | "gap" {
    if (this.#paging !== undefined) {
      this.#held.push(frame);
      return this.#held.length > MAX_HELD ? this.#gap() : [];
    }
    const end = this.#end;
    if (end === undefined) {
      return []; // For another subscription: the snapshot will hold these rows.
    }
    if (frame.after !== end) {
      const known = this.#phase === "renewing" || compareCursors(frame.cursor, end) <= 0;
      return known ? [] : this.#gap();
    }
    this.#end = frame.cursor;
    this.#gaps = 0;
    if (this.#phase !== "renewing") {
      this.#phase = "live";
      this.#resume = frame.cursor;
    }
    const { cursor, rows, conflated = 0 } = frame;
    return rows.length === 0 && conflated === 0
      ? []
      : [{ kind: "update", cursor, rows, conflated, dropped: 0 }];
  }

  #reset(frame: ResetFrame): Batch<AnyRow>[] {
    if (this.#phase === "fresh" && this.#paging === undefined) {
      return []; // For another subscription: nothing is known here that could be withdrawn.
    }
    const { cursor, reason } = frame;
    this.#phase = "renewing";
    this.#paging = undefined;
    this.#held = [];
    this.#end = cursor;
    return [{ kind: "reset", cursor, reason, withdrawn: [] }];
  }

  #gap(): "gap" {
    this.#gaps += 1;
    return "gap";
  }
}
