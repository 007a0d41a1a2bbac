-- The marks follow what their wallets say, also where that is wrong: the violation is kept by its proof,
-- and the next proof looks at what is new.
INSERT INTO book_marks (wallet_account_id, sequence, balance, receivable)
SELECT id, sequence, balance, receivable FROM changed_wallets WHERE NOT is_gone
    ON CONFLICT (wallet_account_id) DO UPDATE
   SET sequence = excluded.sequence, balance = excluded.balance, receivable = excluded.receivable
