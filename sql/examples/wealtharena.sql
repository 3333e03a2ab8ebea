-- A market data job as it was written for Apache Flink, run here unchanged: LAG, AVG and STDDEV per
-- symbol in order of arrival, over two different ROWS frames in one SELECT.
-- Where Kafka is elsewhere: --option market_data_source.properties.bootstrap.servers=localhost:9092
-- The same job with event time and real indicators: wealtharena_indicators.sql.

        CREATE TABLE market_data_source (
            symbol STRING,
            timestamp STRING,
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
            proc_time AS PROCTIME()
        ) WITH (
            'connector' = 'kafka',
            'topic' = 'market-data',
            'properties.bootstrap.servers' = 'kafka:9092',
            'properties.group.id' = 'flink-processor',
            'format' = 'json'
        )
;

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
            'format' = 'json'
        )
;

        INSERT INTO processed_market_data
        SELECT 
            symbol,
            timestamp,
            price,
            volume,
            price - LAG(price, 1) OVER (PARTITION BY symbol ORDER BY proc_time) as price_change_1m,
            price - LAG(price, 5) OVER (PARTITION BY symbol ORDER BY proc_time) as price_change_5m,
            price - LAG(price, 15) OVER (PARTITION BY symbol ORDER BY proc_time) as price_change_15m,
            AVG(volume) OVER (PARTITION BY symbol ORDER BY proc_time ROWS BETWEEN 59 PRECEDING AND CURRENT ROW) as volume_avg_1h,
            STDDEV(price) OVER (PARTITION BY symbol ORDER BY proc_time ROWS BETWEEN 59 PRECEDING AND CURRENT ROW) as volatility_1h,
            -- RSI calculation (simplified)
            CASE 
                WHEN price > LAG(price, 1) OVER (PARTITION BY symbol ORDER BY proc_time) THEN 1.0
                ELSE 0.0
            END as rsi_14,
            -- SMA 20
            AVG(price) OVER (PARTITION BY symbol ORDER BY proc_time ROWS BETWEEN 19 PRECEDING AND CURRENT ROW) as sma_20,
            -- EMA calculations would require custom UDFs
            0.0 as ema_12,
            0.0 as ema_26,
            0.0 as macd,
            CASE 
                WHEN price > AVG(price) OVER (PARTITION BY symbol ORDER BY proc_time ROWS BETWEEN 19 PRECEDING AND CURRENT ROW) THEN 'BULLISH'
                ELSE 'BEARISH'
            END as signal_strength
        FROM market_data_source
;
