// What a slow reader gets: never more than the bound, and every row it misses is counted.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Batch, UpdateBatch } from "../src/batch.js";
import { Buffer } from "../src/buffer.js";
import { Overflow } from "../src/errors.js";

interface Row {
  k: string;
  n: number;
}

let sequence = 0;

function update(rows: Row[], conflated = 0): UpdateBatch<Row> {
  sequence += 1;
  return { kind: "update", cursor: `1-1-${sequence}`, rows, conflated, dropped: 0 };
}

function snapshot(rows: Row[]): Batch<Row> {
  return { kind: "snapshot", cursor: `1-1-${sequence}`, rows, first: true, last: true };
}

function rows(count: number, keys: number, from = 0): Row[] {
  return Array.from({ length: count }, (_, n) => ({ k: `k${(from + n) % keys}`, n: from + n }));
}

function buffer(limit: number, overflow: "conflate" | "oldest" | "fail", key = ["k"]) {
  const made = new Buffer<Row>("trades", { rows: limit, overflow });
  made.key = key;
  return made;
}

async function drain(from: Buffer<Row>): Promise<Batch<Row>[]> {
  from.end();
  const all: Batch<Row>[] = [];
  for (let next = await from.next(); next.done !== true; next = await from.next()) {
    all.push(next.value);
  }
  return all;
}

test("batches that fit come as they were", async () => {
  const made = buffer(10, "conflate");
  const batches = [snapshot(rows(3, 3)), update(rows(5, 2)), update(rows(5, 2, 5))];
  for (const batch of batches) {
    made.push(batch);
  }
  assert.deepEqual(await drain(made), batches);
});

test("conflation keeps the newest row of every key, and counts the rest", async () => {
  const made = buffer(10, "conflate");
  for (let from = 0; from < 100; from += 4) {
    made.push(update(rows(4, 3, from), 1));
  }
  const [batch, ...none] = await drain(made);
  assert.deepEqual(none, []);
  assert.ok(batch?.kind === "update");
  assert.deepEqual(batch.rows, [{ k: "k1", n: 97 }, { k: "k2", n: 98 }, { k: "k0", n: 99 }]);
  assert.equal(batch.conflated, 97 + 25, "those left out here, and those the server left out");
  assert.equal(batch.dropped, 0);
  assert.equal(batch.cursor, `1-1-${sequence}`);
});

test("after conflation the buffer fills again as before", async () => {
  const made = buffer(4, "conflate");
  made.push(update(rows(6, 2)));
  const merged = await made.next();
  assert.equal((merged.value as UpdateBatch<Row>).rows.length, 2);
  const later = [update(rows(2, 2, 6)), update(rows(2, 2, 8))];
  later.forEach((batch) => made.push(batch));
  assert.deepEqual(await drain(made), later);
});

test("with more keys than fit the oldest rows go", async () => {
  const made = buffer(5, "conflate");
  made.push(update(rows(4, 100)));
  made.push(update(rows(8, 100, 4)));
  made.push(update(rows(1, 100, 12)));
  const [batch] = await drain(made);
  assert.ok(batch?.kind === "update");
  assert.deepEqual(batch.rows.map((row) => row.n), [8, 9, 10, 11, 12]);
  assert.equal(batch.dropped, 8);
});

test("`oldest` drops the oldest rows, and a stream without a key does so too", async () => {
  for (const made of [buffer(5, "oldest"), buffer(5, "conflate", [])]) {
    made.push(update(rows(3, 1), 7));
    made.push(update(rows(3, 1, 3)));
    made.push(update(rows(3, 1, 6)));
    const left = (await drain(made)) as UpdateBatch<Row>[];
    assert.deepEqual(left.map((batch) => batch.rows.map((row) => row.n)), [[4, 5], [6, 7, 8]]);
    assert.equal(left.reduce((sum, batch) => sum + batch.dropped, 0), 4);
    assert.equal(left.reduce((sum, batch) => sum + batch.conflated, 0), 7);
  }
});

test("one update larger than the bound is cut", async () => {
  const made = buffer(5, "oldest");
  made.push(update(rows(12, 1)));
  const [batch] = (await drain(made)) as UpdateBatch<Row>[];
  assert.deepEqual(batch?.rows.map((row) => row.n), [7, 8, 9, 10, 11]);
  assert.equal(batch?.dropped, 7);
});

test("`fail` gives what fits, then the error", () => {
  const made = buffer(5, "fail");
  assert.equal(made.push(update(rows(5, 1))), undefined);
  assert.ok(made.push(update(rows(1, 1))) instanceof Overflow);
});

test("of forming rows the newest wait, of snapshots too", async () => {
  const made = buffer(100, "conflate");
  const forming = (n: number): Batch<Row> => ({ kind: "forming", rows: rows(1, 1, n) });
  for (let n = 0; n < 1_000; n += 1) {
    made.push(forming(n));
    made.push(snapshot(rows(2, 2, n)));
    made.push(update(rows(1, 1, n)));
  }
  const left = await drain(made);
  assert.deepEqual(left.map((batch) => batch.kind), ["forming", "snapshot", "update"]);
});

test("a reset takes back what was not read yet", async () => {
  const made = buffer(100, "conflate");
  const before = update(rows(1, 1));
  const after = update(rows(1, 1, 1));
  made.push(snapshot([]));
  made.push(before);
  made.push(after);
  const reset = (cursor: string, withdrawn: Row[]): Batch<Row> => {
    return { kind: "reset", cursor, reason: "recovered", withdrawn };
  };
  made.push(reset(before.cursor, rows(1, 1, 7)));
  made.push(reset(after.cursor, rows(1, 1, 8)));
  assert.deepEqual(await drain(made), [before, reset(before.cursor, rows(2, 1, 7))]);
});

test("readers that wait are served in order, and told of the end", async () => {
  const made = buffer(5, "conflate");
  const waiting = [made.next(), made.next(), made.next()];
  const first = update(rows(1, 1));
  made.push(first);
  made.end(new Error("over"));
  made.push(first);
  assert.deepEqual(await waiting[0], { done: false, value: first });
  await assert.rejects(waiting[1]!, /over/);
  await assert.rejects(waiting[2]!, /over/);
});
