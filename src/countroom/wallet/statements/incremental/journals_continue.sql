-- P1: each journal goes on from its mark without a gap, each line from the one before it, and ends at
-- what its wallet says.
WITH lines AS (
    SELECT wallet_account_id, sequence, amount, balance_after,
           lag(sequence) OVER journal AS sequence_before,
           lag(balance_after) OVER journal AS balance_before,
           lead(sequence) OVER journal IS NULL AS is_last
      FROM new_entries
    WINDOW journal AS (PARTITION BY wallet_account_id ORDER BY sequence)
), first_or_wrong AS (
    SELECT * FROM lines
     WHERE sequence_before IS NULL OR sequence <> sequence_before + 1 OR balance_after <> balance_before + amount
), compared AS (
    SELECT l.wallet_account_id, l.sequence, l.amount, l.balance_after,
           coalesce(l.sequence_before, c.sequence_before) AS sequence_before,
           coalesce(l.balance_before, c.balance_before) AS balance_before
      FROM first_or_wrong l
      JOIN changed_wallets c ON c.id = l.wallet_account_id
), wrong AS (
    (SELECT format('wallet %s, entry %s: %s after %s gives %s, and the entry before it is number %s',
                   wallet_account_id, sequence, amount, balance_before, balance_after, sequence_before) AS violation
       FROM compared
      WHERE sequence <> sequence_before + 1 OR balance_after <> balance_before + amount LIMIT $1)
     UNION ALL
    (SELECT format('wallet %s has %s at sequence %s; its journal, read on from number %s, ends with %s at number %s',
                   c.id, c.balance, c.sequence, c.sequence_before,
                   coalesce(l.balance_after, c.balance_before), coalesce(l.sequence, c.sequence_before))
       FROM changed_wallets c
       LEFT JOIN (SELECT * FROM lines WHERE is_last) l ON l.wallet_account_id = c.id
      WHERE NOT c.is_gone
        AND (c.balance <> coalesce(l.balance_after, c.balance_before)
             OR c.sequence <> coalesce(l.sequence, c.sequence_before)) LIMIT $1)
     UNION ALL
    (SELECT format('wallet %s is gone; it had %s at sequence %s', id, balance_before, sequence_before)
       FROM changed_wallets WHERE is_gone LIMIT $1)
)
SELECT (SELECT count(*) FROM changed_wallets) + (SELECT count(*) FROM new_entries) AS compared,
       ARRAY(SELECT violation FROM wrong) AS violations
