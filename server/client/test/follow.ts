// Follows a stream of a real server whatever becomes of it, and in the end writes down the rows it
// has: node --experimental-websocket build/test/follow.js URL FOLDER. In FOLDER is `job.sql`, whose
// output `numbered` is followed. When `finish` appears there, the job is stopped and the rows go to
// `rows.csv`.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, Rest } from "../src/index.js";
import { comparePlaces, type Cursor } from "../src/cursor.js";

const [url, folder] = process.argv.slice(2) as [string, string];

interface Numbered {
  symbol: string;
  n: number;
  volume: number;
}

/** A reader that trusts the client: it appends updates, and takes back what a reset withdraws. */
const rows: { cursor: Cursor; row: Numbered }[] = [];
const counts = { snapshots: 0, resets: 0, withdrawn: 0, connections: 0 };
let ended: string | undefined;

const rest = new Rest({ url });
const sql = readFileSync(join(folder, "job.sql"), "utf8");
const job = await rest.jobs.create({ name: "numbered", sql });
const connection = connect({
  url,
  backoff: { baseMs: 50, capMs: 200 },
  onState: (state) => (counts.connections += state === "open" ? 1 : 0),
});
connection.subscribe<Numbered>({
  stream: "numbered",
  onSubscribed: () => (ended = undefined),
  onSuspended: (error) => (ended = error.message),
  onEnd: (error) => {
    if (error !== undefined) {
      throw error;
    }
  },
  onBatch(batch) {
    switch (batch.kind) {
      case "snapshot":
        // The first one is where the story begins; later ones tell nothing new.
        counts.snapshots += batch.first ? 1 : 0;
        if (rows.length === 0) {
          rows.push(...batch.rows.map((row) => ({ cursor: batch.cursor, row })));
        }
        break;
      case "update":
        if (batch.conflated + batch.dropped > 0) {
          throw new Error("rows were left out");
        }
        rows.push(...batch.rows.map((row) => ({ cursor: batch.cursor, row })));
        break;
      case "reset": {
        if (batch.reason !== "withdrawn") {
          throw new Error(`reset: ${batch.reason}`);
        }
        counts.resets += 1;
        const first = rows.findIndex(({ cursor }) => comparePlaces(cursor, batch.cursor) > 0);
        counts.withdrawn += first < 0 ? 0 : rows.splice(first).length;
        break;
      }
      default:
    }
  },
});

while (!existsSync(join(folder, "finish"))) {
  await sleep(20);
}
await rest.jobs.stop(job.id);
while ((await rest.jobs.get(job.id)).state !== "stopped" || ended === undefined) {
  await sleep(100);
}
connection.close();
const lines = rows.map(({ row }) => `${row.symbol},${row.n},${row.volume}`);
writeFileSync(join(folder, "rows.csv"), `${lines.join("\n")}\n`);
console.log(JSON.stringify({ rows: rows.length, ...counts }));
