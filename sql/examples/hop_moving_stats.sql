-- Moving statistics: the last minute of every symbol, every ten seconds.

CREATE TABLE trades (
    symbol STRING NOT NULL,
    price DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    ts TIMESTAMP(9) NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'market', 'rate' = '1000', 'seed' = '7');

CREATE TABLE moving (
    symbol STRING,
    window_start TIMESTAMP(9),
    window_end TIMESTAMP(9),
    trades BIGINT,
    average DOUBLE,
    deviation DOUBLE,
    spread DOUBLE
) WITH ('connector' = 'stdout');

INSERT INTO moving
SELECT
    symbol,
    window_start,
    window_end,
    COUNT(*),
    AVG(price),
    STDDEV(price),
    MAX(price) - MIN(price)
FROM HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)
GROUP BY symbol, window_start, window_end;
