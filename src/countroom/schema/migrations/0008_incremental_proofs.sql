-- The books are proved every minute since the last proof, and over everything once a day. What a
-- proof covered, and up to where the books have been read, is kept here.

ALTER TABLE proofs
    -- 'full': over everything. 'incremental': over what is new since the last proof.
    ADD COLUMN scope   text NOT NULL DEFAULT 'full' CONSTRAINT proofs_scope_known CHECK (scope IN ('full', 'incremental')),
    ADD COLUMN seconds real;                                -- that it took; null: proved before this was kept
CREATE INDEX proofs_latest_of_scope ON proofs (promise, scope, checked_at DESC);
CREATE INDEX proofs_broken ON proofs (promise, checked_at DESC) WHERE NOT holds;

-- Up to where a wallet's journal has been read. Written by the prover alone; a wallet without a mark
-- has been read up to nothing. No index names what changes, so updates stay on the page.
CREATE TABLE book_marks (  -- added
    wallet_account_id uuid PRIMARY KEY,
    sequence          bigint NOT NULL,
    balance           numeric(18,2) NOT NULL,
    receivable        numeric(18,2) NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE book_session_marks (  -- added: a session's sums when it was last read
    session_id uuid PRIMARY KEY,
    bet_amount numeric(18,2) NOT NULL,
    win_amount numeric(18,2) NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE book_horizon (  -- added: one row. What had been committed when the books were last read
    is_the_only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT book_horizon_is_one_row CHECK (is_the_only_row),
    snapshot        pg_snapshot NOT NULL,
    -- Whatever that snapshot does not show carries a later moment than this.
    read_from       timestamptz NOT NULL
);

-- Finds the tombstones of the last minutes. They are appended, so a range of pages is a range of time.
CREATE INDEX tombstones_by_time ON tombstones USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
