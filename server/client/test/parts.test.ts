// Cursors, views and frames by themselves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { compareCursors, comparePlaces, isCursor } from "../src/cursor.js";
import { decode } from "../src/protocol.js";
import { View } from "../src/view.js";

test("cursors are ordered by number, beyond what a number holds", () => {
  const ordered = ["1-1-1", "1-1-2", "1-1-10", "1-2-0", "2-0-0", "2-0-9007199254740993"];
  for (const [index, cursor] of ordered.entries()) {
    assert.ok(isCursor(cursor));
    assert.equal(compareCursors(cursor, cursor), 0);
    for (const later of ordered.slice(index + 1)) {
      assert.equal(compareCursors(cursor, later), -1, `${cursor} ${later}`);
      assert.equal(compareCursors(later, cursor), 1, `${later} ${cursor}`);
    }
  }
  assert.ok(compareCursors("2-0-9007199254740992", "2-0-9007199254740993") < 0);
  assert.equal(comparePlaces("1-5-7", "2-5-7"), 0, "generations number the same rows");
  for (const bad of ["", "1-1", "1-1-1-1", "a-1-1", "-1-1-1", "1-1-1 ", 7, null, "1--1"]) {
    assert.equal(isCursor(bad), false, String(bad));
  }
});

test("a snapshot replaces the view once its last page is there", () => {
  const view = new View<{ k: string; v: number }>(["k"], false);
  const page = (k: string, first: boolean, last: boolean, v = 1) =>
    view.apply({ kind: "snapshot", cursor: "1-1-1", rows: [{ k, v }], first, last });
  page("a", true, false);
  page("b", false, true);
  assert.deepEqual([...view.rows.keys()], ["a", "b"]);
  page("b", true, false, 2);
  assert.deepEqual([...view.rows.keys()], ["a", "b"], "no row flickers away while pages come");
  page("c", false, true);
  assert.deepEqual([...view.rows.values()], [{ k: "b", v: 2 }, { k: "c", v: 1 }]);
});

test("keys of several columns and of NULL stand apart", () => {
  const view = new View<{ a: string | null; b: number }>(["a", "b"], false);
  const rows = [
    { a: "x", b: 1 },
    { a: "x", b: 11 },
    { a: null, b: 1 },
    { a: "null", b: 1 },
  ];
  view.apply({ kind: "update", cursor: "1-1-1", rows, conflated: 0, dropped: 0 });
  assert.equal(view.rows.size, 4);
  assert.equal(view.rows.get(view.keyText(rows[2]!)), rows[2]);
});

test("changes are laid over the row before; NULL is a change", () => {
  const view = new View<{ k: string; v?: number | null; w?: number }>(["k"], true);
  view.apply({ kind: "snapshot", cursor: "1-1-1", rows: [{ k: "a", v: 1, w: 2 }], first: true, last: true });
  const rows = [{ k: "a", v: null }, { k: "b", w: 3 }];
  const merged = view.apply({ kind: "update", cursor: "1-1-2", rows, conflated: 0, dropped: 0 });
  assert.deepEqual(merged.kind === "update" && merged.rows, [{ k: "a", v: null, w: 2 }, { k: "b", w: 3 }]);
});

test("a frame of any bytes is read, left out, or refused, and never does anything else", () => {
  let seed = 7;
  const chance = () => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
  const good = [
    '{"type":"snapshot","channel":7,"cursor":"1-1-1","rows":[{"a":1}],"more":false}',
    '{"type":"subscribed","id":"1","channel":7,"stream":"t","columns":[{"name":"a","type":"b"}],"key":["a"]}',
    '{"type":"error","id":null,"code":"x","message":"y"}',
  ];
  for (const text of good) {
    assert.notEqual(decode(text), undefined);
    for (let round = 0; round < 2_000; round += 1) {
      const at = Math.floor(chance() * text.length);
      const to = at + Math.floor(chance() * 4);
      const mutated = text.slice(0, at) + String.fromCharCode(32 + chance() * 95) + text.slice(to);
      try {
        decode(mutated);
      } catch (error) {
        assert.equal((error as Error).name, "MalformedFrame");
      }
    }
  }
});
