// Drives a real browser over the page of a real server: node test/browser.mjs URL CHROMIUM FOLDER.
// Pictures of what was seen go into FOLDER. It ends with 0 when everything was as it should be.

import assert from "node:assert/strict";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [url, executablePath, folder] = process.argv.slice(2);
/** How long anything may take on a busy machine, in milliseconds. */
const PATIENCE = 60_000;

const TABLES = `CREATE TABLE trades (
    symbol STRING NOT NULL, price DOUBLE NOT NULL, volume BIGINT NOT NULL,
    ts TIMESTAMP(9) NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '0.1' SECOND
) WITH ('connector' = 'market', 'rate' = '500', 'seed' = '7');
CREATE TABLE prices (symbol STRING, ts TIMESTAMP(9), price DOUBLE, sma_5 DOUBLE)
WITH ('connector' = 'blackhole', 'key' = 'symbol');
CREATE TABLE candles (
    symbol STRING, window_start TIMESTAMP(9),
    open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume BIGINT
) WITH ('connector' = 'blackhole', 'key' = 'symbol');
`;
const SQL = `${TABLES}
INSERT INTO prices SELECT symbol, ts, price, sma(price, 5) OVER w
FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY ts);
INSERT INTO candles SELECT symbol, window_start, FIRST_VALUE(price ORDER BY ts), MAX(price),
    MIN(price), LAST_VALUE(price ORDER BY ts), SUM(volume)
FROM TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' SECOND) GROUP BY symbol, window_start;
`;

async function submit(name, sql) {
  const response = await fetch(new URL("api/v1/jobs", url), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name, sql }),
  });
  assert.equal(response.status, 201, await response.text());
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const faults = [];

/** A page of its own, whose every complaint and every request elsewhere is a fault. */
async function open(hash, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => faults.push(`uncaught: ${error.stack}`));
  page.on("console", (message) => {
    // A refused request is shown there too, even where the page deals with it.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
      faults.push(`console: ${message.text()}`);
    }
  });
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(url).host) {
      faults.push(`asked elsewhere: ${request.url()}`);
    }
  });
  await page.goto(new URL(`/${hash}`, url).href);
  return page;
}

const shot = (page, name, options = {}) => page.screenshot({ path: join(folder, `${name}.png`), ...options });

/** Waits until a function of the page gives something true. */
const until = (page, seen, argument) =>
  page.waitForFunction(seen, argument, { timeout: PATIENCE });

/** How many pixels of the chart are neither of its ground nor of its grid. */
const drawn = (page) => page.evaluate(() => {
  let count = 0;
  for (const canvas of document.querySelectorAll(".canvas canvas")) {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue, alpha] = data.slice(at, at + 4);
      count += alpha > 200 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60 ? 1 : 0;
    }
  }
  return count;
});

