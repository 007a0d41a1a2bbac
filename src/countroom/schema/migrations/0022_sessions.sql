-- Game sessions end: by time, by a newer one, and at once when their player may not play any more.

CREATE TYPE game_session_end AS ENUM (
    'idle', 'lifetime',     -- nobody played for too long; or for too long altogether
    'unused',               -- launched, and never came to be played
    'replaced',             -- the same player launched the same game again
    'account', 'exclusion', -- the account was blocked or closed; the player was excluded
    'player', 'staff'       -- who ended it on purpose
);

ALTER TABLE game_sessions
    ADD COLUMN last_played_at timestamptz,                  -- added: of the last bet or win, for the idle time
    ADD COLUMN token_used_at timestamptz,                   -- added: the launch token works once (decisions/0018)
    ADD COLUMN ended_because game_session_end;              -- added: what support is asked

-- One player plays one game in one purse once at a time. What earlier versions left open is as if replaced.
UPDATE game_sessions s
   SET status = 'closed', closed_at = now(), ended_because = 'replaced'
 WHERE status = 'open'
   AND EXISTS (SELECT FROM game_sessions newer
                WHERE newer.user_id = s.user_id AND newer.game_id = s.game_id AND newer.currency = s.currency
                  AND newer.status = 'open' AND (newer.opened_at, newer.id) > (s.opened_at, s.id));
CREATE UNIQUE INDEX game_sessions_one_open_at_a_time ON game_sessions (user_id, game_id, currency)
    WHERE status = 'open';

-- Whoever takes an account out of "active", by whatever way, ends its sessions in the same transaction (P7).
-- The purses are locked first: so does the write path, which then updates the sessions' sums.
CREATE FUNCTION end_sessions_of_gone_players() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM wallet_accounts WHERE user_id = NEW.id AND type = 'main' ORDER BY id FOR UPDATE;
    UPDATE game_sessions
       SET status = 'closed', closed_at = now(), ended_because = 'account'
     WHERE user_id = NEW.id AND status = 'open';
    RETURN NULL;
END $$;
CREATE TRIGGER users_status_ends_sessions AFTER UPDATE OF status ON users
    FOR EACH ROW WHEN (OLD.status = 'active' AND NEW.status <> 'active') EXECUTE FUNCTION end_sessions_of_gone_players();
