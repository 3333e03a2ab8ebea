-- Answers to requests with an Idempotency-Key, so that a repeated request is answered alike.
CREATE TABLE answers (
    -- A digest of who asks and of the key.
    key TEXT PRIMARY KEY,
    -- A digest of method, path and body.
    request TEXT NOT NULL,
    -- NULL while the first request is under way.
    status INTEGER,
    location TEXT,
    content_type TEXT,
    body TEXT,
    -- RFC 3339, UTC.
    created_at TEXT NOT NULL
);
