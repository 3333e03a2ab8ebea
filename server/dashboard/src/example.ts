// The text that a new editor begins with: it needs nothing but the server.

export const EXAMPLE = `-- Indicators and ten-second bars of a simulated market.
CREATE TABLE trades (
    symbol STRING NOT NULL,
    price DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    ts TIMESTAMP(9) NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '0.1' SECOND
) WITH ('connector' = 'market', 'rate' = '200', 'seed' = '7');

CREATE TABLE signals (
    symbol STRING,
    ts TIMESTAMP(9),
    price DOUBLE,
    sma_20 DOUBLE,
    rsi_14 DOUBLE
) WITH ('connector' = 'blackhole', 'key' = 'symbol');

CREATE TABLE candles (
    symbol STRING,
    window_start TIMESTAMP(9),
    open DOUBLE,
    high DOUBLE,
    low DOUBLE,
    close DOUBLE,
    volume BIGINT
) WITH ('connector' = 'blackhole', 'key' = 'symbol');

INSERT INTO signals
SELECT symbol, ts, price, sma(price, 20) OVER w, rsi(price, 14) OVER w
FROM trades
WINDOW w AS (PARTITION BY symbol ORDER BY ts);

INSERT INTO candles
SELECT
    symbol,
    window_start,
    FIRST_VALUE(price ORDER BY ts),
    MAX(price),
    MIN(price),
    LAST_VALUE(price ORDER BY ts),
    SUM(volume)
FROM TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND)
GROUP BY symbol, window_start;
`;
