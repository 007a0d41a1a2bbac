-- P1: every balance is the sum of its journal, and what the last entry says is left.
WITH journal AS (
    SELECT wallet_account_id, sum(amount) AS total, count(*) AS entries, max(sequence) AS last
      FROM wallet_entries
     GROUP BY wallet_account_id
), compared AS (
    SELECT w.id, w.balance, w.sequence, coalesce(j.total, 0) AS total, coalesce(j.entries, 0) AS entries,
           coalesce(e.balance_after, 0) AS last_balance
      FROM wallet_accounts w
      LEFT JOIN journal j ON j.wallet_account_id = w.id
      LEFT JOIN wallet_entries e ON e.wallet_account_id = w.id AND e.sequence = j.last
), wrong AS (
    SELECT format('wallet %s has %s at sequence %s; its %s entries add up to %s and the last one says %s',
                  id, balance, sequence, entries, total, last_balance) AS violation
      FROM compared
     WHERE balance <> total OR balance <> last_balance OR sequence <> entries
     LIMIT $1
)
SELECT (SELECT count(*) FROM compared) AS compared, ARRAY(SELECT violation FROM wrong) AS violations
