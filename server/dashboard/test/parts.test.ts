// What the page computes without a page: places in a text, points of a chart, values as text.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cell, duration, kindOf, milliseconds, rate, time } from "../src/format.js";
import { pieces, rangeOf } from "../src/highlight.js";
import { drawable, groups, Points, usual } from "../src/series.js";

const sql = "SELECT 'π😀', prize\nFROM trades -- all\nWHERE \"a b\" > 1.5;";

test("the place of a fault is found by characters", () => {
  const found = (line: number, column?: number, length?: number) => {
    const fault = { message: "", line, ...(column && { column }), ...(length && { length }) };
    const range = rangeOf(sql, fault);
    return range && sql.slice(range.start, range.end);
  };
  assert.equal(found(1, 14, 5), "prize", "an emoji is one character");
  assert.equal(found(2, 6, 6), "trades");
  assert.equal(found(2, 6), "t", "without a length one character");
  assert.equal(found(3), sql.split("\n")[2], "without a column the line");
  assert.equal(found(1, 99, 5), "", "behind the end of the line nothing");
  assert.equal(found(9, 1), undefined);
  assert.equal(rangeOf(sql, { message: "no place" }), undefined);
});

test("the pieces together are the text, whatever it is", () => {
  const texts = [sql, "", "\n\n", "'open", "\"open", "/* open", "-- x", "a'b''c'd", "１２ é_1", "<b>&"];
  for (const text of texts) {
    for (const ranges of [[], [{ start: 0, end: 3 }], [{ start: 2, end: 999 }, undefined, { start: 1, end: 4 }]]) {
      assert.equal(pieces(text, ranges).map((piece) => piece.text).join(""), text);
    }
  }
  const fault = rangeOf(sql, { message: "", line: 1, column: 14, length: 5 });
  const marked = pieces(sql, [fault]).filter((piece) => piece.fault === 0);
  assert.deepEqual(marked.map((piece) => piece.text), ["prize"]);
  const styles = Object.fromEntries(pieces(sql, []).map((piece) => [piece.text, piece.style]));
  assert.equal(styles.SELECT, "keyword");
  assert.equal(styles["'π😀'"], "string");
  assert.equal(styles["-- all"], "comment");
  assert.equal(styles['"a b"'], "name");
  assert.equal(styles["1.5"], "number");
});

const column = (name: string, type: string) => ({ name, type });

test("bars are known by their columns, whatever else there is", () => {
  const bars = ["Open", "High", "Low", "Close", "Volume", "vwap"].map((name) => column(name, "DOUBLE"));
  const columns = [column("symbol", "STRING"), column("window_end", "TIMESTAMP(9)"),
    column("window_start", "TIMESTAMP(9)"), ...bars];
  const found = drawable(columns, ["symbol"]);
  assert.deepEqual(found?.bars, { open: "Open", high: "High", low: "Low", close: "Close", volume: "Volume" });
  assert.equal(found?.time, "window_start");
  assert.equal(drawable(columns.slice(0, 6), ["symbol"])?.bars, undefined, "without a close no candle");
  assert.equal(drawable([column("symbol", "STRING"), column("n", "BIGINT")], ["symbol"]), undefined);
});

test("columns of one size share a scale", () => {
  const row = { price: 100, sma: 101, rsi: 55, macd: -0.2, volume: 5_000, none: null };
  const names = Object.keys(row);
  assert.deepEqual(groups(names, row), [["price", "sma", "rsi"], ["macd"], ["volume"], ["none"]]);
  const columns = names.map((name) => column(name, name === "volume" ? "BIGINT" : "DOUBLE"));
  assert.deepEqual(usual(columns, names, row), ["price", "sma", "rsi", "macd"]);
});

test("points are in the order of time, one for each moment", () => {
  const points = new Points("ts", 250);
  const row = (seconds: number, price: number) => {
    return { ts: new Date(seconds * 1000).toISOString().replace("Z", "999999Z"), price };
  };
  points.put(row(10, 1));
  points.put(row(10.1, 2));
  points.put(row(9, 3));
  points.put(row(11, 4));
  points.put({ ts: null, price: 5 });
  const prices = () => points.all.map((point) => [point.time, point.row.price]);
  assert.deepEqual(prices(), [[10, 2], [11, 4]]);
  points.before([row(8, 7), row(7, 6), row(10, 0)]);
  assert.deepEqual(prices(), [[7, 6], [8, 7], [10, 2], [11, 4]]);
  for (let second = 20; second < 10_000; second += 1) {
    points.put(row(second, second));
  }
  assert.ok(points.all.length <= 3_000);
  assert.equal(points.all.at(-1)?.row.price, 9_999);
});

test("values as text", () => {
  assert.equal(time("2024-01-02T14:30:00.123456789Z"), "01-02 14:30:00.123");
  assert.equal(time("2024-01-02T14:30:00.000000000Z"), "01-02 14:30:00");
  assert.equal(time("2024-01-02"), "2024-01-02");
  assert.equal(milliseconds("1970-01-01T00:00:01.234567890Z"), 1_234);
  assert.ok(Number.isNaN(milliseconds(7)));
  assert.equal(rate(20_100), "20.1 k/s");
  assert.equal(rate(0.5), "0.5/s");
  assert.equal(duration(88.4), "88 ms");
  assert.equal(duration(-90_000), "-1.5 min");
  assert.equal(cell(null, "number", 2), "");
  assert.equal(cell(1234.5, "number", 2), "1234.50");
  assert.equal(cell(1234567, "whole", 2), "1,234,567");
  assert.equal(cell(true, "text", 2), "true");
  assert.equal(cell([1], "text", 2), "[1]");
  const kinds = ["DOUBLE", "BIGINT", "DECIMAL(10, 2)", "TIMESTAMP(9)", "STRING", "INT", "INTERVAL"];
  assert.deepEqual(kinds.map((type) => kindOf(column("x", type))),
    ["number", "whole", "number", "time", "text", "whole", "text"]);
});
