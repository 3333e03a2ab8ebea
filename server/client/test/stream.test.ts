// Whole streams through faults: what the reader has at the end is what the server has, with no row
// missing and none twice.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, type Batch, type Mode } from "../src/index.js";
import { FakeServer, ManualClock, type Trade } from "./support.js";

const symbols = ["AAPL", "MSFT", "TSLA", "NVDA", "AMZN"];

interface Run {
  batches: Batch<Trade>[];
  view: Map<string, Trade>;
  server: FakeServer;
  /** How many connections there were. */
  connections: number;
}

/** A run of 40 rows with whatever `prepare` does to the server, and `during` after each row. */
function run(
  mode: Mode,
  prepare: (server: FakeServer) => void,
  during: (server: FakeServer, row: number) => void = () => {},
): Run {
  const server = new FakeServer();
  const clock = new ManualClock();
  const batches: Batch<Trade>[] = [];
  for (const symbol of symbols) {
    server.publish(symbol, 1);
  }
  prepare(server);
  const connection = connect({ url: "http://x", WebSocket: server.WebSocket, clock });
  const subscription = connection.subscribe<Trade>({
    stream: "trades",
    mode,
    view: true,
    onBatch: (batch) => batches.push(batch),
  });
  server.accept();
  const recover = () => {
    while (connection.state !== "open") {
      clock.pass(500);
      server.accept();
    }
  };
  for (let row = 0; row < 40; row += 1) {
    server.publish(symbols[(row * 7) % symbols.length]!, row % 9 === 0 ? null : row % 4);
    during(server, row);
    clock.pass(1_000);
    recover();
  }
  for (let turn = 0; turn < 3; turn += 1) {
    server.publish("AAPL", 1000 + turn);
    recover();
  }
  const view = new Map(subscription.view!.rows);
  connection.close();
  return { batches, view, server, connections: server.connections };
}

/** No row twice, none missing from its first on: the rows of each key count up by one. */
function chained(batches: Batch<Trade>[]): void {
  const last = new Map<string, number>();
  for (const batch of batches) {
    if (batch.kind === "reset" || (batch.kind === "snapshot" && batch.first)) {
      last.clear();
    }
    if (batch.kind === "snapshot" || batch.kind === "update") {
      for (const row of batch.rows) {
        const before = last.get(row.symbol);
        if (before !== undefined && batch.kind === "update") {
          assert.equal(row.n, before + 1, `after row ${before} of ${row.symbol}`);
        }
        last.set(row.symbol, row.n);
      }
    }
  }
}

for (const mode of ["rows", "changes"] as const) {
  test(`a run without faults (${mode})`, () => {
    const { batches, view, server, connections } = run(mode, () => {});
    assert.deepEqual(view, server.latest());
    chained(batches);
    assert.equal(connections, 1);
    assert.equal(batches.flatMap((b) => (b.kind === "update" ? b.rows : [])).length, 43);
  });

  test(`the connection drops after every possible frame (${mode})`, () => {
    for (let point = 0; point < 46; point += 1) {
      const { batches, view, server, connections } = run(mode, (fake) => (fake.dropAfter = point));
      assert.equal(connections, 2, `dropped after frame ${point}`);
      assert.deepEqual(view, server.latest(), `dropped after frame ${point}`);
      chained(batches);
    }
  });

  test(`the connection drops after every row (${mode})`, () => {
    const { batches, view, server } = run(
      mode,
      () => {},
      (fake) => (fake.dropAfter = 0),
    );
    assert.deepEqual(view, server.latest());
    chained(batches);
  });

  test(`frames come twice (${mode})`, () => {
    const { batches, view, server } = run(mode, (fake) => (fake.mangle = (text) => [text, text]));
    assert.deepEqual(view, server.latest());
    chained(batches);
    assert.equal(batches.flatMap((b) => (b.kind === "update" ? b.rows : [])).length, 43);
  });

  test(`each frame in turn is lost, comes late, or is garbled (${mode})`, () => {
    for (let point = 2; point < 40; point += 1) {
      const faults: [string, (text: string) => string[]][] = [
        ["lost", () => []],
        ["garbled", (text) => [text.slice(0, text.length / 2)]],
        ["twice", (text) => [text, text]],
      ];
      for (const [name, fault] of faults) {
        let count = 0;
        const { batches, view, server } = run(mode, (fake) => {
          fake.mangle = (text) => ((count += 1) === point ? fault(text) : [text]);
        });
        assert.deepEqual(view, server.latest(), `frame ${point} ${name}`);
        chained(batches);
      }
      let count = 0;
      let late: string[] = [];
      const { batches, view, server } = run(mode, (fake) => {
        fake.mangle = (text) => {
          count += 1;
          if (count === point) {
            late = [text];
            return [];
          }
          const out = [text, ...(count === point + 2 ? late : [])];
          return out;
        };
      });
      assert.deepEqual(view, server.latest(), `frame ${point} late`);
      chained(batches);
    }
  });

  test(`the server is killed at every row, and loses what it had not committed (${mode})`, () => {
    for (let point = 0; point < 40; point += 1) {
      const { batches, view, server } = run(
        mode,
        () => {},
        (fake, row) => {
          if (row % 5 === 0) {
            fake.committed = fake.log.length;
          }
          if (row === point) {
            fake.kill();
          }
        },
      );
      assert.deepEqual(view, server.latest(), `killed after row ${point}`);
      chained(batches);
      const resets = batches.filter((batch) => batch.kind === "reset");
      assert.equal(resets.length, point % 5 === 0 ? 0 : 1, `killed after row ${point}`);
      // The rows that were not withdrawn are each there once, updates alone, no snapshot needed.
      const told = batches.flatMap((batch) =>
        batch.kind === "update" ? batch.rows.map((row) => `${row.symbol} ${row.n}`) : []);
      const stands = server.log.slice(symbols.length).map((row) => `${row.symbol} ${row.n}`);
      const once = new Set(told);
      assert.ok(stands.every((row) => once.has(row)), `killed after row ${point}`);
    }
  });
}

