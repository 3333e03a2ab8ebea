// How values are shown.

import type { Column, Value } from "@millstream/client";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export type Kind = "number" | "whole" | "time" | "text";

/** What a column holds, by its SQL type. */
export function kindOf(column: Column): Kind {
  const type = column.type.toLowerCase();
  if (/timestamp|^date/.test(type)) {
    return "time";
  }
  if (/^(double|float|real|decimal|numeric)/.test(type)) {
    return "number";
  }
  return /^(u?int\d*|integer|bigint|smallint|tinyint)\b/.test(type) ? "whole" : "text";
}

/** Digits after the point that suit a value of this size. */
export function digitsFor(value: number): number {
  const size = Math.abs(value);
  return size >= 100 ? 2 : size >= 1 ? 3 : 5;
}

/** A value of a table's cell. */
export function cell(value: Value | undefined, kind: Kind, digits: number): string {
  if (value === null || value === undefined) {
    return "";
  }
  if (typeof value === "number") {
    return kind === "whole" ? whole.format(value) : value.toFixed(digits);
  }
  if (kind === "time" && typeof value === "string") {
    return time(value);
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Month, day and time of an RFC 3339 text, in milliseconds where it has any. */
export function time(text: string): string {
  const [day, clock] = text.split("T");
  if (clock === undefined) {
    return text;
  }
  const [seconds, fraction] = clock.replace(/Z$/, "").split(".");
  const milliseconds = (fraction ?? "").slice(0, 3);
  const shown = /[1-9]/.test(milliseconds) ? `${seconds}.${milliseconds.padEnd(3, "0")}` : seconds;
  return `${day!.slice(5)} ${shown}`;
}

/** Milliseconds since 1970 of an RFC 3339 text; engines differ beyond milliseconds. */
export function milliseconds(text: unknown): number {
  return typeof text === "string"
    ? Date.parse(text.replace(/(\.\d{3})\d+/, "$1"))
    : Number.NaN;
}

export function count(value: number): string {
  return whole.format(value);
}

/** A rate, short: 950/s, 20.1 k/s. */
export function rate(perSecond: number): string {
  if (perSecond >= 1e6) {
    return `${tenth.format(perSecond / 1e6)} M/s`;
  }
  if (perSecond >= 1e4) {
    return `${tenth.format(perSecond / 1e3)} k/s`;
  }
  return `${perSecond >= 10 ? whole.format(perSecond) : tenth.format(perSecond)}/s`;
}

/** A duration, short: 88 ms, 1.5 s, 3 min, 2 h, 5 d. */
export function duration(ms: number): string {
  const size = Math.abs(ms);
  const units: [number, string][] = [[864e5, "d"], [36e5, "h"], [6e4, "min"], [1e3, "s"]];
  for (const [unit, name] of units) {
    if (size >= unit) {
      return `${(size >= 100 * unit ? whole : tenth).format(ms / unit)} ${name}`;
    }
  }
  return `${size >= 10 ? whole.format(ms) : tenth.format(ms)} ms`;
}
