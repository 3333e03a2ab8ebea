// A textarea over a coloured copy of its text, with line numbers. The textarea stays what it is, so
// that keyboard, spelling tools and screen readers work as everywhere.

import type { Fault } from "@millstream/client";
import { element, write } from "./dom.js";
import { pieces, rangeOf } from "./highlight.js";

/** Longer texts are shown plain: colouring would slow typing. */
const MAX_COLOURED = 50_000;

export class Editor {
  readonly place: HTMLElement;
  readonly area: HTMLTextAreaElement;
  readonly #numbers = element("pre", { className: "numbers" });
  readonly #copy = element("pre", { className: "copy" });
  #faults: readonly Fault[] = [];

  constructor(text: string, changed: () => void) {
    this.area = element("textarea", {
      value: text,
      wrap: "off",
      spellcheck: false,
      autocomplete: "off",
      attributes: { "aria-label": "SQL of the job", autocapitalize: "off", "aria-describedby": "faults" },
    });
    for (const hidden of [this.#numbers, this.#copy]) {
      hidden.setAttribute("aria-hidden", "true");
    }
    this.place = element("div", { className: "editor" }, this.#numbers,
      element("div", { className: "paper" }, this.#copy, this.area));
    this.area.addEventListener("input", () => {
      this.mark([]);
      changed();
    });
    this.area.addEventListener("scroll", () => this.#scroll());
    this.#show();
  }

  get text(): string {
    return this.area.value;
  }

  set text(text: string) {
    this.area.value = text;
    this.mark([]);
  }

  /** Marks what is wrong. */
  mark(faults: readonly Fault[]): void {
    this.#faults = faults;
    this.area.setAttribute("aria-invalid", String(faults.length > 0));
    this.#show();
  }

  /** Puts the cursor on a fault. */
  go(fault: Fault): void {
    const range = rangeOf(this.text, fault);
    this.area.focus();
    if (range !== undefined) {
      this.area.setSelectionRange(range.start, range.end);
      const line = fault.line ?? 1;
      const height = this.area.scrollHeight / this.text.split("\n").length;
      if (line * height < this.area.scrollTop || line * height > this.area.scrollTop + this.area.clientHeight) {
        this.area.scrollTop = Math.max(0, (line - 3) * height);
      }
    }
  }

  #show(): void {
    const { text } = this;
    const ranges = this.#faults.map((fault) => rangeOf(text, fault));
    const parts = text.length > MAX_COLOURED ? [{ text, style: "", fault: undefined }] : pieces(text, ranges);
    this.#copy.replaceChildren(
      ...parts.map(({ text: part, style, fault }) => {
        if (style === "" && fault === undefined) {
          return part;
        }
        const span = element(fault === undefined ? "span" : "mark", { className: style }, part);
        if (fault !== undefined) {
          span.dataset.fault = String(fault);
        }
        return span;
      }),
      "\n", // The last line has a height even when it is empty.
    );
    const wrong = new Set(this.#faults.map((fault) => fault.line));
    const lines = text.split("\n").length;
    const numbers = Array.from({ length: lines }, (_, index) => index + 1);
    if (wrong.size > 0) {
      this.#numbers.replaceChildren(...numbers.flatMap((number) => [
        element("span", { className: wrong.has(number) ? "wrong" : "" }, String(number)), "\n"]));
    } else {
      write(this.#numbers, `${numbers.join("\n")}\n`);
    }
    this.#scroll();
  }

  #scroll(): void {
    this.#copy.scrollTop = this.area.scrollTop;
    this.#copy.scrollLeft = this.area.scrollLeft;
    this.#numbers.scrollTop = this.area.scrollTop;
  }
}
