// The connection against a socket fed by hand: what it sends, when it tries again, what it ignores.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, MalformedFrame, ServerError, type Batch, type ConnectionState } from "../src/index.js";
import { Dialled, ManualClock, settle, type FakeSocket, type Trade } from "./support.js";

const columns = [{ name: "symbol", type: "Utf8" }];

function subscribed(socket: FakeSocket, channel = 7, key = ["symbol"]): void {
  const { id } = socket.last();
  socket.say({ type: "subscribed", id, channel, stream: "trades", columns, key });
}

function set(options: Partial<Parameters<typeof connect>[0]> = {}) {
  const clock = new ManualClock();
  const dialled = new Dialled();
  const states: [ConnectionState, number | undefined][] = [];
  const errors: Error[] = [];
  const connection = connect({
    url: "http://localhost:8080",
    WebSocket: dialled.WebSocket,
    clock,
    onState: (state, wait) => states.push([state, wait]),
    onError: (error) => errors.push(error),
    ...options,
  });
  return { clock, dialled, states, errors, connection };
}

test("the address is that of the live endpoint, below any prefix", () => {
  const cases = [
    ["http://localhost:8080", "ws://localhost:8080/api/v1/live"],
    ["https://example.org/streams/", "wss://example.org/streams/api/v1/live"],
    ["ws://localhost:1", "ws://localhost:1/api/v1/live"],
  ];
  for (const [url, expected] of cases) {
    const { dialled, connection } = set({ url: url! });
    assert.equal(dialled.last.url, expected);
    connection.close();
  }
  assert.throws(() => set({ url: "no address" }), TypeError);
});

test("the token is the first frame, before any subscription", () => {
  const { dialled, connection } = set({ token: "secret" });
  connection.subscribe({ stream: "trades", where: "price > 1", columns: ["symbol"] });
  assert.deepEqual(dialled.last.sent, []);
  dialled.last.open();
  assert.deepEqual(dialled.last.sent, [
    { type: "auth", token: "secret" },
    { type: "subscribe", id: "1", stream: "trades", where: "price > 1", columns: ["symbol"] },
  ]);
});

test("tickets and tokens are asked for anew at every connection", async () => {
  let made = 0;
  const { clock, dialled } = set({ ticket: () => Promise.resolve(`t${(made += 1)}`) });
  await settle();
  assert.equal(dialled.last.url, "ws://localhost:8080/api/v1/live?ticket=t1");
  dialled.last.open();
  dialled.last.drop();
  clock.pass(500);
  await settle();
  assert.equal(dialled.all.length, 2);
  assert.equal(dialled.last.url, "ws://localhost:8080/api/v1/live?ticket=t2");
});

test("a ticket that cannot be had is tried again later", async () => {
  let fails = true;
  const { clock, dialled, errors } = set({
    ticket: () => (fails ? Promise.reject(new Error("no ticket")) : "t"),
  });
  await settle();
  assert.deepEqual(errors.map(String), ["Error: no ticket"]);
  fails = false;
  clock.pass(500);
  await settle();
  assert.equal(dialled.all.length, 1);
});

test("waits double up to the cap, and a frame with rows starts them over", () => {
  const { clock, dialled, states, connection } = set({ backoff: { baseMs: 100, capMs: 1_000 } });
  connection.subscribe({ stream: "trades" });
  const waits = () => states.filter(([state]) => state === "waiting").map(([, wait]) => wait);
  for (const wait of [100, 200, 400, 800, 1_000, 1_000]) {
    const before = dialled.all.length;
    dialled.last.drop();
    clock.pass(wait - 1);
    assert.equal(dialled.all.length, before, "too early");
    clock.pass(1);
    assert.equal(dialled.all.length, before + 1);
  }
  // To be accepted proves nothing: a proxy before a dead server accepts too.
  dialled.last.open();
  dialled.last.drop();
  clock.pass(1_000);
  dialled.last.open();
  subscribed(dialled.last);
  dialled.last.say({ type: "snapshot", channel: 7, cursor: "1-1-1", rows: [], more: false });
  dialled.last.drop();
  assert.deepEqual(waits(), [100, 200, 400, 800, 1_000, 1_000, 1_000, 100]);
});

