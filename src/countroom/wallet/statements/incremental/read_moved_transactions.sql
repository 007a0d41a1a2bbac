-- The transactions of the new entries. One is new when its first entry, which carries its own moment,
-- is among them.
INSERT INTO touched_transactions
SELECT m.transaction_id, coalesce(m.first_at = t.created_at, false), m.total, m.locked, t.external_id, t.user_id,
       t.wallet_account_id, t.wallet_type, t.currency, t.type, t.status, t.amount, t.fee, t.game_round_id,
       length(t.request_hash) = 32
  FROM (SELECT e.transaction_id, min(e.created_at) AS first_at, sum(e.amount) AS total,
               coalesce(sum(e.amount) FILTER (WHERE c.type = 'locked'), 0) AS locked
          FROM new_entries e
          JOIN changed_wallets c ON c.id = e.wallet_account_id
         GROUP BY e.transaction_id) m
  LEFT JOIN LATERAL (SELECT * FROM transactions WHERE id = m.transaction_id OFFSET 0) t ON true
