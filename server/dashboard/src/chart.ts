// One key of a stream over time: candles where it has bars, else lines, columns of one size in one
// pane. Older rows come by a query, where the server has them; newer ones as they come.

import type { AnyRow, Column } from "@millstream/client";
import { keyOf } from "@millstream/client";
import {
  CandlestickSeries,
  createChart,
  HistogramSeries,
  LineSeries,
  type IChartApi,
  type ISeriesApi,
  type UTCTimestamp,
} from "lightweight-charts";
import { element, write } from "./dom.js";
import { drawable, groups, Points, usual, type Drawable, type Point } from "./series.js";
import type { Session } from "./session.js";
import { colour, onTheme } from "./theme.js";

/** Points of lines are drawn at most this often, in milliseconds of event time. */
const LINE_STEP_MS = 250;
const HISTORY_ROWS = 1_000;
/** So few points are spread over the whole width. */
const FEW_POINTS = 80;

interface Drawn {
  series: ISeriesApi<"Candlestick" | "Histogram" | "Line">;
  data(point: Point): object;
}

/** The stream that is drawn. */
interface Shown {
  stream: string;
  columns: readonly Column[];
  key: readonly string[];
  drawable: Drawable;
}

const time = (point: Point) => point.time as UTCTimestamp;

export class KeyChart {
  readonly #session: Session;
  readonly #title = element("h3");
  readonly #choices = element("div", { className: "choices" });
  readonly #canvas = element("div", { className: "canvas" });
  readonly #note = element("p", { className: "empty" });
  #shown: Shown | undefined;
  #keyText: string | undefined;
  #points: Points | undefined;
  #columns: string[] = [];
  #chart: IChartApi | undefined;
  #drawn: Drawn[] = [];
  #pending = false;
  #whole = false;
  /** The times of the first and the last point that is drawn. */
  #extent: { from: number | undefined; to: number } = { from: undefined, to: 0 };

