// A live table: one DOM row for each key. Written are only cells whose text changed, of rows that
// are in sight, all at once in an animation frame; the others when they come into sight. Sorting is
// settled apart from that.

import { keyOf, type AnyRow, type Column } from "@millstream/client";
import { element, write } from "./dom.js";
import { cell, count, digitsFor, kindOf, type Kind } from "./format.js";

/** Rows that are shown; more only slow the page. */
const MAX_ROWS = 500;
/** Without a key, rows that are kept. */
const MAX_UNKEYED = 200;
/** Between two writes, where many cells change. */
const BUSY_MS = 100;
/** Between two sortings by a column that changes. */
const SORT_MS = 1_000;
/** With more cells that change at once, none flashes: it would tell nothing, and cost much. */
const MAX_FLASHES = 120;
/** Rows above and below those in sight that are written too. */
const MARGIN_ROWS = 5;

interface Shown {
  row: HTMLTableRowElement;
  cells: HTMLElement[];
  texts: string[];
  values: unknown[];
}

export class LiveTable {
  readonly #place: HTMLElement;
  readonly #choose: (key: string) => void;
  readonly #body = element("tbody");
  readonly #note = element("p", { className: "muted note" });
  #columns: { name: string; kind: Kind; digits: number | undefined }[] = [];
  #key: readonly string[] = [];
  #rows = new Map<string, AnyRow>();
  readonly #shown = new Map<string, Shown>();
  /** The keys that have a DOM row, in their order. */
  #keys: string[] = [];
  #scroll = element("div");
  readonly #dirty = new Set<string>();
  #headers: HTMLTableCellElement[] = [];
  #sort = { column: 0, down: false };
  #reorder = false;
  #sortedAt = 0;
  #wroteAt = 0;
  #frame: number | undefined;
  #sequence = 0;
  #chosen: string | undefined;

  constructor(place: HTMLElement, choose: (key: string) => void) {
    this.#place = place;
    this.#choose = choose;
  }

