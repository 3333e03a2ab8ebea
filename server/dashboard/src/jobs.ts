// The jobs: a row each, kept while they live, so that polling neither flickers nor moves the focus.

import type { Job } from "@millstream/client";
import { element } from "./dom.js";
import { columns, JobRow } from "./job.js";
import { report, settled, type Session } from "./session.js";

const POLL_MS = 2_000;

export class Jobs {
  readonly #session: Session;
  readonly #place: HTMLElement;
  readonly #body = element("tbody");
  readonly #empty = element("p", { className: "empty" }, "No job yet. ",
    element("a", { href: "#submit" }, "Submit one"), ": SQL that reads a feed and writes a table.");
  readonly #table: HTMLTableElement;
  readonly #rows = new Map<string, JobRow>();
  readonly #seen: (jobs: Job[]) => void;
  readonly #watch: (stream: string) => void;
  #timer: number | undefined;
  #polling = false;

  /** `seen` is told all jobs at every poll, `watch` the stream that was chosen here. */
  constructor(
    session: Session,
    place: HTMLElement,
    seen: (jobs: Job[]) => void,
    watch: (stream: string) => void,
  ) {
    this.#session = session;
    this.#place = place;
    this.#seen = seen;
    this.#watch = watch;
    const head = columns.map(([name, style]) =>
      element("th", { scope: "col", className: style },
        name === "" ? element("span", { className: "unseen" }, "Actions") : name));
    this.#table = element("table", { className: "jobs" },
      element("thead", {}, element("tr", {}, ...head)), this.#body);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) {
        void this.poll();
      }
    });
  }

  /** Asks for the jobs now, and then every two seconds while the page is seen. */
  async poll(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#polling) {
      return;
    }
    this.#polling = true;
    try {
      this.#show(await this.#all());
      settled("poll");
    } catch (error) {
      report(error, "poll");
    }
    this.#polling = false;
    if (!document.hidden) {
      this.#timer = window.setTimeout(() => void this.poll(), POLL_MS);
    }
  }

  async #all(): Promise<Job[]> {
    const jobs: Job[] = [];
    let cursor: string | undefined;
    do {
      const page = await this.#session.rest.jobs.list(cursor === undefined ? {} : { cursor });
      jobs.push(...page.items);
      cursor = page.next ?? undefined;
    } while (cursor !== undefined);
    return jobs;
  }

  #show(jobs: Job[]): void {
    const known = new Set(jobs.map((job) => job.id));
    for (const [id, row] of this.#rows) {
      if (!known.has(id)) {
        row.row.remove();
        row.details.remove();
        this.#rows.delete(id);
      }
    }
    for (const job of jobs) {
      const row = this.#rows.get(job.id);
      if (row === undefined) {
        const made = new JobRow(job, this.#session, this.#watch, () => void this.poll());
        this.#rows.set(job.id, made);
        this.#body.append(made.row, made.details);
      } else {
        row.show(job);
      }
    }
    const shown = jobs.length === 0 ? this.#empty : this.#table;
    if (this.#place.firstChild !== shown) {
      this.#place.replaceChildren(shown);
    }
    this.#seen(jobs);
  }
}
