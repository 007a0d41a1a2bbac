-- P1: the journal of a wallet counts 1, 2, 3 … and each line continues the one before it.
WITH lines AS (
    SELECT wallet_account_id, sequence, amount, balance_after,
           lag(sequence, 1, 0::bigint) OVER journal AS sequence_before,
           lag(balance_after, 1, 0.00) OVER journal AS balance_before
      FROM wallet_entries
    WINDOW journal AS (PARTITION BY wallet_account_id ORDER BY sequence)
), wrong AS (
    SELECT format('wallet %s, entry %s: %s after %s gives %s, and the entry before it is number %s',
                  wallet_account_id, sequence, amount, balance_before, balance_after, sequence_before) AS violation
      FROM lines
     WHERE sequence <> sequence_before + 1 OR balance_after <> balance_before + amount
     LIMIT $1
)
SELECT (SELECT count(*) FROM wallet_entries) AS compared, ARRAY(SELECT violation FROM wrong) AS violations
