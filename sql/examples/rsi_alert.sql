-- An alert when a symbol's RSI crosses 70 from below: once per crossing, not once per trade.

CREATE TABLE trades (
    symbol STRING NOT NULL,
    price DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    ts TIMESTAMP(9) NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'market', 'rate' = '1000', 'seed' = '7');

CREATE TABLE alerts (
    symbol STRING,
    ts TIMESTAMP(9),
    price DOUBLE,
    rsi DOUBLE
) WITH ('connector' = 'stdout');

CREATE VIEW strength AS
SELECT symbol, ts, price, rsi(price, 14) OVER (PARTITION BY symbol ORDER BY ts) AS rsi
FROM trades;

INSERT INTO alerts
SELECT symbol, ts, price, rsi
FROM (
    SELECT *, LAG(rsi) OVER (PARTITION BY symbol ORDER BY ts) AS before FROM strength
)
WHERE rsi > 70 AND before <= 70;
