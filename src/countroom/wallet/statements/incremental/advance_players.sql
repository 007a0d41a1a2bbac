-- $1: what the snapshot of now does not show carries a later moment; null: as was known before.
INSERT INTO book_player_marks (user_id, snapshot, read_from)
SELECT user_id, pg_current_snapshot(), coalesce($1, read_from) FROM chosen_players
    ON CONFLICT (user_id) DO UPDATE SET snapshot = excluded.snapshot, read_from = excluded.read_from
