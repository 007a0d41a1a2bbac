-- The players of this part, $1, and up to where each has been read.
INSERT INTO chosen_players
SELECT p.user_id, coalesce(m.snapshot, h.begun_snapshot), coalesce(m.read_from, h.begun_from)
  FROM unnest($1::uuid[]) AS p (user_id)
 CROSS JOIN book_horizon h
  LEFT JOIN LATERAL (SELECT snapshot, read_from FROM book_player_marks WHERE user_id = p.user_id OFFSET 0) m ON true
