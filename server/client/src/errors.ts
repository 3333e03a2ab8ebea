// What can go wrong, one class each, so that callers can tell them apart with `instanceof`.

/** One fault in what a request said, with its place in the SQL text where it has one. */
export interface Fault {
  message: string;
  help?: string | null;
  /** From 1. */
  line?: number | null;
  /** From 1, in characters. */
  column?: number | null;
  /** In characters. */
  length?: number | null;
  table?: string | null;
  option?: string | null;
}

/** The server answered with a frame of type `error`. */
export class ServerError extends Error {
  override readonly name = "ServerError";
  /** What kind of error it is, for programs. */
  readonly code: string;
  /** The faults in the condition of a subscription, with their places. */
  readonly faults: readonly Fault[];

  constructor(code: string, message: string, faults: readonly Fault[] = []) {
    super(message);
    this.code = code;
    this.faults = faults;
  }
}

/** A frame that breaks the protocol. The connection is made anew and goes on where it was. */
export class MalformedFrame extends Error {
  override readonly name = "MalformedFrame";

  constructor(text: string) {
    super(`the server sent a frame that cannot be read: ${text.slice(0, 120)}`);
  }
}

/** The iterator did not keep up, and the subscription asked to fail then. */
export class Overflow extends Error {
  override readonly name = "Overflow";

  constructor(stream: string, rows: number) {
    super(`more than ${rows} rows of "${stream}" wait to be read; read faster or allow more`);
  }
}

/** The body of an answer that is an error (RFC 9457). */
export interface Problem {
  type?: string;
  title?: string;
  status: number;
  detail?: string;
  /** The request's id, as in the server's log. */
  instance?: string;
  errors?: Fault[];
}

/** A request was refused. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly problem: Problem;
  /** How long the server asks to wait before the next try, where it says so. */
  readonly retryAfterMs: number | undefined;

  constructor(problem: Problem, retryAfterMs?: number) {
    super(problem.detail ?? problem.title ?? `the server answered with ${problem.status}`);
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
  }

  get status(): number {
    return this.problem.status;
  }
}
