-- Their new entries. OFFSET 0 keeps the planner from joining the whole journal instead.
INSERT INTO new_entries
SELECT e.wallet_account_id, c.type = 'locked', e.sequence, e.transaction_id, e.amount, e.balance_after, e.created_at
  FROM changed_wallets c
 CROSS JOIN LATERAL (
       SELECT * FROM wallet_entries WHERE wallet_account_id = c.id AND sequence > c.sequence_before OFFSET 0) e
