-- P1: each journal goes on from its mark without a gap, each line from the one before it, and ends at
-- what its wallet says.
WITH lines AS (
    SELECT e.wallet_account_id, e.sequence, e.amount, e.balance_after,
           lag(e.sequence, 1, c.sequence_before) OVER journal AS sequence_before,
           lag(e.balance_after, 1, c.balance_before) OVER journal AS balance_before
      FROM new_entries e
      JOIN changed_wallets c ON c.id = e.wallet_account_id
    WINDOW journal AS (PARTITION BY e.wallet_account_id ORDER BY e.sequence)
), ends AS (
    SELECT DISTINCT ON (c.id) c.id, c.is_gone, c.balance, c.sequence, c.sequence_before,
           coalesce(e.balance_after, c.balance_before) AS last_balance,
           coalesce(e.sequence, c.sequence_before) AS last_sequence
      FROM changed_wallets c
      LEFT JOIN new_entries e ON e.wallet_account_id = c.id
     ORDER BY c.id, e.sequence DESC
), wrong AS (
    (SELECT format('wallet %s, entry %s: %s after %s gives %s, and the entry before it is number %s',
                   wallet_account_id, sequence, amount, balance_before, balance_after, sequence_before) AS violation
       FROM lines
      WHERE sequence <> sequence_before + 1 OR balance_after <> balance_before + amount LIMIT $1)
     UNION ALL
    (SELECT format('wallet %s has %s at sequence %s; its journal, read on from number %s, ends with %s at number %s',
                   id, balance, sequence, sequence_before, last_balance, last_sequence)
       FROM ends WHERE NOT is_gone AND (balance <> last_balance OR sequence <> last_sequence) LIMIT $1)
     UNION ALL
    (SELECT format('wallet %s is gone; it had %s at sequence %s', id, balance_before, sequence_before)
       FROM changed_wallets WHERE is_gone LIMIT $1)
)
SELECT (SELECT count(*) FROM changed_wallets) + (SELECT count(*) FROM new_entries) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations
