-- Unusual volume, by three measures at once: a z-score of the logarithm, the ratio to the recent
-- mean, and the share of the last minute.

CREATE TABLE trades (
    symbol STRING NOT NULL,
    price DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    ts TIMESTAMP(9) NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'market', 'rate' = '1000', 'seed' = '7');

CREATE TABLE anomalies (
    symbol STRING,
    ts TIMESTAMP(9),
    volume BIGINT,
    score DOUBLE,
    relative DOUBLE,
    minute_share DOUBLE
) WITH ('connector' = 'stdout');

INSERT INTO anomalies
SELECT symbol, ts, volume, score, relative, minute_share
FROM (
    SELECT
        symbol,
        ts,
        volume,
        volume_zscore(ln(1 + volume), 60) OVER w AS score,
        rvol(volume, 60) OVER w AS relative,
        CAST(volume AS DOUBLE)
            / SUM(volume) OVER (w RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW)
            AS minute_share
    FROM trades
    WINDOW w AS (PARTITION BY symbol ORDER BY ts)
)
WHERE score > 4;
