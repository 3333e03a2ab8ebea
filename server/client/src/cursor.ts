// A cursor is a place in a stream: the text `generation-epoch-seq`, three decimal numbers.

/** A place in a stream, to resume from. Keep it as it is; only the server makes new ones. */
export type Cursor = string;

const pattern = /^\d{1,20}-\d{1,20}-\d{1,20}$/;

/** Whether a value from outside is a cursor. */
export function isCursor(value: unknown): value is Cursor {
  return typeof value === "string" && pattern.test(value);
}

/** Negative where `left` comes before `right`, 0 where they are the same place. */
export function compareCursors(left: Cursor, right: Cursor): number {
  return compareFrom(0, left, right);
}

/**
 * The same within the stream's contents, whichever start of the job numbered them: a job that
 * recovers computes its epochs again, under a new generation.
 */
export function comparePlaces(left: Cursor, right: Cursor): number {
  return compareFrom(1, left, right);
}

function compareFrom(first: number, left: Cursor, right: Cursor): number {
  const one = left.split("-");
  const other = right.split("-");
  for (let part = first; part < 3; part += 1) {
    // Up to 64 bits, which a number does not hold.
    const difference = BigInt(one[part]!) - BigInt(other[part]!);
    if (difference !== 0n) {
      return difference < 0n ? -1 : 1;
    }
  }
  return 0;
}
