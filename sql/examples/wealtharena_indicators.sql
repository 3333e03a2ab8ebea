-- The job of wealtharena.sql done right: ordered by event time, with real RSI, EMA and MACD, and
-- NEUTRAL while an indicator is still warming up. It reads and writes the same topics and columns.

CREATE TABLE market_data_source (
    symbol STRING NOT NULL,
    timestamp STRING NOT NULL,
    price DOUBLE,
    volume BIGINT,
    high DOUBLE,
    low DOUBLE,
    open DOUBLE,
    change DOUBLE,
    change_percent DOUBLE,
    market_cap BIGINT,
    pe_ratio DOUBLE,
    dividend_yield DOUBLE,
    event_time AS CAST(timestamp AS TIMESTAMP),
    WATERMARK FOR event_time AS event_time - INTERVAL '5' SECOND
) WITH (
    'connector' = 'kafka',
    'topic' = 'market-data',
    'properties.bootstrap.servers' = 'kafka:9092',
    'properties.group.id' = 'flink-processor',
    'format' = 'json'
);

CREATE TABLE processed_market_data (
    symbol STRING,
    timestamp STRING,
    price DOUBLE,
    volume BIGINT,
    price_change_1m DOUBLE,
    price_change_5m DOUBLE,
    price_change_15m DOUBLE,
    volume_avg_1h DOUBLE,
    volatility_1h DOUBLE,
    rsi_14 DOUBLE,
    sma_20 DOUBLE,
    ema_12 DOUBLE,
    ema_26 DOUBLE,
    macd DOUBLE,
    signal_strength STRING
) WITH (
    'connector' = 'kafka',
    'topic' = 'processed-market-data',
    'properties.bootstrap.servers' = 'kafka:9092',
    'format' = 'json',
    'key' = 'symbol'
);

INSERT INTO processed_market_data
SELECT
    symbol,
    timestamp,
    price,
    volume,
    price - LAG(price, 1) OVER w AS price_change_1m,
    price - LAG(price, 5) OVER w AS price_change_5m,
    price - LAG(price, 15) OVER w AS price_change_15m,
    AVG(volume) OVER (w ROWS BETWEEN 59 PRECEDING AND CURRENT ROW) AS volume_avg_1h,
    STDDEV(price) OVER (w ROWS BETWEEN 59 PRECEDING AND CURRENT ROW) AS volatility_1h,
    rsi(price, 14) OVER w AS rsi_14,
    sma(price, 20) OVER w AS sma_20,
    ema(price, 12) OVER w AS ema_12,
    ema(price, 26) OVER w AS ema_26,
    (macd(price, 12, 26, 9) OVER w)['macd'] AS macd,
    COALESCE(
        CASE WHEN price > sma(price, 20) OVER w THEN 'BULLISH'
             WHEN price <= sma(price, 20) OVER w THEN 'BEARISH' END,
        'NEUTRAL'
    ) AS signal_strength
FROM market_data_source
WINDOW w AS (PARTITION BY symbol ORDER BY event_time);
