// The REST helpers: which request each makes, and what becomes of refusals.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError, Rest } from "../src/index.js";

interface Asked {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: unknown;
}

function set(answer: { status?: number; body?: string; headers?: Record<string, string> } = {}) {
  const asked: Asked[] = [];
  const fake = (url: URL, init: RequestInit) => {
    asked.push({
      method: init.method!,
      url: String(url),
      headers: init.headers as Record<string, string>,
      body: init.body === undefined ? undefined : JSON.parse(String(init.body)),
    });
    const status = answer.status ?? 200;
    const body = status === 204 ? null : (answer.body ?? "{}");
    return Promise.resolve(new Response(body, { status, headers: answer.headers ?? {} }));
  };
  const rest = new Rest({
    url: "http://localhost:8080/under",
    token: () => Promise.resolve("secret"),
    fetch: fake as typeof fetch,
  });
  return { rest, asked };
}

test("each helper is one request", async () => {
  const { rest, asked } = set();
  const at = "http://localhost:8080/under/api/v1";
  await rest.jobs.list({ limit: 5 });
  await rest.jobs.get("a b");
  await rest.jobs.create({ name: "n", sql: "s" }, "once");
  await rest.jobs.check({ sql: "s" });
  await rest.jobs.stop("1");
  await rest.jobs.start("1");
  await rest.jobs.start("1", "empty");
  await rest.query("SELECT 1", { limit: 3 });
  await rest.ingest("trades", [{ price: 1 }], { wait: true });
  await rest.ticket();
  assert.deepEqual(
    asked.map(({ method, url, body }) => [method, url.replace(at, ""), body]),
    [
      ["GET", "/jobs?limit=5", undefined],
      ["GET", "/jobs/a%20b", undefined],
      ["POST", "/jobs", { name: "n", sql: "s" }],
      ["POST", "/jobs/check", { sql: "s" }],
      ["POST", "/jobs/1/stop", undefined],
      ["POST", "/jobs/1/start", { from: "state" }],
      ["POST", "/jobs/1/start", { from: "empty" }],
      ["POST", "/query", { sql: "SELECT 1", limit: 3 }],
      ["POST", "/ingest/trades?wait=committed", [{ price: 1 }]],
      ["POST", "/tickets", undefined],
    ],
  );
  assert.equal(asked[2]!.headers["idempotency-key"], "once");
  assert.ok(asked.every(({ headers }) => headers.authorization === "Bearer secret"));
});

test("an answer without a body is no value", async () => {
  const { rest } = set({ status: 204 });
  assert.equal(await rest.jobs.delete("1"), undefined);
});

test("a refusal holds the problem with its places", async () => {
  const errors = [{ message: "no column", line: 2, column: 8, length: 3 }];
  const body = JSON.stringify({ title: "invalid", status: 400, detail: "the SQL has a fault", errors });
  const { rest } = set({ status: 400, body });
  await assert.rejects(rest.jobs.create({ name: "n", sql: "s" }), (error) => {
    assert.ok(error instanceof RequestError);
    assert.equal(error.message, "the SQL has a fault");
    assert.equal(error.status, 400);
    assert.deepEqual(error.problem.errors, errors);
    return true;
  });
});

test("a refusal that is not the server's own still has its status", async () => {
  const { rest } = set({ status: 502, body: "<html>" });
  await assert.rejects(rest.jobs.list(), (error) => error instanceof RequestError && error.status === 502);
});

test("back-pressure says how long to wait", async () => {
  const { rest } = set({ status: 429, headers: { "retry-after": "2" } });
  await assert.rejects(
    rest.ingest("trades", []),
    (error) => error instanceof RequestError && error.retryAfterMs === 2_000,
  );
});
