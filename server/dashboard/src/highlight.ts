// SQL as coloured pieces, with the places that are wrong marked. Colours are a help to the eye, not
// a parser: what matters is that the pieces together are the text, letter by letter.

import type { Fault } from "@millstream/client";

export interface Piece {
  text: string;
  /** What it is: `keyword`, `string`, … or nothing in particular. */
  style: string;
  /** Which fault it belongs to. */
  fault: number | undefined;
}

/** Part of the text, in UTF-16 units as everything in a browser. */
export interface Range {
  start: number;
  end: number;
}

const KEYWORDS = new Set(
  `all and archive as asc between bigint boolean by case cast create current cross date day desc
  descriptor distinct double else end exists false filter following for from full group having hop
  hour if in insert int integer interval into is join lateral left like limit metadata minute month
  not null on or order outer over partition preceding primary proctime range real right row rows
  second select set smallint string table then time timestamp true tumble unbounded union update
  using values varchar view watermark week when where window with year key`.split(/\s+/),
);

const token =
  /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:[^']|'')*'?)|("[^"]*"?)|(\b\d+(?:\.\d+)?\b)|([\p{L}_][\p{L}\p{N}_]*)/gu;
const STYLES = ["comment", "string", "name", "number"] as const;

/** Where a fault is, if it has a place in this text. Lines and columns are from 1, in characters. */
export function rangeOf(text: string, fault: Fault): Range | undefined {
  if (!fault.line) {
    return undefined;
  }
  const lines = text.split("\n");
  const line = lines[fault.line - 1];
  if (line === undefined) {
    return undefined;
  }
  const before = lines.slice(0, fault.line - 1).reduce((sum, other) => sum + other.length + 1, 0);
  // Characters to UTF-16 units: they differ beyond the basic plane.
  const characters = [...line];
  const column = Math.min((fault.column ?? 1) - 1, characters.length);
  const units = (from: number, to: number) => characters.slice(from, to).join("").length;
  const start = before + units(0, column);
  const length = fault.column ? (fault.length ?? 1) : characters.length;
  return { start, end: start + units(column, column + length) };
}

/** The text in pieces. */
export function pieces(text: string, faults: readonly (Range | undefined)[]): Piece[] {
  const made: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(token)) {
    const style = STYLES.find((_, group) => match[group + 1] !== undefined)
      ?? (KEYWORDS.has(match[0].toLowerCase()) ? "keyword" : "");
    if (style !== "") {
      add(text, at, match.index, "", faults, made);
      add(text, match.index, match.index + match[0].length, style, faults, made);
      at = match.index + match[0].length;
    }
  }
  add(text, at, text.length, "", faults, made);
  return made;
}

/** Cuts a piece where faults begin and end. */
function add(
  text: string,
  start: number,
  end: number,
  style: string,
  faults: readonly (Range | undefined)[],
  into: Piece[],
): void {
  const cuts = [start, end];
  for (const fault of faults) {
    for (const cut of fault === undefined ? [] : [fault.start, fault.end]) {
      if (cut > start && cut < end) {
        cuts.push(cut);
      }
    }
  }
  cuts.sort((left, right) => left - right);
  for (let index = 0; index + 1 < cuts.length; index += 1) {
    const [from, to] = [cuts[index]!, cuts[index + 1]!];
    if (from < to) {
      const fault = faults.findIndex((range) => range !== undefined && range.start <= from && to <= range.end);
      into.push({ text: text.slice(from, to), style, fault: fault < 0 ? undefined : fault });
    }
  }
}