test("waits have full jitter", () => {
  const { clock, dialled, states } = set({ backoff: { baseMs: 100 } });
  clock.chance = 0.25;
  dialled.last.drop();
  clock.chance = 0;
  clock.pass(25);
  dialled.last.drop();
  const waits = states.filter(([state]) => state === "waiting").map(([, wait]) => wait);
  assert.deepEqual(waits, [25, 0]);
});

test("a connection that does not open in time is given up", () => {
  const { clock, dialled, errors } = set({ openTimeoutMs: 1_000, backoff: { baseMs: 10 } });
  const first = dialled.last;
  clock.pass(1_010);
  assert.equal(dialled.all.length, 2);
  assert.match(String(errors[0]), /did not accept the connection in time/);
  first.open();
  assert.deepEqual(first.sent, [], "a late socket is ignored");
});

test("an error is a loss, whether a close follows or not", () => {
  const { clock, dialled, states } = set();
  dialled.last.onerror?.({} as never);
  dialled.last.drop();
  assert.deepEqual(states.map(([state]) => state), ["waiting"]);
  clock.pass(500);
  assert.equal(dialled.all.length, 2);
});

test("silence ends a connection; a heartbeat keeps it", () => {
  const { clock, dialled, states, errors } = set({ heartbeatTimeoutMs: 1_000 });
  dialled.last.open();
  for (let beat = 0; beat < 5; beat += 1) {
    clock.pass(900);
    dialled.last.say({ type: "heartbeat", at: "2024-01-02T14:30:00Z" });
  }
  assert.deepEqual(states.map(([state]) => state), ["open"]);
  clock.pass(1_000);
  assert.deepEqual(states.map(([state]) => state), ["open", "waiting"]);
  assert.match(String(errors[0]), /silent for 1000 ms/);
  assert.equal(dialled.last.closedWith, 4000);
});

test("a malformed frame ends the connection, which goes on where it was", () => {
  const bad: unknown[] = [
    "",
    "{",
    "null",
    "[]",
    "7",
    '{"type":7}',
    new ArrayBuffer(2),
    '{"type":"update","channel":7,"after":"1-1-1","rows":[]}',
    '{"type":"update","channel":7,"after":"1-1-1","cursor":"1-2","rows":[]}',
    '{"type":"update","channel":7,"after":"1-1-1","cursor":"1-1-2","rows":[7]}',
    '{"type":"update","channel":7,"after":"1-1-1","cursor":"1-1-2","rows":[],"conflated":-1}',
    '{"type":"snapshot","channel":-1,"cursor":"1-1-1","rows":[],"more":false}',
    '{"type":"subscribed","id":"1","channel":7,"stream":"t","columns":[{"name":1}],"key":[]}',
    '{"type":"reset","channel":7,"cursor":"1-1-1"}',
    '{"type":"error","message":"no code"}',
  ];
  for (const text of bad) {
    const { clock, dialled, errors, connection } = set();
    connection.subscribe({ stream: "trades" });
    dialled.last.open();
    subscribed(dialled.last);
    dialled.last.say({ type: "snapshot", channel: 7, cursor: "1-1-1", rows: [], more: false });
    dialled.last.sayText(text);
    assert.ok(errors[0] instanceof MalformedFrame, String(text));
    clock.pass(500);
    dialled.last.open();
    assert.equal(dialled.last.last().from, "1-1-1");
    connection.close();
  }
});

test("frames of unknown types and of unknown channels are left out", () => {
  const { dialled, errors, states } = set();
  dialled.last.open();
  dialled.last.say({ type: "novelty", channel: "x" });
  dialled.last.say({ type: "constructor" });
  dialled.last.say({ type: "update", channel: 9, after: "1-1-1", cursor: "1-1-2", rows: [] });
  dialled.last.say({ type: "pong" });
  assert.deepEqual(errors, []);
  assert.deepEqual(states.map(([state]) => state), ["open"]);
});

test("what an abandoned socket still delivers is ignored", () => {
  const { clock, dialled, connection } = set();
  const batches: Batch<Trade>[] = [];
  connection.subscribe<Trade>({ stream: "trades", onBatch: (batch) => batches.push(batch) });
  const first = dialled.last;
  first.open();
  subscribed(first);
  first.drop();
  clock.pass(500);
  dialled.last.open();
  first.say({ type: "snapshot", channel: 7, cursor: "1-1-1", rows: [], more: false });
  first.drop();
  first.sayText("{");
  assert.deepEqual(batches, []);
  assert.equal(connection.state, "open");
  assert.equal(dialled.all.length, 2);
});

