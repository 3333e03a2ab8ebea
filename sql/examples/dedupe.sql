-- Leaves out what repeats: a trade passes where price or volume differ from the one before.

CREATE TABLE trades (
    symbol STRING NOT NULL,
    price DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    ts TIMESTAMP(9) NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'market', 'rate' = '1000', 'seed' = '7');

CREATE TABLE changes (
    symbol STRING,
    ts TIMESTAMP(9),
    price DOUBLE,
    volume BIGINT
) WITH ('connector' = 'stdout');

INSERT INTO changes
SELECT symbol, ts, price, volume
FROM (
    SELECT
        *,
        LAG(price) OVER w AS price_before,
        LAG(volume) OVER w AS volume_before
    FROM trades
    WINDOW w AS (PARTITION BY symbol ORDER BY ts)
)
WHERE (price IS DISTINCT FROM price_before) OR (volume IS DISTINCT FROM volume_before);