const steps = {
  async "the empty page says what to do"() {
    const page = await open("");
    await page.getByText("No job yet.").waitFor();
    await shot(page, "empty");
    await page.getByRole("link", { name: "Submit one" }).click();
    await page.getByLabel("SQL of the job").waitFor();
  },

  async "a job is shown with its state and rates"() {
    await submit("market", SQL);
    const page = await open("");
    const row = page.getByRole("row").filter({ hasText: "market" }).first();
    await row.getByText("running").waitFor();
    await until(page, () => /\d\/s/.test(document.querySelector(".jobs tbody tr").textContent));
    await row.getByRole("button", { name: "market", exact: true }).click();
    await page.getByRole("button", { name: "Watch prices" }).waitFor();
    await shot(page, "job", { fullPage: true });
  },

  async "rows arrive in the table and change there"() {
    const page = await open("#live/prices");
    await until(page, () => document.querySelectorAll(".live tbody tr").length >= 3);
    const before = await page.locator(".live tbody").innerText();
    await until(page, (old) => document.querySelector(".live tbody").innerText !== old, before);
    const keys = await page.locator(".live tbody th").allInnerTexts();
    assert.deepEqual(keys, [...new Set(keys)].sort(), "each key once, in their order");
    await page.getByRole("button", { name: "symbol" }).click();
    await until(page, () => {
      const shown = [...document.querySelectorAll(".live tbody th")].map((cell) => cell.innerText);
      return shown.join() === [...shown].sort().reverse().join();
    });
  },

  async "a chart of the chosen key draws"() {
    const page = await open("#live/prices", { colorScheme: "dark" });
    await until(page, () => document.querySelectorAll(".live tbody tr").length >= 2);
    await page.locator(".live tbody th button").nth(1).click();
    const key = await page.locator(".live tbody th").nth(1).innerText();
    await until(page, () => Number(document.querySelector(".canvas").dataset.points) >= 5);
    assert.equal(await page.locator("#chart h3").innerText(), key);
    assert.ok(await drawn(page) > 100, "lines are drawn");
    await shot(page, "lines-dark");
    await page.getByRole("button", { name: "Light" }).click();
    await shot(page, "lines-light");
  },

  async "bars draw as candles"() {
    const page = await open("#live/candles", { colorScheme: "light" });
    await until(page, () => Number(document.querySelector(".canvas").dataset.points) >= 3);
    assert.ok(await drawn(page) > 100, "candles are drawn");
    await shot(page, "candles-light");
  },

  async "a condition narrows the stream, and a wrong one says why"() {
    const page = await open("#live/prices");
    await until(page, () => document.querySelectorAll(".live tbody tr").length >= 2);
    const key = await page.locator(".live tbody th").first().innerText();
    await page.getByLabel("Where").fill(`symbol = '${key}'`);
    await page.getByRole("button", { name: "Apply" }).click();
    await until(page, () => document.querySelectorAll(".live tbody tr").length === 1);
    await page.getByLabel("Where").fill("nonsense > 1");
    await page.getByRole("button", { name: "Apply" }).click();
    await page.locator("#stream-error").filter({ hasText: "nonsense" }).waitFor();
    await shot(page, "condition");
  },

  async "a fault in the SQL is marked at its place"() {
    const page = await open("#submit");
    const area = page.getByLabel("SQL of the job");
    await page.getByText("This can run.").waitFor();
    const wrong = SQL.replace("SELECT symbol, ts, price, sma", "SELECT symbol, ts, prize, sma");
    await area.fill(wrong);
    const before = wrong.slice(0, wrong.indexOf("prize")).split("\n");
    const place = `line ${before.length}, column ${before.at(-1).length + 1}`;
    await page.locator("mark", { hasText: /^prize$/ }).waitFor();
    const fault = page.locator(".faults button").first();
    assert.equal((await fault.innerText()).split("\n")[0], place);
    await shot(page, "fault-light");
    await fault.click();
    const selected = await area.evaluate((it) => it.value.slice(it.selectionStart, it.selectionEnd));
    assert.equal(selected, "prize");
    // To submit it all the same changes nothing but says it again.
    await page.getByLabel("Name of the job").fill("wrong");
    await page.getByRole("button", { name: "Submit" }).click();
    await page.locator("mark", { hasText: /^prize$/ }).waitFor();
  },

  async "a right text is submitted, stopped, started and deleted"() {
    const page = await open("#submit", { colorScheme: "dark" });
    await page.getByLabel("SQL of the job").fill(SQL.replace(/\b(prices|candles)\b/g, "$1_two"));
    await page.getByText("This can run.").waitFor();
    await shot(page, "submit-dark");
    await page.getByLabel("Name of the job").fill("second");
    await page.keyboard.press("Control+Enter");
    const row = page.getByRole("row").filter({ hasText: "second" });
    await row.getByText("running").waitFor();
    const press = async (button, answer) => {
      await row.getByRole("button", { name: `${button} second` }).click();
      await page.getByRole("dialog").getByRole("button", { name: answer, exact: true }).click();
    };
    await row.getByRole("button", { name: "Stop second" }).click();
    await shot(page, "confirm");
    await page.keyboard.press("Escape");
    await press("Stop", "Stop");
    await row.getByText("stopped").waitFor();
    await press("Start", "From its state");
    await row.getByText("running").waitFor();
    await press("Delete", "Delete");
    await row.waitFor({ state: "detached" });
    await page.getByRole("row").filter({ hasText: "market" }).first().waitFor();
  },

  async "a narrow window holds everything"() {
    const page = await open("#live/prices", { colorScheme: "dark", viewport: { width: 390, height: 844 } });
    await until(page, () => Number(document.querySelector(".canvas").dataset.points) >= 5);
    await shot(page, "narrow", { fullPage: true });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 390, `the page is ${width} pixels wide`);
  },
};

let failed = false;
for (const [name, step] of Object.entries(steps)) {
  const since = performance.now();
  try {
    await step();
    assert.deepEqual(faults, []);
    console.log(`ok    ${name} (${Math.round(performance.now() - since)} ms)`);
  } catch (error) {
    failed = true;
    console.log(`FAIL  ${name}\n${error.stack}\n${faults.join("\n")}`);
    const pages = browser.contexts().flatMap((context) => context.pages());
    await pages.at(-1)?.screenshot({ path: join(folder, "failed.png") });
    break;
  }
  for (const context of browser.contexts()) {
    await context.close();
  }
}
await browser.close();
process.exitCode = failed ? 1 : 0;
