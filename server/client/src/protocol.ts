// The frames of `/api/v1/live`, and their decoding. What comes from the wire is checked here once:
// behind `decode` every frame is what its type says. Frames of types unknown here are left out, so
// that a newer server can be read.

import { isCursor, type Cursor } from "./cursor.js";
import { MalformedFrame, type Fault } from "./errors.js";

/** A value in a row. Timestamps are RFC 3339 text; integers beyond 2^53 lose digits, as in all JSON. */
export type Value = string | number | boolean | null | Value[] | { [name: string]: Value };

/** A row when nothing is known about its columns. */
export type AnyRow = Record<string, Value>;

/** A column of a stream: its name and its SQL type. */
export interface Column {
  name: string;
  type: string;
}

/** Whether updates hold whole rows, or the key and the changed columns only. */
export type Mode = "rows" | "changes";

/** What a client may send. */
export type ClientFrame =
  | { type: "auth"; token: string }
  | {
      type: "subscribe";
      id: string;
      stream: string;
      where?: string;
      columns?: readonly string[];
      from?: Cursor;
      mode?: Mode;
    }
  | { type: "unsubscribe"; id: string }
  | { type: "ping" };

export interface SubscribedFrame {
  type: "subscribed";
  id: string;
  channel: number;
  stream: string;
  columns: Column[];
  key: string[];
}

export interface SnapshotFrame {
  type: "snapshot";
  channel: number;
  cursor: Cursor;
  rows: AnyRow[];
  more: boolean;
}

export interface UpdateFrame {
  type: "update";
  channel: number;
  after: Cursor;
  cursor: Cursor;
  rows: AnyRow[];
  conflated?: number;
}

export interface FormingFrame {
  type: "forming";
  channel: number;
  rows: AnyRow[];
}

export interface ResetFrame {
  type: "reset";
  channel: number;
  cursor: Cursor;
  reason: string;
}

export interface UnsubscribedFrame {
  type: "unsubscribed";
  id: string;
  /** Where it was not asked for. */
  reason?: string | null;
}

export interface ErrorFrame {
  type: "error";
  id?: string;
  code: string;
  message: string;
  /** The faults in a condition, with their places. */
  errors?: Fault[] | null;
}

/** A frame that belongs to a channel. */
export type ChannelFrame = SnapshotFrame | UpdateFrame | FormingFrame | ResetFrame;

/** What a server may send, as far as this client knows. */
export type ServerFrame =
  | SubscribedFrame
  | ChannelFrame
  | ErrorFrame
  | UnsubscribedFrame
  | { type: "heartbeat" | "pong" };

type Fields = Record<string, unknown>;

const isText = (value: unknown): value is string => typeof value === "string";
const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isList = (value: unknown, item: (value: unknown) => boolean) =>
  Array.isArray(value) && value.every(item);
const isColumn = (value: unknown) => isObject(value) && isText(value.name) && isText(value.type);
const isFault = (value: unknown) => isObject(value) && isText(value.message);
const isOptional = (value: unknown, known: (value: unknown) => boolean) =>
  value === undefined || value === null || known(value);

/** Which fields a frame must have, by type. */
const shapes: Record<string, (frame: Fields) => boolean> = {
  subscribed: (frame) =>
    isText(frame.id) &&
    isCount(frame.channel) &&
    isText(frame.stream) &&
    isList(frame.columns, isColumn) &&
    isList(frame.key, isText),
  snapshot: (frame) =>
    isCount(frame.channel) &&
    isCursor(frame.cursor) &&
    isList(frame.rows, isObject) &&
    typeof frame.more === "boolean",
  update: (frame) =>
    isCount(frame.channel) &&
    isCursor(frame.after) &&
    isCursor(frame.cursor) &&
    isList(frame.rows, isObject) &&
    isOptional(frame.conflated, isCount),
  forming: (frame) => isCount(frame.channel) && isList(frame.rows, isObject),
  reset: (frame) => isCount(frame.channel) && isCursor(frame.cursor) && isText(frame.reason),
  error: (frame) =>
    isText(frame.code) &&
    isText(frame.message) &&
    isOptional(frame.id, isText) &&
    isOptional(frame.errors, (errors) => isList(errors, isFault)),
  unsubscribed: (frame) => isText(frame.id) && isOptional(frame.reason, isText),
  heartbeat: () => true,
  pong: () => true,
};

/**
 * Reads one frame. Gives `undefined` for a type that is not known here.
 *
 * @throws MalformedFrame for what is no JSON, has no type, or lacks a field of its type
 */
export function decode(text: unknown): ServerFrame | undefined {
  if (!isText(text)) {
    throw new MalformedFrame("a binary message");
  }
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    throw new MalformedFrame(text);
  }
  if (!isObject(frame) || !isText(frame.type)) {
    throw new MalformedFrame(text);
  }
  if (!Object.hasOwn(shapes, frame.type)) {
    return undefined;
  }
  if (!shapes[frame.type]!(frame)) {
    throw new MalformedFrame(text);
  }
  return frame as unknown as ServerFrame;
}