test("a refused subscription ends, others live on", async () => {
  const { dialled, connection } = set();
  let end: Error | undefined;
  const refused = connection.subscribe({ stream: "nothing", onEnd: (error) => (end = error) });
  const other = connection.subscribe({ stream: "trades" });
  dialled.last.open();
  dialled.last.say({ type: "error", id: "1", code: "not-found", message: 'no stream "nothing"' });
  assert.equal(refused.state, "ended");
  assert.ok(end instanceof ServerError && end.code === "not-found");
  await assert.rejects(refused[Symbol.asyncIterator]().next(), /no stream "nothing"/);
  assert.equal(other.state, "pending");
  subscribed(dialled.last);
  assert.equal(other.state, "live");
});

test("a subscription that ran before is asked for again when it is refused", () => {
  const { clock, dialled, connection } = set({ backoff: { baseMs: 100 } });
  const suspended: string[] = [];
  const onSuspended = (error: Error) => suspended.push(error.message);
  const subscription = connection.subscribe({ stream: "trades", onSuspended });
  dialled.last.open();
  subscribed(dialled.last);
  dialled.last.say({ type: "snapshot", channel: 7, cursor: "1-1-1", rows: [], more: false });
  dialled.last.drop();
  clock.pass(100);
  dialled.last.open();
  for (const wait of [100, 200]) {
    const { id } = dialled.last.last();
    dialled.last.say({ type: "error", id, code: "not-found", message: "no such stream" });
    assert.equal(subscription.state, "pending");
    clock.pass(wait - 1);
    assert.equal(dialled.last.last().id, id);
    clock.pass(1);
    assert.equal(dialled.last.last().from, "1-1-1");
    assert.notEqual(dialled.last.last().id, id);
  }
  subscribed(dialled.last);
  assert.equal(subscription.state, "live");
  const { id } = dialled.last.last();
  dialled.last.say({ type: "unsubscribed", id, reason: "the job has stopped" });
  assert.equal(subscription.state, "pending");
  clock.pass(100);
  assert.equal(dialled.last.last().from, "1-1-1");
  assert.deepEqual(suspended, ["no such stream", "no such stream", "the job has stopped"]);
  const last = dialled.last.last().id;
  dialled.last.say({ type: "error", id: last, code: "invalid", message: "no such column" });
  assert.equal(subscription.state, "ended", "what is wrong stays wrong");
});

test("a server that is too busy at first is asked again", () => {
  const { clock, dialled, connection } = set({ backoff: { baseMs: 100 } });
  const subscription = connection.subscribe({ stream: "trades" });
  dialled.last.open();
  dialled.last.say({ type: "error", id: "1", code: "unavailable", message: "it starts" });
  clock.pass(100);
  subscribed(dialled.last);
  assert.equal(subscription.state, "live");
});

test("two equal subscriptions share a channel and get every row once", () => {
  const { dialled, connection } = set();
  const seen: string[][] = [[], []];
  for (const rows of seen) {
    connection.subscribe<Trade>({
      stream: "trades",
      onBatch: (batch) => rows.push(`${batch.kind} ${"cursor" in batch ? batch.cursor : ""}`),
    });
  }
  const socket = dialled.last;
  socket.open();
  const say = (type: string, more: object) => socket.say({ type, channel: 7, rows: [{ n: 1 }], ...more });
  const name = (id: string) =>
    socket.say({ type: "subscribed", id, channel: 7, stream: "trades", columns, key: [] });
  name("1");
  say("snapshot", { cursor: "1-1-1", more: false });
  say("update", { after: "1-1-1", cursor: "1-1-2" });
  name("2");
  say("snapshot", { cursor: "1-1-2", more: false });
  // Each frame comes once for each of them.
  for (let copy = 0; copy < 2; copy += 1) {
    say("update", { after: "1-1-2", cursor: "1-1-3" });
  }
  assert.deepEqual(seen, [
    ["snapshot 1-1-1", "update 1-1-2", "update 1-1-3"],
    ["snapshot 1-1-2", "update 1-1-3"],
  ]);
});

