// The REST interface, typed and no more: each method is one request.

import { RequestError, type Fault, type Problem } from "./errors.js";
import type { AnyRow, Column } from "./protocol.js";
import type { Secret } from "./socket.js";

export type JobState =
  | "created"
  | "recovering"
  | "running"
  | "stopping"
  | "stopped"
  | "finished"
  | "failed";

/** What became of the rows of one table that is read: arrived = accepted + late + future + dead. */
export interface TableStatus {
  name: string;
  arrived: number;
  accepted: number;
  late: number;
  future: number;
  dead: number;
  /** Accepted, and given up by a step of the graph. */
  rejected?: number;
  /** RFC 3339, or `end`. */
  watermark?: string | null;
  /** How far the watermark is behind the clock. */
  lag_ms?: number | null;
}

export interface OutputStatus {
  name: string;
  /** The name to subscribe to. */
  stream: string;
  rows: number;
  published_epoch?: number | null;
}

export interface Job {
  id: string;
  name: string;
  sql: string;
  options: Record<string, string>;
  state: JobState;
  reason?: string | null;
  created_at: string;
  started_at?: string | null;
  committed_epoch?: number | null;
  tables: TableStatus[];
  outputs: OutputStatus[];
  latency_ms?: { p50: number | null; p99: number | null } | null;
  /** What the job waits for, by table. */
  waiting: Record<string, string>;
  /** What a stop could not settle. */
  unsettled: string[];
  plan?: string | null;
}

export interface NewJob {
  name: string;
  sql: string;
  /** By `table.key`. */
  options?: Record<string, string>;
}

export interface Page<Item> {
  items: Item[];
  next?: string | null;
}

export interface Check {
  ok: boolean;
  errors: Fault[];
  plan?: string | null;
}

export interface QueryResult<Row = AnyRow> {
  columns: Column[];
  rows: Row[];
  truncated: boolean;
  cut: Record<string, number>;
}

/** What became of rows that were pushed. */
export interface Ingested {
  accepted: number;
  rejected: number;
  /** What is wrong with the first rejected ones. */
  errors?: Fault[];
  /** The epoch that holds them, where they are committed. */
  epoch?: number;
}

export interface RestOptions {
  /** The server's address, such as `http://localhost:8080`. */
  url: string | URL;
  token?: Secret;
  /** `fetch` unless told. */
  fetch?: typeof fetch;
}

export class Rest {
  readonly #options: RestOptions;

  constructor(options: RestOptions) {
    this.#options = options;
  }

  readonly jobs = {
    list: (page: { limit?: number; cursor?: string } = {}) =>
      this.#request<Page<Job>>("GET", "jobs", { query: page }),
    get: (id: string) => this.#request<Job>("GET", `jobs/${encodeURIComponent(id)}`),
    /** With an idempotency key a request that is sent again makes no second job. */
    create: (job: NewJob, idempotencyKey?: string) =>
      this.#request<Job>("POST", "jobs", {
        body: job,
        ...(idempotencyKey === undefined ? {} : { headers: { "idempotency-key": idempotencyKey } }),
      }),
    /** Faults in the SQL are a result, not an error. */
    check: (job: { sql: string; options?: Record<string, string> }) =>
      this.#request<Check>("POST", "jobs/check", { body: job }),
    stop: (id: string) => this.#request<Job>("POST", `jobs/${encodeURIComponent(id)}/stop`),
    start: (id: string, from: "state" | "empty" | "recording" = "state") =>
      this.#request<Job>("POST", `jobs/${encodeURIComponent(id)}/start`, { body: { from } }),
    delete: (id: string) => this.#request<void>("DELETE", `jobs/${encodeURIComponent(id)}`),
  };

  /** Reads what is published and what is live, in one cut. */
  query<Row = AnyRow>(sql: string, options: { limit?: number; timeout_ms?: number } = {}) {
    return this.#request<QueryResult<Row>>("POST", "query", { body: { sql, ...options } });
  }

  /** Pushes rows. With `wait` the answer comes after their commit. */
  ingest(table: string, rows: readonly object[], options: { wait?: boolean } = {}) {
    return this.#request<Ingested>(
      "POST",
      `ingest/${encodeURIComponent(table)}`,
      { body: rows, query: options.wait === true ? { wait: "committed" } : {} },
    );
  }

  /** A one-use token of 30 s for the live endpoint's address. */
  ticket() {
    return this.#request<{ ticket: string }>("POST", "tickets");
  }

  async #request<Result>(
    method: string,
    path: string,
    more: {
      body?: unknown;
      query?: Record<string, string | number>;
      headers?: Record<string, string>;
    } = {},
  ): Promise<Result> {
    const url = new URL(`api/v1/${path}`, String(this.#options.url).replace(/\/*$/, "/"));
    for (const [name, value] of Object.entries(more.query ?? {})) {
      url.searchParams.set(name, String(value));
    }
    const headers: Record<string, string> = { accept: "application/json", ...more.headers };
    const { token } = this.#options;
    if (token !== undefined) {
      headers.authorization = `Bearer ${typeof token === "function" ? await token() : token}`;
    }
    if (more.body !== undefined) {
      headers["content-type"] = "application/json";
    }
    const send = this.#options.fetch ?? fetch;
    const response = await send(url, {
      method,
      headers,
      ...(more.body === undefined ? {} : { body: JSON.stringify(more.body) }),
    });
    const text = await response.text();
    if (!response.ok) {
      throw refusal(response, text);
    }
    return (text === "" ? undefined : JSON.parse(text)) as Result;
  }
}

function refusal(response: Response, text: string): RequestError {
  let problem: Problem = { status: response.status, title: response.statusText };
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === "object" && body !== null) {
      problem = { ...problem, ...body };
    }
  } catch {
    // Not from this server (a proxy, say): the status has to do.
  }
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return new RequestError(problem, Number.isFinite(seconds) ? seconds * 1000 : undefined);
}
