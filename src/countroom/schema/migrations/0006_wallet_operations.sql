-- What the wallet needs to know every operation: withdrawals that end once, money that is owed,
-- bonus money that is taken away, and a version that tells whether what was read still stands.

ALTER TABLE wallet_accounts
    -- Added: what a reversed win could not take back; the next credits to this wallet repay it.
    ADD COLUMN receivable numeric(18,2) NOT NULL DEFAULT 0
        CONSTRAINT wallet_accounts_receivable_not_negative CHECK (receivable >= 0),
    -- Added: of a main wallet, how often something was written about its player in this currency.
    -- Who writes gives the version that he has read (docs/decisions/0011).
    ADD COLUMN version bigint NOT NULL DEFAULT 0;

CREATE FUNCTION refuse_stale(missing bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF missing <> 0 THEN
        RAISE EXCEPTION '% purses have moved on since they were read', missing USING ERRCODE = 'CR001';
    END IF;
END $$;

-- Bonus money is given and taken away: its rows are signed, as adjustments are.
ALTER TABLE transactions
    DROP CONSTRAINT transactions_amount_is_a_magnitude,
    ADD CONSTRAINT transactions_amount_is_a_magnitude CHECK (amount >= 0 OR type IN ('adjustment', 'bonus'));

-- A withdrawal ends once, as a bet is reversed once: the same rows, the same unique index (P4).
ALTER TABLE tombstones
    DROP CONSTRAINT tombstones_outcome_known,
    ADD CONSTRAINT tombstones_outcome_known
        CHECK (outcome IN ('reversed', 'unseen', 'repeated', 'settled', 'failed', 'cancelled'));

CREATE TABLE staff_postings (  -- added: who corrected a wallet by hand, and why. Never published
    transaction_id uuid PRIMARY KEY CONSTRAINT staff_postings_transaction_exists REFERENCES transactions,
    staff_id       uuid NOT NULL CONSTRAINT staff_postings_staff_exists REFERENCES staff,
    reason         text NOT NULL CONSTRAINT staff_postings_reason_given CHECK (length(reason) BETWEEN 1 AND 500),
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER staff_postings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON staff_postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The wallet of a transaction: read and guarded by the pass that writes it, and never deleted. The
-- row-by-row check of the key is a third of what a transaction's row costs (docs/decisions/0012).
CREATE TRIGGER wallet_accounts_never_deleted BEFORE DELETE OR TRUNCATE ON wallet_accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 180000 THEN
        ALTER TABLE transactions DROP CONSTRAINT transactions_wallet_exists;
        ALTER TABLE transactions ADD CONSTRAINT transactions_wallet_exists
            FOREIGN KEY (wallet_account_id) REFERENCES wallet_accounts NOT ENFORCED;
    END IF;
END $$;

-- What earlier versions left unsaid: a win that had been spent when it was reversed still has entries
-- that add up to what was missing. Two more lines say so, and the wallet owes it from now on.
WITH short AS (
    SELECT t.id AS win_id, t.wallet_account_id, t.wallet_type, t.user_id, t.currency, t.provider, t.game_id, t.game_round_id,
           t.request_hash, s.external_id || '/receivable' || CASE t.wallet_type WHEN 'bonus' THEN '/bonus' ELSE '' END AS external_id,
           j.left_over AS amount, gen_random_uuid() AS id, w.balance, w.sequence,
           row_number() OVER journal AS number, sum(j.left_over) OVER (PARTITION BY t.wallet_account_id) AS owed
      FROM tombstones s
      JOIN transactions t ON t.external_id IN (s.target_external_id, s.target_external_id || '/bonus')
      JOIN wallet_accounts w ON w.id = t.wallet_account_id
     CROSS JOIN LATERAL (SELECT sum(amount) AS left_over FROM wallet_entries e WHERE e.transaction_id = t.id) j
     WHERE s.shortfall > 0 AND s.outcome = 'reversed' AND j.left_over > 0
    WINDOW journal AS (PARTITION BY t.wallet_account_id ORDER BY s.created_at, t.id)
), booked AS (
    INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, metadata, processed_at, user_id,
                              wallet_type, currency, provider, game_id, game_round_id, request_hash, answer_balance)
    SELECT id, wallet_account_id, external_id, amount, 'adjustment', 'success', '{"kind": "receivable"}', now(), user_id,
           wallet_type, currency, provider, game_id, game_round_id, request_hash, balance
      FROM short
), lent AS (
    INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after)
    SELECT wallet_account_id, sequence + 2 * number - 1, id, amount, balance + amount FROM short
     UNION ALL
    SELECT wallet_account_id, sequence + 2 * number, win_id, -amount, balance FROM short
)
UPDATE wallet_accounts w
   SET sequence = w.sequence + 2 * o.lines, receivable = w.receivable + o.owed
  FROM (SELECT wallet_account_id, owed, count(*) AS lines FROM short GROUP BY wallet_account_id, owed) o
 WHERE w.id = o.wallet_account_id;
