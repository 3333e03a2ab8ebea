// Types, tested by the compiler: the build of the tests fails where one of these lines does.

import { test } from "node:test";
import type { Batch, Connection, Rest, SocketClass, Subscription } from "../src/index.js";
import { connect } from "../src/index.js";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const proves = <_Claim extends true>(): void => {};

interface Bar {
  symbol: string;
  close: number;
}

// Never called: only its types count.
async function check(connection: Connection, rest: Rest): Promise<void> {
  const bars = connection.subscribe<Bar>({ stream: "bars", columns: ["symbol", "close"], view: true });
  proves<Same<typeof bars, Subscription<Bar>>>();
  proves<Same<NonNullable<typeof bars.view>["rows"], ReadonlyMap<string, Bar>>>();
  // @ts-expect-error: no column of a Bar
  connection.subscribe<Bar>({ stream: "bars", columns: ["volume"] });
  // @ts-expect-error: no such mode
  connection.subscribe<Bar>({ stream: "bars", mode: "deltas" });
  // @ts-expect-error: a stream is needed
  connection.subscribe<Bar>({});
  for await (const batch of bars) {
    proves<Same<typeof batch, Batch<Bar>>>();
    // @ts-expect-error: a reset has no rows
    batch.rows;
    if (batch.kind === "update") {
      proves<Same<typeof batch.rows, Bar[]>>();
    }
    if (batch.kind === "reset") {
      proves<Same<typeof batch.withdrawn, Bar[]>>();
    }
  }
  const result = await rest.query<Bar>("SELECT symbol, close FROM bars");
  proves<Same<typeof result.rows, Bar[]>>();
  // @ts-expect-error: the view's rows are only read
  bars.view?.rows.delete("AAPL");
  // The browser's own class will do.
  proves<typeof WebSocket extends SocketClass ? true : false>();
  connect({ url: "http://localhost", WebSocket });
}

test("types hold", () => void check);
