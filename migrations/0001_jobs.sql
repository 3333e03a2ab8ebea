-- Jobs that were submitted, so that they come back after a restart with what is known of them.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    sql TEXT NOT NULL,
    -- A JSON object: "table.key" to value.
    options TEXT NOT NULL,
    -- What it prints as: EXPLAIN.
    plan TEXT NOT NULL,
    -- What the next start of the server finds: only a running job is started again.
    state TEXT NOT NULL CHECK (state IN ('created', 'running', 'stopped', 'finished', 'failed')),
    reason TEXT,
    -- How often it was started: the first part of a live cursor.
    generation BIGINT NOT NULL DEFAULT 0,
    -- A JSON object: the figures when it last ended.
    figures TEXT,
    -- RFC 3339, UTC.
    created_at TEXT NOT NULL,
    started_at TEXT
);
