// One job: its row, what can be done with it, and what is told of it when its row is opened.

import type { Job } from "@millstream/client";
import { ask } from "./dialogs.js";
import { element, write } from "./dom.js";
import { count, duration, rate, time } from "./format.js";
import { report, settled, type Session } from "./session.js";

/** The columns of the list: name and style. */
export const columns = [
  ["Job", ""],
  ["State", ""],
  ["In", "number wide"],
  ["Out", "number wide"],
  ["Behind", "number wide"],
  ["Late", "number wide"],
  ["Dead", "number wide"],
  ["p99", "number wide"],
  ["", "actions"],
] as const;

/** What of a job is compared to tell its rates. */
interface Sample {
  at: number;
  read: number;
  written: number;
}

const sum = <T>(items: T[], pick: (item: T) => number) =>
  items.reduce((total, item) => total + pick(item), 0);

export class JobRow {
  readonly row = element("tr");
  readonly details = element("tr", { className: "details", hidden: true });
  readonly #session: Session;
  readonly #cells = columns.map(([, style]) => element("td", { className: style }));
  readonly #name: HTMLButtonElement;
  readonly #stop = element("button", { type: "button" }, "Stop");
  readonly #start = element("button", { type: "button" }, "Start");
  readonly #delete = element("button", { type: "button", className: "danger" }, "Delete");
  readonly #state = element("span");
  readonly #facts = element("div");
  readonly #texts = element("div");
  #shownTexts = "";
  readonly #watch: (stream: string) => void;
  readonly #again: () => void;
  #sample: Sample | undefined;
  #job: Job;

