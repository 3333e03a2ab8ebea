-- One-minute bars with the volume-weighted average price, one final row per symbol and minute.

CREATE TABLE trades (
    symbol STRING NOT NULL,
    price DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    ts TIMESTAMP(9) NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'market', 'rate' = '1000', 'seed' = '7');

CREATE TABLE bars (
    symbol STRING,
    minute TIMESTAMP(9),
    open DOUBLE,
    high DOUBLE,
    low DOUBLE,
    close DOUBLE,
    volume BIGINT,
    vwap DOUBLE
) WITH ('connector' = 'stdout');

INSERT INTO bars
SELECT
    symbol,
    window_start,
    FIRST_VALUE(price ORDER BY ts),
    MAX(price),
    MIN(price),
    LAST_VALUE(price ORDER BY ts),
    SUM(volume),
    SUM(price * volume) / SUM(volume)
FROM TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
GROUP BY symbol, window_start, window_end;
