// The async iterator of a subscription: when it keeps batches, how it ends.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, Overflow, type SubscribeOptions } from "../src/index.js";
import { FakeServer, ManualClock, type Trade } from "./support.js";

function set(options: Partial<SubscribeOptions<Trade>>) {
  const server = new FakeServer();
  const connection = connect({ url: "http://x", WebSocket: server.WebSocket, clock: new ManualClock() });
  const subscription = connection.subscribe<Trade>({ stream: "trades", ...options });
  server.accept();
  return { server, connection, subscription };
}

async function prices(subscription: AsyncIterable<{ rows?: Trade[] }>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const batch of subscription as AsyncIterable<{ rows: Trade[] }>) {
    all.push(...batch.rows.map((row) => row.price));
  }
  return all;
}

test("without a callback batches are kept from the beginning", async () => {
  const { server, connection, subscription } = set({});
  server.publish("AAPL", 1);
  server.publish("AAPL", 2);
  connection.close();
  assert.deepEqual(await prices(subscription as never), [1, 2]);
});

test("with a view nothing is kept until the iteration begins", async () => {
  const { server, connection, subscription } = set({ view: true });
  server.publish("AAPL", 1);
  const iterator = subscription[Symbol.asyncIterator]();
  server.publish("AAPL", 2);
  connection.close();
  const { value } = await iterator.next();
  assert.deepEqual(value?.kind === "update" && value.rows, [{ symbol: "AAPL", price: 2, n: 2 }]);
});

test("leaving the loop unsubscribes", async () => {
  const { server, subscription } = set({});
  server.publish("AAPL", 1);
  for await (const batch of subscription) {
    assert.equal(batch.kind, "snapshot");
    break;
  }
  assert.equal(subscription.state, "ended");
});

test("a reader that fell behind gets the newest row of each key", async () => {
  const { server, connection, subscription } = set({ buffer: { rows: 10 } });
  for (let price = 0; price < 100; price += 1) {
    server.publish(price % 2 === 0 ? "AAPL" : "MSFT", price);
  }
  connection.close();
  let conflated = 0;
  const rows: Trade[] = [];
  for await (const batch of subscription) {
    if (batch.kind === "update") {
      conflated += batch.conflated;
      rows.push(...batch.rows);
    }
  }
  assert.deepEqual(rows.map((row) => row.price), [98, 99]);
  assert.equal(conflated, 98);
});

test("a reader that asked to fail is told, and the server too", async () => {
  const { server, subscription } = set({ buffer: { rows: 3, overflow: "fail" } });
  for (let price = 0; price < 5; price += 1) {
    server.publish("AAPL", price);
  }
  await assert.rejects(prices(subscription as never), Overflow);
  assert.equal(subscription.state, "ended");
});

test("`from` with a view or changes is refused", () => {
  assert.throws(() => set({ from: "1-1-1", view: true }), TypeError);
  assert.throws(() => set({ from: "1-1-1", mode: "changes" }), TypeError);
});
