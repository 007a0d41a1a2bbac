-- The transactions of the other new entries: what was written earlier and has been reversed or ended since.
INSERT INTO touched_transactions
SELECT m.transaction_id, coalesce(m.first_at = t.created_at, false), m.total, m.locked, t.external_id, t.user_id,
       t.wallet_account_id, t.wallet_type, t.currency, t.type, t.status, t.amount, t.fee, t.game_round_id,
       length(t.request_hash) = 32, false, t.created_at
  FROM (SELECT transaction_id, min(created_at) AS first_at, sum(amount) AS total,
               coalesce(sum(amount) FILTER (WHERE is_locked), 0) AS locked
          FROM new_entries e
         WHERE NOT EXISTS (SELECT FROM touched_transactions t WHERE t.id = e.transaction_id)
         GROUP BY transaction_id) m
  LEFT JOIN LATERAL (SELECT * FROM transactions WHERE id = m.transaction_id OFFSET 0) t ON true
