-- When the player has shown that mail to the address reaches them. Not published: that an
-- address exists at all stays in PostgreSQL.

ALTER TABLE users ADD COLUMN email_confirmed_at timestamptz;
