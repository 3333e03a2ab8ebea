// A new job: its text is checked while it is written, and what is wrong is marked in it.

import { RequestError, type Fault, type Job } from "@millstream/client";
import { element, write } from "./dom.js";
import { Editor } from "./editor.js";
import { EXAMPLE } from "./example.js";
import { report, settled, type Session } from "./session.js";

const DRAFT = "millstream.draft";
const NAME = "millstream.draft.name";
/** Quiet after the last key before the text is checked. */
const CHECK_MS = 500;

export class Submit {
  readonly #session: Session;
  readonly #done: (job: Job) => void;
  readonly #editor: Editor;
  readonly #name = element("input", {
    type: "text",
    required: true,
    autocomplete: "off",
    spellcheck: false,
    maxLength: 100,
    pattern: "[A-Za-z0-9_\\-]+",
    title: "Letters, digits, - and _",
    attributes: { "aria-label": "Name of the job" },
  });
  readonly #submit = element("button", { type: "submit" }, "Submit");
  readonly #verdict = element("p", { className: "verdict" });
  readonly #faults = element("ul", { id: "faults", className: "faults" });
  readonly #plan = element("pre", { className: "plan", tabIndex: 0 });
  readonly #form: HTMLFormElement;
  #timer: number | undefined;
  /** Counts changes, so that an answer about an older text is known as such. */
  #version = 0;

  /** `done` is told the job that was made. */
  constructor(session: Session, place: HTMLElement, done: (job: Job) => void) {
    this.#session = session;
    this.#done = done;
    this.#editor = new Editor(localStorage.getItem(DRAFT) ?? EXAMPLE, () => this.#changed());
    this.#name.value = localStorage.getItem(NAME) ?? "example";
    this.#name.addEventListener("input", () => localStorage.setItem(NAME, this.#name.value));
    const example = element("button", { type: "button", className: "quiet" }, "Example");
    example.title = "Put the example into the editor";
    example.addEventListener("click", () => {
      this.#editor.text = EXAMPLE;
      this.#changed();
    });
    this.#verdict.setAttribute("role", "status");
    const head = element("header", {}, element("h2", {}, "New job"),
      element("label", {}, "Name ", this.#name), example, this.#submit,
      element("span", { className: "muted hint" }, "Ctrl+Enter submits"));
    const side = element("div", { className: "side" }, this.#verdict, this.#faults, this.#plan);
    const form = element("form", { className: "panel submit" }, head,
      element("div", { className: "workbench" }, this.#editor.place, side));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    this.#form = form;
    place.append(form);
  }

  /** The page is shown: check what stands there. */
  shown(): void {
    void this.#check();
  }

  #changed(): void {
    localStorage.setItem(DRAFT, this.#editor.text);
    this.#version += 1;
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#check(), CHECK_MS);
    // What is said beside the text is about an older one.
    this.#form.classList.add("stale");
    write(this.#verdict, "Checking …");
  }

  async #check(): Promise<void> {
    const version = this.#version;
    const sql = this.#editor.text;
    if (sql.trim() === "") {
      this.#show("", [], "");
      return;
    }
    try {
      const result = await this.#session.rest.jobs.check({ sql });
      if (version === this.#version) {
        this.#show(verdict(result.errors), result.errors, result.plan ?? "");
        settled("action");
      }
    } catch (error) {
      report(error, "action");
    }
  }

  async #send(): Promise<void> {
    clearTimeout(this.#timer);
    this.#version += 1;
    this.#submit.disabled = true;
    const name = this.#name.value.trim();
    try {
      // The key makes a repeated press one job.
      const job = await this.#session.rest.jobs.create({ name, sql: this.#editor.text }, newKey());
      settled("action");
      this.#done(job);
    } catch (error) {
      const faults = error instanceof RequestError ? (error.problem.errors ?? []) : [];
      if (error instanceof RequestError && error.status !== 401) {
        this.#show(error.message, faults.length > 0 ? faults : [{ message: error.message }], "");
      } else {
        report(error, "action");
      }
    }
    this.#submit.disabled = false;
  }

  #show(text: string, faults: readonly Fault[], plan: string): void {
    this.#form.classList.remove("stale");
    this.#form.classList.toggle("faulty", faults.length > 0);
    write(this.#verdict, text);
    this.#editor.mark(faults);
    this.#faults.replaceChildren(...faults.map((fault) => this.#item(fault)));
    write(this.#plan, plan);
    this.#plan.hidden = plan === "";
  }

  #item(fault: Fault): HTMLLIElement {
    const option = fault.option ? [fault.table, fault.option].filter(Boolean).join(".") : "";
    const place = fault.line ? `line ${fault.line}, column ${fault.column ?? 1}` : option;
    const parts: Node[] = [element("span", { className: "place" }, place), element("span", {}, fault.message)];
    const button = element("button", { type: "button" }, ...parts);
    button.addEventListener("click", () => this.#editor.go(fault));
    const item = element("li", {}, button);
    if (fault.help) {
      item.append(element("p", { className: "help" }, fault.help));
    }
    return item;
  }
}

function verdict(errors: readonly Fault[]): string {
  if (errors.length === 0) {
    return "This can run.";
  }
  return errors.length === 1 ? "One fault." : `${errors.length} faults.`;
}

/** Works without HTTPS too, where `crypto.randomUUID` does not. */
function newKey(): string {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(16)).join("-");
}