test("who is dropped in the middle of a reset resumes from before it", () => {
  for (let point = 0; point < 8; point += 1) {
    const server = new FakeServer();
    const clock = new ManualClock();
    symbols.forEach((symbol) => server.publish(symbol, 1));
    server.committed = server.log.length;
    const connection = connect({ url: "http://x", WebSocket: server.WebSocket, clock });
    const subscription = connection.subscribe<Trade>({ stream: "trades", view: true });
    server.accept();
    server.publish("AAPL", 2);
    const before = subscription.cursor;
    server.kill();
    server.publish("MSFT", 3);
    server.dropAfter = point;
    clock.pass(500);
    server.accept();
    if (point < 5) {
      // Dropped before the last of subscribed, reset, update, and two pages.
      assert.equal(subscription.cursor, before, `dropped after frame ${point}`);
      clock.pass(1_000);
      server.accept();
    }
    assert.deepEqual(new Map(subscription.view!.rows), server.latest(), `dropped after ${point}`);
    connection.close();
  }
});

test("a reset tells the withdrawn rows and takes them out of the view", () => {
  const server = new FakeServer();
  const clock = new ManualClock();
  server.publish("AAPL", 1);
  server.publish("MSFT", 2);
  server.committed = 2;
  const connection = connect({ url: "http://x", WebSocket: server.WebSocket, clock });
  const seen: unknown[] = [];
  const subscription = connection.subscribe<Trade>({
    stream: "trades",
    view: true,
    onBatch(batch) {
      if (batch.kind === "reset") {
        seen.push(batch.withdrawn.map((row) => row.symbol));
        seen.push([...subscription.view!.rows.keys()]);
      }
    },
  });
  server.accept();
  server.publish("TSLA", 3);
  server.publish("AAPL", 4);
  server.kill();
  clock.pass(500);
  server.accept();
  assert.deepEqual(seen, [["AAPL", "TSLA"], ["MSFT"]]);
  assert.deepEqual(subscription.view!.rows, server.latest());
});

test("a cursor from an earlier process goes on without a snapshot", async () => {
  const server = new FakeServer();
  const clock = new ManualClock();
  for (let price = 0; price < 6; price += 1) {
    server.publish("AAPL", price);
  }
  const connection = connect({ url: "http://x", WebSocket: server.WebSocket, clock });
  const from = server.cursor(4);
  const subscription = connection.subscribe<Trade>({ stream: "trades", from });
  server.accept();
  server.publish("AAPL", 6);
  connection.close();
  const prices: (number | null)[] = [];
  for await (const batch of subscription) {
    assert.equal(batch.kind, "update");
    prices.push(...batch.rows.map((row) => row.price));
  }
  assert.deepEqual(prices, [4, 5, 6]);
});

test("chance: drops, losses, repeats, garbling and kills together", () => {
  // A small generator of its own, so that a failure comes again.
  let seed = 0;
  const chance = () => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
  for (let start = 1; start <= 300; start += 1) {
    seed = start;
    const mode = start % 2 === 0 ? "rows" : "changes";
    const { batches, view, server } = run(
      mode,
      () => {},
      (fake, row) => {
        const one = chance();
        fake.mangle = (text) => {
          const other = chance();
          return other < 0.05 && row < 10 ? [] : other < 0.1 ? [text, text] : [text];
        };
        if (one < 0.1) {
          fake.dropAfter = Math.floor(chance() * 3);
        } else if (one < 0.2) {
          fake.committed = fake.log.length;
        } else if (one < 0.25) {
          fake.kill();
        }
        if (row >= 38) {
          fake.mangle = (text) => [text];
          fake.dropAfter = Number.POSITIVE_INFINITY;
        }
      },
    );
    assert.deepEqual(view, server.latest(), `start ${start}`);
    chained(batches);
  }
});
