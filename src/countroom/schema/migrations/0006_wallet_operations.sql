-- Every operation of the wallet: what it keeps beyond bets, wins and deposits.

ALTER TABLE wallet_accounts
    -- What the player owes this wallet since a reversed win had been spent; later credits repay it first.
    ADD COLUMN receivable numeric(18,2) NOT NULL DEFAULT 0
        CONSTRAINT wallet_accounts_receivable_not_negative CHECK (receivable >= 0);

ALTER TABLE transactions DROP CONSTRAINT transactions_amount_is_a_magnitude;
ALTER TABLE transactions ADD CONSTRAINT transactions_amount_is_a_magnitude
    CHECK (amount >= 0 OR type IN ('adjustment', 'bonus'));

-- 'settled', 'failed', 'cancelled': how a withdrawal ended. The unique index makes it end once.
ALTER TABLE tombstones DROP CONSTRAINT tombstones_outcome_known;
ALTER TABLE tombstones ADD CONSTRAINT tombstones_outcome_known
    CHECK (outcome IN ('reversed', 'unseen', 'repeated', 'settled', 'failed', 'cancelled'));

CREATE TABLE staff_postings (  -- added: who adjusted a balance, and why; never published
    transaction_id uuid PRIMARY KEY,
    staff_id       uuid NOT NULL,
    reason         text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);
