-- Every wallet that is not as its mark says. Both tables are read from end to end: they have a row
-- a wallet and not a row a bet, and an index on what changes would cost every bet.
INSERT INTO changed_wallets
SELECT coalesce(w.id, m.wallet_account_id), w.id IS NULL, w.user_id, w.currency, w.type,
       w.balance, w.sequence, w.receivable,
       coalesce(m.balance, 0), coalesce(m.sequence, 0), coalesce(m.receivable, 0)
  FROM wallet_accounts w
  FULL JOIN book_marks m ON m.wallet_account_id = w.id
 WHERE w.id IS NULL
    OR w.sequence <> coalesce(m.sequence, 0)
    OR w.balance <> coalesce(m.balance, 0)
    OR w.receivable <> coalesce(m.receivable, 0)
