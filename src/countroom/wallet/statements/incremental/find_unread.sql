-- Players who have transactions that nobody has read yet. Ids are UUIDv7, so the primary key has transactions in their
-- order, and each is walked past once: those after $1, up to $2, for later ones may still be under way, and $3 of
-- them at most.
WITH next AS MATERIALIZED (
    SELECT id, user_id, created_at
      FROM transactions
     WHERE id > $1 AND id <= $2
     ORDER BY id
     LIMIT $3
)
SELECT ARRAY(SELECT p.user_id
               FROM (SELECT user_id, max(created_at) AS latest FROM next GROUP BY user_id) p
               LEFT JOIN book_player_marks m ON m.user_id = p.user_id
              WHERE p.latest >= coalesce(m.read_from, (SELECT begun_from FROM book_horizon))) AS players,
       CASE WHEN (SELECT count(*) FROM next) < $3 THEN greatest($1, $2)
            ELSE (SELECT id FROM next ORDER BY id DESC LIMIT 1)
       END AS seen_id
