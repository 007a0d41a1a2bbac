-- What the pipeline half keeps in PostgreSQL: what it could not do, and why.

CREATE TABLE dead_letters (  -- added: P9. Messages that cannot be stored in the warehouse
    id         uuid PRIMARY KEY,
    topic      text NOT NULL,
    position   bigint NOT NULL,                             -- of the change in the log, __lsn
    reason     text NOT NULL,
    body       bytea NOT NULL,
    body_hash  bytea NOT NULL GENERATED ALWAYS AS (sha256(body)) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The log is read again after a crash; rows written by one COPY share a position.
    CONSTRAINT dead_letters_once UNIQUE (topic, position, body_hash)
);
CREATE INDEX dead_letters_latest ON dead_letters (created_at DESC);

CREATE TABLE kpi_refusals (  -- added: P9. Days whose KPI row cannot be computed, tried again at each refresh
    day        date PRIMARY KEY,
    code       text NOT NULL,
    sentence   text NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now()
);