  constructor(
    job: Job,
    session: Session,
    watch: (stream: string) => void,
    again: () => void,
  ) {
    this.#job = job;
    this.#session = session;
    this.#watch = watch;
    this.#again = again;
    this.#name = element("button", {
      type: "button",
      className: "disclose",
      attributes: { "aria-expanded": "false" },
    }, job.name);
    this.#name.addEventListener("click", () => {
      this.details.hidden = !this.details.hidden;
      this.#name.setAttribute("aria-expanded", String(!this.details.hidden));
      this.#showDetails();
    });
    this.#cells[0]!.append(this.#name);
    this.#cells[1]!.append(this.#state);
    this.#cells[8]!.append(this.#stop, this.#start, this.#delete);
    this.#stop.addEventListener("click", () => void this.#asked("stop"));
    this.#start.addEventListener("click", () => void this.#asked("start"));
    this.#delete.addEventListener("click", () => void this.#asked("delete"));
    for (const button of [this.#stop, this.#start, this.#delete]) {
      button.setAttribute("aria-label", `${button.textContent} ${job.name}`);
    }
    this.row.append(...this.#cells);
    const inside = element("td", { colSpan: columns.length }, this.#facts, this.#texts);
    this.details.append(inside);
    this.show(job);
  }

  show(job: Job): void {
    this.#job = job;
    const { tables, outputs } = job;
    const sample: Sample = {
      at: performance.now(),
      read: sum(tables, (table) => table.arrived),
      written: sum(outputs, (output) => output.rows),
    };
    const before = this.#sample;
    this.#sample = sample;
    const seconds = before === undefined ? 0 : (sample.at - before.at) / 1000;
    const running = job.state === "running" || job.state === "recovering";
    const speed = (now: number, then: number) =>
      running && seconds > 0 && now >= then ? rate((now - then) / seconds) : "";
    const waiting = Object.keys(job.waiting ?? {});
    this.#state.dataset.state = waiting.length > 0 ? "waiting" : job.state;
    write(this.#state, waiting.length > 0 ? `waiting for ${waiting.join(", ")}` : job.state);
    this.#state.title = job.reason ?? Object.values(job.waiting ?? {}).join("; ");
    const lags = tables.flatMap((table) => table.lag_ms ?? []);
    const p99 = job.latency_ms?.p99;
    const texts = [
      speed(sample.read, before?.read ?? 0),
      speed(sample.written, before?.written ?? 0),
      running && lags.length > 0 ? duration(Math.max(...lags)) : "",
      count(sum(tables, (table) => table.late)),
      count(sum(tables, (table) => table.future + table.dead + (table.rejected ?? 0))),
      running && typeof p99 === "number" ? duration(p99) : "",
    ];
    texts.forEach((text, index) => write(this.#cells[index + 2]!, text));
    this.#stop.hidden = !running;
    this.#start.hidden = running || job.state === "stopping" || job.state === "created";
    if (!this.details.hidden) {
      this.#showDetails();
    }
  }

  #showDetails(): void {
    if (this.details.hidden) {
      return;
    }
    this.#showTexts();
    if (!this.#facts.contains(document.activeElement)) {
      this.#showFacts(); // Nothing is taken from under the focus.
    }
  }

  /** What changes all the time. */
  #showFacts(): void {
    const job = this.#job;
    const parts: Node[] = [];
    if (job.reason) {
      parts.push(element("p", { className: "error" }, job.reason));
    }
    for (const text of [...Object.values(job.waiting ?? {}), ...(job.unsettled ?? [])]) {
      parts.push(element("p", { className: "warning" }, text));
    }
    const since = job.started_at ? `, started ${time(job.started_at)} UTC` : "";
    const epoch = `epoch ${count(job.committed_epoch ?? 0)} committed`;
    parts.push(element("p", { className: "muted" }, `${epoch}${since}`));
    const head = ["Table", "Arrived", "Accepted", "Late", "Future", "Dead", "Watermark (UTC)"];
    const rows = job.tables.map((table) => {
      const counts = [table.arrived, table.accepted, table.late, table.future, table.dead];
      const mark = table.watermark ? time(table.watermark) : "";
      return [table.name, ...counts.map(count), mark];
    });
    parts.push(plainTable(head, rows));
    const streams = job.outputs.map((output) => {
      const watch = element("button", { type: "button", className: "quiet" }, "Watch");
      watch.setAttribute("aria-label", `Watch ${output.stream}`);
      watch.addEventListener("click", () => this.#watch(output.stream));
      return [output.stream, count(output.rows), watch];
    });
    parts.push(plainTable(["Output", "Rows", ""], streams));
    this.#facts.replaceChildren(...parts);
  }

  /** What stays: written only where it changed, so that it can be scrolled and selected. */
  #showTexts(): void {
    const texts = [["Plan", this.#job.plan ?? ""], ["SQL", this.#job.sql]] as const;
    const shown = JSON.stringify(texts);
    if (shown !== this.#shownTexts) {
      this.#shownTexts = shown;
      this.#texts.replaceChildren(...texts.filter(([, text]) => text !== "").map(([title, text]) =>
        element("details", {}, element("summary", {}, title),
          element("pre", { tabIndex: 0 }, text))));
    }
  }

  async #asked(what: "stop" | "start" | "delete"): Promise<void> {
    const { id, name } = this.#job;
    const { jobs } = this.#session.rest;
    const chosen = await this.#choose(what, name);
    if (chosen === undefined) {
      return;
    }
    try {
      if (chosen === "stop") {
        await jobs.stop(id);
      } else if (chosen === "delete") {
        await jobs.delete(id);
      } else {
        await jobs.start(id, chosen as "state" | "empty");
      }
      settled("action");
    } catch (error) {
      report(error, "action");
    }
    this.#again();
  }

  #choose(what: "stop" | "start" | "delete", name: string): Promise<string | undefined> {
    switch (what) {
      case "stop":
        return ask(`Stop ${name}?`, "It takes a last snapshot, and can be started again from it.", [
          { value: "stop", label: "Stop" },
        ]);
      case "start":
        return ask(`Start ${name}?`, "From the state it stopped with, or from nothing: then its log, "
          + "state, late and dead rows are removed.", [
          { value: "state", label: "From its state" },
          { value: "empty", label: "From nothing", danger: true },
        ]);
      case "delete":
        return ask(`Delete ${name}?`, "Its log, state, late and dead rows are removed. What it wrote "
          + "to its outputs and recordings stays.", [
          { value: "delete", label: "Delete", danger: true },
        ]);
    }
  }
}

function plainTable(head: string[], rows: (string | Node)[][]): HTMLTableElement {
  return element("table", { className: "plain" },
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map((cells) =>
      element("tr", {}, ...cells.map((cell) => element("td", {}, cell))))));
}