  /** Begins anew with these columns. */
  begin(columns: readonly Column[], key: readonly string[]): void {
    const first = columns.filter((column) => key.includes(column.name));
    const others = columns.filter((column) => !key.includes(column.name));
    this.#columns = [...first, ...others].map((column) => {
      return { name: column.name, kind: kindOf(column), digits: undefined };
    });
    this.#key = key;
    this.#sort = { column: 0, down: false };
    this.#headers = this.#columns.map(({ name, kind }, index) => {
      const button = element("button", { type: "button" }, name);
      button.addEventListener("click", () => this.#sortBy(index));
      const style = kind === "number" || kind === "whole" ? "number" : "";
      const content = key.length > 0 ? button : name;
      return element("th", { scope: "col", className: style }, content);
    });
    const head = element("thead", {}, element("tr", {}, ...this.#headers));
    const caption = element("caption", { className: "unseen" }, "The rows of the stream");
    const table = element("table", { className: "live" }, caption, head, this.#body);
    this.#scroll = element("div", {
      className: "scroll",
      tabIndex: 0,
      attributes: { role: "region", "aria-label": "The rows of the stream" },
    }, table);
    this.#scroll.addEventListener("scroll", () => this.#request(), { passive: true });
    this.#place.replaceChildren(this.#scroll, this.#note);
    this.clear();
    this.#markSort();
  }

  clear(): void {
    this.#rows.clear();
    this.#shown.clear();
    this.#dirty.clear();
    this.#keys = [];
    this.#body.replaceChildren();
    this.#reorder = true;
    this.#request();
  }

  get size(): number {
    return this.#rows.size;
  }

  /** New rows, or newer ones of their keys. */
  put(rows: readonly AnyRow[]): void {
    for (const row of rows) {
      const key = this.#key.length > 0 ? keyOf(row, this.#key) : String((this.#sequence += 1));
      if (!this.#rows.has(key)) {
        this.#reorder = true;
      }
      this.#rows.set(key, row);
      this.#dirty.add(key);
    }
    if (this.#key.length === 0) {
      for (const key of this.#rows.keys()) {
        if (this.#rows.size <= MAX_UNKEYED) {
          break;
        }
        this.#drop(key);
      }
    }
    this.#request();
  }

  /** Takes away every key that is not among these. */
  keep(keys: ReadonlyMap<string, AnyRow>): void {
    for (const key of [...this.#rows.keys()]) {
      if (!keys.has(key)) {
        this.#drop(key);
      }
    }
    this.#request();
  }

  /** Shows which key is in the chart. */
  mark(key: string | undefined): void {
    this.#chosen = key;
    for (const [other, shown] of this.#shown) {
      shown.row.classList.toggle("chosen", other === key);
      shown.row.querySelector("button")?.setAttribute("aria-pressed", String(other === key));
    }
  }

  #drop(key: string): void {
    this.#rows.delete(key);
    this.#dirty.delete(key);
    this.#shown.get(key)?.row.remove();
    this.#shown.delete(key);
    this.#reorder = true;
  }

  #sortBy(column: number): void {
    const down = this.#sort.column === column && !this.#sort.down;
    this.#sort = { column, down };
    this.#reorder = true;
    this.#sortedAt = 0;
    this.#markSort();
    this.#request();
  }

  #markSort(): void {
    this.#headers.forEach((header, index) => {
      const { column, down } = this.#sort;
      if (index === column && this.#key.length > 0) {
        header.setAttribute("aria-sort", down ? "descending" : "ascending");
      } else {
        header.removeAttribute("aria-sort");
      }
    });
  }

  #request(): void {
    this.#frame ??= requestAnimationFrame((now) => {
      this.#frame = undefined;
      // Many changes at once are not read one by one: fewer, larger writes.
      if (this.#dirty.size > 50 && now - this.#wroteAt < BUSY_MS) {
        this.#request();
        return;
      }
      this.#wroteAt = now;
      this.#write(now);
    });
  }

  #write(now: number): void {
    const byValue = this.#key.length > 0 && !this.#key.includes(this.#columns[this.#sort.column]?.name ?? "");
    if ((this.#reorder || (byValue && this.#dirty.size > 0)) && now - this.#sortedAt >= SORT_MS) {
      this.#order();
      this.#sortedAt = now;
      this.#reorder = false;
    } else if (this.#reorder && (this.#shown.size === 0 || this.#key.length === 0)) {
      this.#order();
      this.#reorder = false;
    }
    const flashes: [HTMLElement, boolean][] = [];
    for (const key of this.#inSight()) {
      const shown = this.#shown.get(key);
      const row = this.#rows.get(key);
      if (this.#dirty.delete(key) && shown !== undefined && row !== undefined) {
        this.#writeRow(shown, row, flashes);
      }
    }
    if (flashes.length <= MAX_FLASHES) {
      flashes.forEach(([target, up]) => flash(target, up));
    }
    const hidden = this.#rows.size - this.#shown.size;
    write(this.#note, hidden > 0 ? `${count(hidden)} more rows are not shown; narrow them by Where.` : "");
    if (this.#reorder) {
      this.#request();
    }
  }

  #inSight(): string[] {
    const height = this.#body.firstElementChild?.clientHeight ?? 0;
    if (height === 0) {
      return this.#keys;
    }
    const first = Math.floor(this.#scroll.scrollTop / height) - MARGIN_ROWS;
    const rows = Math.ceil(this.#scroll.clientHeight / height) + 2 * MARGIN_ROWS;
    return this.#keys.slice(Math.max(0, first), Math.max(0, first) + rows);
  }

  /** Puts the rows in their order; those that are in place are not touched. */
  #order(): void {
    const keys = [...this.#rows.keys()];
    if (this.#key.length === 0) {
      keys.reverse();
    } else {
      keys.sort(this.#comparison());
    }
    const wanted = keys.slice(0, MAX_ROWS);
    const kept = new Set(wanted);
    for (const [key, shown] of this.#shown) {
      if (!kept.has(key)) {
        shown.row.remove();
        this.#shown.delete(key);
      }
    }
    this.#keys = wanted;
    let place = this.#body.firstElementChild;
    for (const key of wanted) {
      let shown = this.#shown.get(key);
      if (shown === undefined) {
        shown = this.#make(key);
        this.#shown.set(key, shown);
      }
      if (shown.row === place) {
        place = place.nextElementSibling;
      } else {
        this.#body.insertBefore(shown.row, place);
      }
    }
  }

  #comparison(): (left: string, right: string) => number {
    const { name } = this.#columns[this.#sort.column]!;
    const sign = this.#sort.down ? -1 : 1;
    const rows = this.#rows;
    return (left, right) => {
      const one = rows.get(left)![name];
      const other = rows.get(right)![name];
      if (one === other) {
        return left < right ? -1 : 1;
      }
      if (one === null || one === undefined) {
        return 1; // Rows without a value are last, whichever way.
      }
      if (other === null || other === undefined) {
        return -1;
      }
      if (typeof one === "number" && typeof other === "number") {
        return (one - other) * sign;
      }
      return (String(one) < String(other) ? -1 : 1) * sign;
    };
  }

  #make(key: string): Shown {
    const cells = this.#columns.map(({ kind }, index) => {
      const style = kind === "number" || kind === "whole" ? "number" : kind;
      if (index > 0 || this.#key.length === 0) {
        return element("td", { className: style });
      }
      const button = element("button", { type: "button", title: "Show in the chart" });
      button.setAttribute("aria-pressed", String(key === this.#chosen));
      return button;
    });
    const row = element("tr", {}, ...cells.map((made) =>
      made instanceof HTMLButtonElement ? element("th", { scope: "row" }, made) : made));
    row.classList.toggle("chosen", key === this.#chosen);
    if (this.#key.length > 0) {
      row.classList.add("choosable");
      row.addEventListener("click", () => this.#choose(key));
    }
    const shown: Shown = { row, cells, texts: cells.map(() => ""), values: cells.map(() => undefined) };
    const known = this.#rows.get(key);
    if (known !== undefined) {
      this.#writeRow(shown, known, []);
    }
    return shown;
  }

  /** Writes what changed, and notes numbers that did, and which way. */
  #writeRow(shown: Shown, row: AnyRow, flashes: [HTMLElement, boolean][]): void {
    this.#columns.forEach((column, index) => {
      const value = row[column.name];
      const before = shown.values[index];
      if (value === before) {
        return;
      }
      shown.values[index] = value;
      if (column.digits === undefined && typeof value === "number" && value !== 0) {
        column.digits = digitsFor(value);
      }
      const text = cell(value, column.kind, column.digits ?? 2);
      if (text === shown.texts[index]) {
        return;
      }
      shown.texts[index] = text;
      const target = shown.cells[index]!;
      target.textContent = text;
      if (typeof value === "number" && typeof before === "number") {
        flashes.push([target, value > before]);
      }
    });
  }
}

/** Two names for the same animation, so that changing between them starts it again. */
function flash(target: HTMLElement, up: boolean): void {
  const odd = target.dataset.flash?.endsWith("1") === true;
  target.dataset.flash = `${up ? "up" : "down"}${odd ? "2" : "1"}`;
}
