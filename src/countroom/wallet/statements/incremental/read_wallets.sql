-- Their wallets that are not as their marks say, and those that are gone, $1.
INSERT INTO changed_wallets
SELECT w.id, false, w.user_id, w.currency, w.type, w.balance, w.sequence, w.receivable,
       coalesce(m.balance, 0), coalesce(m.sequence, 0), coalesce(m.receivable, 0)
  FROM chosen_players p
 CROSS JOIN LATERAL (SELECT * FROM wallet_accounts WHERE user_id = p.user_id OFFSET 0) w
  LEFT JOIN LATERAL (SELECT * FROM book_marks WHERE wallet_account_id = w.id OFFSET 0) m ON true
 WHERE w.sequence <> coalesce(m.sequence, 0)
    OR w.balance <> coalesce(m.balance, 0)
    OR w.receivable <> coalesce(m.receivable, 0)
 UNION ALL
SELECT wallet_account_id, true, NULL, NULL, NULL, NULL, NULL, NULL, balance, sequence, receivable
  FROM book_marks
 WHERE wallet_account_id = ANY ($1::uuid[])
