-- Players who have transactions that nobody has read yet although their wallets are as their marks say: free rounds, and
-- whatever should have had an entry. Ids are UUIDv7, so the primary key has transactions in their order, and each is
-- walked past once: those after $1, up to $2, for later ones may still be under way, and $3 of them at most.
WITH next AS MATERIALIZED (
    SELECT id, user_id, created_at
      FROM transactions
     WHERE id > $1 AND id <= $2
     ORDER BY id
     LIMIT $3
), unmoved AS (
    SELECT p.user_id
      FROM (SELECT user_id, max(created_at) AS latest FROM next GROUP BY user_id) p
      LEFT JOIN book_player_marks m ON m.user_id = p.user_id
     WHERE p.latest >= coalesce(m.read_from, (SELECT begun_from FROM book_horizon))
       AND NOT EXISTS (
           SELECT
             FROM wallet_accounts w
             LEFT JOIN book_marks b ON b.wallet_account_id = w.id
            WHERE w.user_id = p.user_id
              AND (w.sequence <> coalesce(b.sequence, 0)
                   OR w.balance <> coalesce(b.balance, 0)
                   OR w.receivable <> coalesce(b.receivable, 0)))
)
SELECT ARRAY(SELECT user_id FROM unmoved) AS players,
       CASE WHEN (SELECT count(*) FROM next) < $3 THEN greatest($1, $2)
            ELSE (SELECT id FROM next ORDER BY id DESC LIMIT 1)
       END AS seen_id
