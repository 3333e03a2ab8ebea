// One stream at a time: its table and the chart of one of its keys.

import { View, type AnyRow, type Batch, type Job, type Subscription } from "@millstream/client";
import { KeyChart } from "./chart.js";
import { byId, element, write } from "./dom.js";
import { count, rate } from "./format.js";
import type { Session } from "./session.js";
import { LiveTable } from "./table.js";

export class Live {
  readonly #session: Session;
  readonly #select = byId("streams", HTMLSelectElement);
  readonly #where = byId("where", HTMLInputElement);
  readonly #error = byId("stream-error", HTMLParagraphElement);
  readonly #figures = byId("figures", HTMLParagraphElement);
  readonly #split = byId("split", HTMLDivElement);
  readonly #panel = byId("stream", HTMLElement);
  readonly #table: LiveTable;
  readonly #chart: KeyChart;
  #subscription: Subscription | undefined;
  /** The rows by key, where the stream has one. */
  #view: View<AnyRow> | undefined;
  #wanted: string | undefined;
  #names: string[] = [];
  #received = 0;
  #leftOut = 0;
  /** The key that was last drawn. */
  #chosen: string | undefined;
  /** Why nothing comes for now. */
  #suspended: string | undefined;

  constructor(session: Session) {
    this.#session = session;
    this.#chart = new KeyChart(session, byId("chart", HTMLDivElement));
    this.#table = new LiveTable(byId("table", HTMLDivElement), (key) => this.#choose(key));
    this.#select.addEventListener("change", () => this.watch(this.#select.value));
    byId("filter", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#follow();
    });
    setInterval(() => this.#showFigures(), 1_000);
    this.offer([]);
  }

  /** Which streams there are to choose from. */
  offer(jobs: Job[]): void {
    const names = [...new Set(jobs.flatMap((job) => job.outputs.map((output) => output.stream)))].sort();
    this.#panel.hidden = names.length === 0 && this.#subscription === undefined;
    const appeared = this.#wanted !== undefined && !this.#names.includes(this.#wanted);
    if (names.join("\n") !== this.#names.join("\n")) {
      this.#names = names;
      this.#select.replaceChildren(
        ...names.map((name) => element("option", { value: name }, name)),
      );
      this.#select.value = this.#wanted ?? "";
    }
    const first = this.#wanted !== undefined && names.includes(this.#wanted) ? this.#wanted : names[0];
    const mayFollow = this.#error.hidden || (appeared && first === this.#wanted);
    if (first !== undefined && this.#subscription === undefined && mayFollow) {
      this.watch(first);
    }
  }

  /** Follows a stream from now on. */
  watch(stream: string): void {
    if (stream !== this.#wanted) {
      this.#where.value = "";
    }
    this.#wanted = stream;
    this.#panel.hidden = false;
    this.#select.value = stream;
    const place = `#live/${encodeURIComponent(stream)}`;
    if (location.hash !== place) {
      history.replaceState(null, "", place);
    }
    this.#follow();
  }

  #follow(): void {
    const stream = this.#wanted;
    if (stream === undefined) {
      return;
    }
    this.#subscription?.close();
    this.#showError(undefined);
    this.#split.hidden = true;
    this.#received = 0;
    this.#leftOut = 0;
    const where = this.#where.value.trim();
    let begun = "";
    const subscription: Subscription = this.#session.connection.subscribe({
      stream,
      ...(where === "" ? {} : { where }),
      onSubscribed: ({ columns, key }) => {
        this.#suspended = undefined;
        const shape = JSON.stringify([columns, key]);
        if (shape === begun) {
          return; // The same stream after a reconnect.
        }
        begun = shape;
        this.#view = key.length > 0 ? new View(key, false) : undefined;
        this.#split.hidden = false;
        this.#table.begin(columns, key);
        this.#split.classList.toggle("alone", !this.#chart.begin(stream, columns, key));
      },
      onBatch: (batch) => this.#take(batch),
      onSuspended: (error) => (this.#suspended = error.message),
      onEnd: (error) => {
        if (this.#subscription === subscription) {
          this.#subscription = undefined;
          this.#showError(error?.message);
        }
      },
    });
    this.#subscription = subscription;
  }

  #take(batch: Batch<AnyRow>): void {
    this.#view?.apply(batch);
    switch (batch.kind) {
      case "snapshot":
        if (this.#view === undefined && batch.first) {
          this.#table.clear();
        }
        this.#table.put(batch.rows);
        if (batch.last && this.#view !== undefined) {
          this.#table.keep(this.#view.rows);
        }
        this.#chooseFirst(batch.rows);
        break;
      case "update":
        this.#received += batch.rows.length;
        this.#leftOut += batch.conflated + batch.dropped;
        this.#table.put(batch.rows);
        this.#chooseFirst(batch.rows);
        this.#chart.put(batch.rows);
        break;
      case "forming":
        this.#chart.put(batch.rows);
        break;
      case "reset":
        if (this.#view !== undefined) {
          this.#table.keep(this.#view.rows);
        }
        this.#chart.forget();
        break;
    }
  }

  #chooseFirst(rows: AnyRow[]): void {
    const view = this.#view;
    if (this.#chart.keyText === undefined && view !== undefined && rows.length > 0) {
      const keys = [...view.rows.keys()].sort();
      this.#choose(keys.find((key) => key === this.#chosen) ?? keys[0]!);
    }
  }

  #choose(key: string): void {
    const row = this.#view?.rows.get(key);
    if (row !== undefined) {
      this.#chosen = key;
      this.#chart.choose(row);
      this.#table.mark(this.#chart.keyText);
    }
  }

  #showFigures(): void {
    if (this.#subscription?.state !== "live") {
      const why = this.#suspended ?? "waiting for the server";
      write(this.#figures, this.#subscription === undefined ? "" : why);
      return;
    }
    const rows = this.#table.size;
    const parts = [`${count(rows)} ${this.#view === undefined ? "rows" : "keys"}`, rate(this.#received)];
    if (this.#leftOut > 0) {
      parts.push(`${rate(this.#leftOut)} left out`);
    }
    this.#received = 0;
    this.#leftOut = 0;
    write(this.#figures, parts.join(" · "));
  }

  #showError(message: string | undefined): void {
    this.#error.hidden = message === undefined;
    write(this.#error, message ?? "");
    this.#showFigures();
  }
}
