-- What game providers call, and how they are answered (docs/providers.md). Counts and copies, not truth: they are
-- unlogged, so that they cost the log nothing, and a crash of PostgreSQL empties them (docs/decisions/0021).

CREATE UNLOGGED TABLE provider_minutes (  -- added: each process writes its own row, again and again, for a minute
    provider text NOT NULL,
    minute   timestamptz NOT NULL,
    process  uuid NOT NULL,
    answers  jsonb NOT NULL,                                -- {"<action> <code>": number}
    refusals jsonb NOT NULL,                                -- {"<the wallet's code>": number}
    seconds  bigint[] NOT NULL,                             -- the histogram of times, by countroom.games.recording
    PRIMARY KEY (provider, minute, process)
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE provider_exchanges (  -- added: the last raw calls and answers, secrets masked
    id             uuid PRIMARY KEY,                        -- UUIDv7: its order is time's
    provider       text NOT NULL,
    answered_at    timestamptz NOT NULL,
    action         text NOT NULL,
    method         text NOT NULL,
    query          text NOT NULL,
    headers        jsonb NOT NULL,                          -- [[name, value], …]
    body           text NOT NULL,
    body_bytes     integer,                                 -- of all of it; null: larger than the protocol's cap
    status         integer NOT NULL,
    code           text NOT NULL,
    answer         text NOT NULL,
    answer_bytes   integer NOT NULL,
    microseconds   bigint NOT NULL,
    key_print      text                                     -- of the key that had signed it; null: none, or not known
);
CREATE INDEX provider_exchanges_latest ON provider_exchanges (provider, id);
