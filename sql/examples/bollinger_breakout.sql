-- Trades outside their Bollinger bands: 20 trades, two standard deviations.

CREATE TABLE trades (
    symbol STRING NOT NULL,
    price DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    ts TIMESTAMP(9) NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'market', 'rate' = '1000', 'seed' = '7');

CREATE TABLE breakouts (
    symbol STRING,
    ts TIMESTAMP(9),
    price DOUBLE,
    upper DOUBLE,
    lower DOUBLE,
    direction STRING
) WITH ('connector' = 'stdout');

INSERT INTO breakouts
SELECT
    symbol,
    ts,
    price,
    bands['upper'],
    bands['lower'],
    CASE WHEN price > bands['upper'] THEN 'up' ELSE 'down' END
FROM (
    SELECT *, bbands(price, 20, 2, 2) OVER (PARTITION BY symbol ORDER BY ts) AS bands FROM trades
)
WHERE price > bands['upper'] OR price < bands['lower'];
