-- The demo: a simulated market, indicators for every trade, one-minute bars, and alerts. The input
-- is recorded, so that the very same rows can be replayed.

CREATE TABLE trades (
    symbol STRING NOT NULL,
    price DOUBLE NOT NULL,
    volume BIGINT NOT NULL,
    ts TIMESTAMP(9) NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '0.1' SECOND
) WITH (
    'connector' = 'market',
    'rate' = '20000',
    'seed' = '7',
    'start' = '2024-01-02T14:29:50Z',
    'late.ratio' = '0.001',
    'duplicate.ratio' = '0.001',
    'anomaly.every' = '50000',
    'archive' = 'demo-data/recording'
);

CREATE TABLE indicators (
    symbol STRING,
    ts TIMESTAMP(9),
    price DOUBLE,
    volume BIGINT,
    rsi_14 DOUBLE,
    sma_20 DOUBLE,
    ema_12 DOUBLE,
    ema_26 DOUBLE,
    macd DOUBLE,
    anomaly DOUBLE
) WITH (
    'connector' = 'parquet',
    'path' = 'demo-data/indicators'
);

CREATE TABLE bars (
    symbol STRING,
    window_start TIMESTAMP(9),
    window_end TIMESTAMP(9),
    open DOUBLE,
    high DOUBLE,
    low DOUBLE,
    close DOUBLE,
    volume BIGINT,
    vwap DOUBLE,
    trades BIGINT
) WITH (
    'connector' = 'parquet',
    'path' = 'demo-data/bars'
);

CREATE TABLE alerts (
    symbol STRING,
    ts TIMESTAMP(9),
    price DOUBLE,
    rsi_14 DOUBLE,
    anomaly DOUBLE,
    reason STRING
) WITH (
    'connector' = 'parquet',
    'path' = 'demo-data/alerts'
);

CREATE VIEW signals AS
SELECT
    symbol,
    ts,
    price,
    volume,
    rsi(price, 14) OVER w AS rsi_14,
    sma(price, 20) OVER w AS sma_20,
    ema(price, 12) OVER w AS ema_12,
    ema(price, 26) OVER w AS ema_26,
    (macd(price, 12, 26, 9) OVER w)['macd'] AS macd,
    -- Volumes are closer to log-normal than to normal.
    volume_zscore(ln(1 + volume), 20) OVER w AS anomaly
FROM trades
WINDOW w AS (PARTITION BY symbol ORDER BY ts);

INSERT INTO indicators SELECT * FROM signals;

INSERT INTO bars
SELECT
    symbol,
    window_start,
    window_end,
    FIRST_VALUE(price ORDER BY ts) AS open,
    MAX(price) AS high,
    MIN(price) AS low,
    LAST_VALUE(price ORDER BY ts) AS close,
    SUM(volume) AS volume,
    SUM(price * volume) / SUM(volume) AS vwap,
    COUNT(*) AS trades
FROM TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
GROUP BY symbol, window_start, window_end;

INSERT INTO alerts
SELECT
    symbol,
    ts,
    price,
    rsi_14,
    anomaly,
    CASE WHEN anomaly > 4 THEN 'unusual volume' ELSE 'overbought' END AS reason
FROM signals
WHERE rsi_14 > 70 OR anomaly > 4;
