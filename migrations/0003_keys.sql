-- API keys: who may use the server over the network, and for what. The keys themselves are not here.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    -- The SHA-256 of the key, in base64.
    digest TEXT NOT NULL UNIQUE,
    -- read, write, admin, with a space between them.
    scopes TEXT NOT NULL,
    -- RFC 3339, UTC.
    created_at TEXT NOT NULL,
    -- To about a minute.
    used_at TEXT,
    revoked_at TEXT
);
