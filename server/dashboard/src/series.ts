// What of a stream's columns can be drawn, and how rows become points. No drawing here.

import type { AnyRow, Column } from "@millstream/client";
import { kindOf, milliseconds } from "./format.js";

export interface Bars {
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string | undefined;
}

export interface Drawable {
  /** The column on the time axis. */
  time: string;
  /** Where the stream has bars. */
  bars: Bars | undefined;
  /** All columns of numbers. */
  numbers: string[];
}

/** What can be drawn of these columns; nothing without a time or a number. */
export function drawable(columns: readonly Column[], key: readonly string[]): Drawable | undefined {
  const times = columns.filter((column) => kindOf(column) === "time").map((column) => column.name);
  const time = times.find((name) => /start/i.test(name)) ?? times[0];
  const numbers = columns
    .filter((column) => ["number", "whole"].includes(kindOf(column)) && !key.includes(column.name))
    .map((column) => column.name);
  if (time === undefined || numbers.length === 0) {
    return undefined;
  }
  const named = (name: string) => numbers.find((other) => other.toLowerCase() === name);
  const [open, high, low, close] = ["open", "high", "low", "close"].map(named);
  const bars = open && high && low && close
    ? { open, high, low, close, volume: named("volume") }
    : undefined;
  return { time, bars, numbers };
}

/** How close sizes must be to share a scale. */
const NEAR = 2;

/** Puts columns whose values are of a size together, so that each group can have its own scale. */
export function groups(columns: readonly string[], row: AnyRow): string[][] {
  const made: { size: number; columns: string[] }[] = [];
  for (const column of columns) {
    const value = row[column];
    const size = typeof value === "number" ? Math.abs(value) : 0;
    const near = made.find((group) => group.size > 0 && size > 0
      && size / group.size < NEAR && group.size / size < NEAR);
    if (near === undefined) {
      made.push({ size, columns: [column] });
    } else {
      near.columns.push(column);
    }
  }
  return made.map((group) => group.columns);
}

/** Which columns to draw at first: the first of numbers with its like, and one of another size. */
export function usual(columns: readonly Column[], numbers: readonly string[], row: AnyRow): string[] {
  const real = columns.filter((column) => kindOf(column) === "number").map((column) => column.name);
  const candidates = numbers.filter((name) => real.includes(name) && typeof row[name] === "number");
  const [first, second] = groups(candidates.length > 0 ? candidates : numbers, row);
  return [...(first ?? []).slice(0, 4), ...(second ?? []).slice(0, 1)];
}

/** One place on the time axis, in seconds, with all its numbers. */
export interface Point {
  time: number;
  row: AnyRow;
}

/** How many points of one key are drawn. */
const MAX_POINTS = 2_000;

/** The points of one key in the order of time, one for each moment; later rows replace earlier. */
export class Points {
  readonly #column: string;
  /** Milliseconds that one point stands for. */
  readonly #step: number;
  #points: Point[] = [];

  constructor(column: string, step: number) {
    this.#column = column;
    this.#step = step;
  }

  get all(): readonly Point[] {
    return this.#points;
  }

  /** Gives the point when it is the last one, nothing when it lies before or has no time. */
  put(row: AnyRow): Point | undefined {
    const at = milliseconds(row[this.#column]);
    if (Number.isNaN(at)) {
      return undefined;
    }
    const time = (Math.floor(at / this.#step) * this.#step) / 1000;
    const last = this.#points.at(-1);
    if (last === undefined || time > last.time) {
      const point = { time, row };
      this.#points.push(point);
      if (this.#points.length > MAX_POINTS * 1.5) {
        this.#points = this.#points.slice(-MAX_POINTS);
      }
      return point;
    }
    if (time === last.time) {
      last.row = row;
      return last;
    }
    return undefined;
  }

  /** Puts older rows before those that are there. */
  before(rows: readonly AnyRow[]): void {
    const now = this.#points;
    this.#points = [];
    const sorted = rows
      .map((row) => ({ row, at: milliseconds(row[this.#column]) }))
      .sort((left, right) => left.at - right.at);
    for (const { row } of sorted) {
      this.put(row);
    }
    for (const { row } of now) {
      this.put(row);
    }
  }
}
