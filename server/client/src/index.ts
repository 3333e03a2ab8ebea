// The client of Millstream: live windows over WebSocket, and REST. See README.md.

export type { BackoffOptions } from "./backoff.js";
export {
  keyOf,
  type Batch,
  type FormingBatch,
  type ResetBatch,
  type SnapshotBatch,
  type UpdateBatch,
} from "./batch.js";
export type { BufferOptions, OverflowPolicy } from "./buffer.js";
export type { Clock } from "./clock.js";
export { connect, Connection, type ConnectOptions } from "./connection.js";
export { compareCursors, type Cursor } from "./cursor.js";
export {
  MalformedFrame,
  Overflow,
  RequestError,
  ServerError,
  type Fault,
  type Problem,
} from "./errors.js";
export type { ConnectionState, LinkOptions } from "./link.js";
export type { AnyRow, Column, Mode, Value } from "./protocol.js";
export {
  Rest,
  type Check,
  type Ingested,
  type Job,
  type JobState,
  type NewJob,
  type OutputStatus,
  type Page,
  type QueryResult,
  type RestOptions,
  type TableStatus,
} from "./rest.js";
export type { Secret, Socket, SocketClass } from "./socket.js";
export type { SubscribeOptions, Subscription } from "./subscription.js";
export { View } from "./view.js";