test("a subscription that is not answered is asked for again", () => {
  const { clock, dialled, connection } = set();
  connection.subscribe({ stream: "trades" });
  dialled.last.open();
  clock.pass(10_000);
  assert.deepEqual(dialled.last.sent, [
    { type: "subscribe", id: "1", stream: "trades" },
    { type: "unsubscribe", id: "1" },
    { type: "subscribe", id: "2", stream: "trades" },
  ]);
  subscribed(dialled.last);
  clock.pass(20_000);
  assert.equal(dialled.last.sent.length, 3);
});

test("a refused key ends the connection for good", () => {
  const { clock, dialled, states, errors, connection } = set({ token: "wrong" });
  const subscription = connection.subscribe({ stream: "trades" });
  dialled.last.open();
  dialled.last.say({ type: "error", code: "unauthorized", message: "this key is not known" });
  assert.equal(connection.state, "closed");
  assert.equal(subscription.state, "ended");
  assert.ok(errors[0] instanceof ServerError);
  clock.pass(1e9);
  assert.equal(dialled.all.length, 1);
  assert.deepEqual(states.map(([state]) => state), ["open", "closed"]);
  assert.equal(clock.pending, 0);
});

test("a server that closes on who it does not admit is not asked again", () => {
  const { clock, dialled, errors, connection } = set();
  dialled.last.open();
  dialled.last.drop(1008, "no auth frame came");
  assert.equal(connection.state, "closed");
  assert.deepEqual(errors.map((error) => [(error as ServerError).code, error.message]), [
    ["unauthorized", "no auth frame came"],
  ]);
  clock.pass(1e9);
  assert.equal(dialled.all.length, 1);
});

test("an unsubscribed stream is told to the server and delivers nothing more", () => {
  const { dialled, connection } = set();
  const batches: Batch<Trade>[] = [];
  const subscription = connection.subscribe<Trade>({
    stream: "trades",
    onBatch: (batch) => batches.push(batch),
  });
  dialled.last.open();
  subscribed(dialled.last);
  subscription.close();
  assert.deepEqual(dialled.last.last(), { type: "unsubscribe", id: "1" });
  dialled.last.say({ type: "snapshot", channel: 7, cursor: "1-1-1", rows: [], more: false });
  dialled.last.say({ type: "unsubscribed", id: "1" });
  assert.deepEqual(batches, []);
  assert.equal(subscription.state, "ended");
});

test("closing ends everything and leaves no timer", async () => {
  const { clock, dialled, connection } = set();
  const subscription = connection.subscribe({ stream: "trades" });
  const reading = subscription[Symbol.asyncIterator]().next();
  dialled.last.open();
  subscribed(dialled.last);
  connection.close();
  connection.close();
  assert.deepEqual(await reading, { done: true, value: undefined });
  assert.equal(dialled.last.closedWith, 1000);
  assert.equal(clock.pending, 0);
  assert.equal(connection.subscribe({ stream: "trades" }).state, "ended");
});

test("without a WebSocket class the error says what to do", () => {
  const saved = (globalThis as { WebSocket?: unknown }).WebSocket;
  (globalThis as { WebSocket?: unknown }).WebSocket = undefined;
  try {
    assert.throws(() => connect({ url: "http://localhost" }), /give a class as the option WebSocket/);
  } finally {
    (globalThis as { WebSocket?: unknown }).WebSocket = saved;
  }
});

test("a fault in a callback is reported and harms nobody", async () => {
  const { dialled, connection } = set();
  const seen: string[] = [];
  const uncaught: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => uncaught.push(error.message));
  const faulty = () => {
    throw new Error("mine");
  };
  connection.subscribe({ stream: "trades", onBatch: faulty });
  connection.subscribe({ stream: "trades", onBatch: (batch) => seen.push(batch.kind) });
  dialled.last.open();
  for (const id of ["1", "2"]) {
    dialled.last.say({ type: "subscribed", id, channel: 7, stream: "trades", columns, key: [] });
  }
  dialled.last.say({ type: "snapshot", channel: 7, cursor: "1-1-1", rows: [], more: false });
  await new Promise((resolve) => setImmediate(resolve));
  process.removeAllListeners("uncaughtException");
  for (const listener of listeners) {
    process.on("uncaughtException", listener);
  }
  assert.deepEqual(seen, ["snapshot"]);
  assert.deepEqual(uncaught, ["mine"]);
});