  constructor(session: Session, place: HTMLElement) {
    this.#session = session;
    place.append(
      element("div", { className: "chart-head" }, this.#title, this.#choices),
      this.#canvas,
      this.#note,
    );
    this.#canvas.setAttribute("role", "img");
    onTheme(() => this.#build());
  }

  /** Begins anew with another stream. Gives whether anything of it can be drawn. */
  begin(stream: string, columns: readonly Column[], key: readonly string[]): boolean {
    const found = key.length > 0 ? drawable(columns, key) : undefined;
    this.#shown = found === undefined ? undefined : { stream, columns, key, drawable: found };
    this.#keyText = undefined;
    this.#points = undefined;
    this.#columns = [];
    this.#build();
    return found !== undefined;
  }

  /** What is drawn may be void: a key is to be chosen anew. */
  forget(): void {
    this.#keyText = undefined;
    this.#points = undefined;
  }

  get keyText(): string | undefined {
    return this.#keyText;
  }

  /** Draws this row's key. */
  choose(row: AnyRow): void {
    const shown = this.#shown;
    if (shown === undefined) {
      return;
    }
    const keyText = keyOf(row, shown.key);
    if (keyText === this.#keyText) {
      return;
    }
    this.#keyText = keyText;
    const points = new Points(shown.drawable.time, shown.drawable.bars ? 1 : LINE_STEP_MS);
    points.put(row);
    this.#points = points;
    if (shown.drawable.bars === undefined && this.#columns.length === 0) {
      this.#columns = usual(shown.columns, shown.drawable.numbers, row);
    }
    this.#build();
    void this.#history(shown, row, points);
  }

  /** Newer rows of the stream; those of the key are drawn in the next frame. */
  put(rows: readonly AnyRow[]): void {
    const { key } = this.#shown ?? {};
    if (key === undefined || this.#points === undefined) {
      return;
    }
    for (const row of rows) {
      if (keyOf(row, key) === this.#keyText && this.#points.put(row) !== undefined) {
        this.#draw(false);
      }
    }
  }

  async #history(shown: Shown, row: AnyRow, points: Points): Promise<void> {
    try {
      const { rows } = await this.#session.rest.query(historySql(shown, row), { limit: HISTORY_ROWS });
      if (this.#points === points) {
        points.before(rows);
        this.#draw(true);
      }
    } catch {
      // Nothing is published yet, or the server keeps no history: it is drawn from now on.
    }
  }

  #draw(whole: boolean): void {
    this.#whole ||= whole;
    if (this.#pending) {
      return;
    }
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      const all = this.#points?.all ?? [];
      const { from: first, to } = this.#extent;
      const from = all.findLastIndex((point) => point.time <= to);
      // Old points were let go: the series must not keep them either.
      const whole = this.#whole || all[0]?.time !== first;
      for (const { series, data } of this.#drawn) {
        if (whole) {
          series.setData(all.map(data) as never[]);
        } else {
          // The last one that is drawn may have changed, too.
          all.slice(Math.max(0, from)).forEach((point) => series.update(data(point) as never));
        }
      }
      if (all.length <= FEW_POINTS) {
        this.#chart?.timeScale().fitContent();
      }
      this.#whole = false;
      this.#extent = { from: all[0]?.time, to: all.at(-1)?.time ?? 0 };
      this.#tell();
    });
  }

  /** Says in words what the canvas shows. */
  #tell(): void {
    const count = this.#points?.all.length ?? 0;
    this.#canvas.dataset.points = String(count);
    const shown = this.#shown;
    const what = shown?.drawable.bars ? "candles" : this.#columns.join(", ");
    this.#canvas.setAttribute("aria-label", `Chart of ${this.#keyText ?? "nothing"}: ${what}`);
  }

  /** Makes the chart anew: for another key, other columns, other colours. */
  #build(): void {
    this.#chart?.remove();
    this.#chart = undefined;
    this.#drawn = [];
    const shown = this.#shown;
    const points = this.#points;
    write(this.#title, this.#keyText ?? "");
    this.#canvas.hidden = points === undefined;
    this.#note.hidden = points !== undefined;
    write(this.#note, shown === undefined
      ? "A chart needs a key, a time and a number."
      : "Choose a row to draw its key.");
    this.#showChoices();
    if (shown === undefined || points === undefined) {
      return;
    }
    const [text, line, up, down] = [colour("muted"), colour("line"), colour("up"), colour("down")];
    const chart = createChart(this.#canvas, {
      autoSize: true,
      layout: {
        attributionLogo: false, // It is in the page's footer: the logo brings a style of its own.
        background: { color: "transparent" },
        textColor: text,
        fontFamily: getComputedStyle(document.body).fontFamily,
        panes: { separatorColor: line },
      },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      rightPriceScale: { borderColor: line },
      timeScale: { borderColor: line, timeVisible: true, secondsVisible: true, maxBarSpacing: 24 },
    });
    this.#chart = chart;
    const { bars } = shown.drawable;
    if (bars === undefined) {
      this.#addLines(chart, this.#columns);
    } else {
      const candles = chart.addSeries(CandlestickSeries, {
        upColor: up, wickUpColor: up, borderVisible: false, downColor: down, wickDownColor: down,
      });
      this.#drawn.push({ series: candles as Drawn["series"], data: (point) => candle(point, bars) });
      const { volume } = bars;
      if (volume !== undefined) {
        const series = chart.addSeries(HistogramSeries,
          { color: colour("volume"), priceFormat: { type: "volume" } }, 1);
        this.#drawn.push({ series: series as Drawn["series"], data: (point) => value(point, volume) });
        chart.panes()[0]?.setStretchFactor(4);
        chart.panes()[1]?.setStretchFactor(1);
      }
      this.#addLines(chart, this.#columns);
    }
    this.#draw(true);
  }

  #addLines(chart: IChartApi, columns: readonly string[]): void {
    const last = this.#points?.all.at(-1)?.row ?? {};
    const parts = groups(columns, last);
    parts.forEach((part, pane) => {
      for (const column of part) {
        const series = chart.addSeries(LineSeries, {
          color: colour(`series-${this.#place(column)}`),
          lineWidth: 2,
          lastValueVisible: true,
          priceLineVisible: false,
        }, this.#shown?.drawable.bars ? 0 : pane);
        this.#drawn.push({ series: series as Drawn["series"], data: (point) => value(point, column) });
      }
    });
    if (this.#shown?.drawable.bars === undefined) {
      chart.panes().forEach((pane, index) => pane.setStretchFactor(index === 0 ? 2 : 1));
    }
  }

  /** A column's colour stays, whichever others are drawn. */
  #place(column: string): number {
    return (this.#shown?.drawable.numbers.indexOf(column) ?? 0) % 6;
  }

  #showChoices(): void {
    const shown = this.#shown;
    if (shown === undefined || this.#points === undefined) {
      this.#choices.replaceChildren();
      return;
    }
    const { bars, numbers } = shown.drawable;
    const taken = bars === undefined ? [] : Object.values(bars);
    const buttons = numbers.filter((name) => !taken.includes(name)).map((name) => {
      const drawn = this.#columns.includes(name);
      const button = element("button", { type: "button", className: "choice" }, name);
      button.setAttribute("aria-pressed", String(drawn));
      if (drawn) {
        button.classList.add(`colour-series-${this.#place(name)}`);
      }
      button.addEventListener("click", () => {
        this.#columns = drawn
          ? this.#columns.filter((other) => other !== name)
          : [...this.#columns, name];
        this.#build();
        this.#choices.querySelectorAll("button").forEach((other) => {
          if (other.textContent === name) {
            other.focus();
          }
        });
      });
      return button;
    });
    this.#choices.replaceChildren(...buttons);
  }
}

/** A moment without a value is left blank. */
function value(point: Point, column: string): object {
  const found = point.row[column];
  return typeof found === "number" ? { time: time(point), value: found } : { time: time(point) };
}

function candle(point: Point, bars: NonNullable<Drawable["bars"]>): object {
  const [open, high, low, close] = [bars.open, bars.high, bars.low, bars.close].map(
    (name) => point.row[name],
  );
  return typeof open === "number" && typeof close === "number"
    ? { time: time(point), open, high, low, close }
    : { time: time(point) };
}

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** The newest rows of a row's key. */
function historySql(shown: Shown, row: AnyRow): string {
  const conditions = shown.key.map((name) => {
    const found = row[name];
    if (found === null || found === undefined) {
      return `${quoted(name)} IS NULL`;
    }
    const text = typeof found === "string" ? `'${found.replaceAll("'", "''")}'` : String(found);
    return `${quoted(name)} = ${text}`;
  });
  const { drawable: { time: at, numbers }, stream } = shown;
  const names = [at, ...numbers].map(quoted).join(", ");
  const from = stream.split(".").map(quoted).join(".");
  return `SELECT ${names} FROM ${from} WHERE ${conditions.join(" AND ")} `
    + `ORDER BY ${quoted(at)} DESC LIMIT ${HISTORY_ROWS}`;
}
