-- The seven tables of the specification, with what it implies and what a real operator
-- needs. A column that the specification does not name carries its reason.
--
-- Enumerations have this file as their one source: countroom/schema/enumerations.py is
-- generated from the migrated database, and a test compares them.

CREATE TYPE kyc_status          AS ENUM ('pending', 'verified', 'rejected');
CREATE TYPE two_factor_type     AS ENUM ('totp', 'sms', 'email');
CREATE TYPE user_status         AS ENUM ('active', 'blocked', 'closed');
CREATE TYPE wallet_type         AS ENUM ('main', 'bonus', 'locked');
CREATE TYPE transaction_type    AS ENUM ('deposit', 'withdrawal', 'bet', 'win', 'bonus', 'adjustment');
CREATE TYPE transaction_status  AS ENUM ('pending', 'success', 'failed', 'cancelled');
CREATE TYPE game_volatility     AS ENUM ('low', 'medium', 'high');
CREATE TYPE game_genre          AS ENUM ('slots', 'table', 'live', 'crash', 'instant');
CREATE TYPE game_session_status AS ENUM ('open', 'closed', 'failed');
CREATE TYPE game_round_status   AS ENUM ('open', 'settled', 'cancelled', 'unfinished');
CREATE TYPE payment_type        AS ENUM ('deposit', 'withdrawal');
CREATE TYPE payment_status      AS ENUM ('pending', 'processing', 'success', 'failed');
CREATE TYPE payment_provider    AS ENUM ('stripe', 'paypal', 'sandbox');
CREATE TYPE report_format       AS ENUM ('csv', 'excel', 'json');
CREATE TYPE staff_role          AS ENUM ('admin', 'cashier', 'analyst', 'compliance', 'support');

CREATE DOMAIN currency_code AS char(3) CONSTRAINT currency_code_is_iso_4217 CHECK (VALUE ~ '^[A-Z]{3}$');

-- Who plays -------------------------------------------------------------------------------

CREATE TABLE users (
    id                          uuid PRIMARY KEY,
    telegram_id                 text CONSTRAINT users_telegram_id_unique UNIQUE,
    email                       text CONSTRAINT users_email_unique UNIQUE
                                CONSTRAINT users_email_is_lower_case CHECK (email = lower(email)),
    username                    text,
    first_name                  text,
    last_name                   text,
    password_hash               text,                       -- null: signs in through Telegram only
    kyc_status                  kyc_status NOT NULL DEFAULT 'pending',
    responsible_gaming_settings jsonb NOT NULL DEFAULT '{}',
    two_factor_enabled          boolean NOT NULL DEFAULT false,
    two_factor_type             two_factor_type,
    country                     char(2)                     -- added: which jurisdiction's rules hold
                                CONSTRAINT users_country_is_iso_3166 CHECK (country ~ '^[A-Z]{2}$'),
    birth_date                  date,                       -- added: nobody under age plays
    status                      user_status NOT NULL DEFAULT 'active',  -- added: closing an account
    created_at                  timestamptz NOT NULL DEFAULT now(),
    updated_at                  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_have_a_way_in CHECK (email IS NOT NULL OR telegram_id IS NOT NULL)
);

-- Whose money is where --------------------------------------------------------------------

CREATE TABLE wallet_accounts (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL CONSTRAINT wallet_accounts_user_exists REFERENCES users,
    currency   currency_code NOT NULL,
    type       wallet_type NOT NULL,
    balance    numeric(18,2) NOT NULL DEFAULT 0
               CONSTRAINT wallet_accounts_never_negative CHECK (balance >= 0),      -- P3
    sequence   bigint NOT NULL DEFAULT 0,                   -- added: entries so far, so a gap shows (P1)
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT wallet_accounts_one_of_a_kind UNIQUE (user_id, currency, type)
) WITH (fillfactor = 70);    -- a balance is updated in place: no index names it, so updates stay on the page

-- Which games, whose ----------------------------------------------------------------------

CREATE TABLE game_providers (
    id               uuid PRIMARY KEY,
    code             text NOT NULL CONSTRAINT game_providers_code_unique UNIQUE
                     CONSTRAINT game_providers_code_fits_an_address CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
    title            text NOT NULL,
    dialect          text NOT NULL,                         -- names a file in games/dialects/
    launch_url       text NOT NULL,
    signing_keys     bytea NOT NULL,                        -- encrypted with the key from the settings
    is_active        boolean NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE games (
    id          uuid PRIMARY KEY,
    provider_id uuid NOT NULL CONSTRAINT games_provider_exists REFERENCES game_providers,
    slug        text NOT NULL CONSTRAINT games_slug_unique UNIQUE,
    title       text NOT NULL,
    volatility  game_volatility NOT NULL,
    genre       game_genre NOT NULL,
    config      jsonb NOT NULL DEFAULT '{}',
    is_active   boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE game_sessions (
    id                  uuid PRIMARY KEY,
    user_id             uuid NOT NULL CONSTRAINT game_sessions_user_exists REFERENCES users,
    game_id             uuid NOT NULL CONSTRAINT game_sessions_game_exists REFERENCES games,
    provider_session_id text,
    currency            currency_code NOT NULL,
    bet_amount          numeric(18,2) NOT NULL DEFAULT 0,
    win_amount          numeric(18,2) NOT NULL DEFAULT 0,
    status              game_session_status NOT NULL DEFAULT 'open',
    token_hash          bytea CONSTRAINT game_sessions_token_unique UNIQUE,  -- added: SHA-256 of the launch token
    opened_at           timestamptz NOT NULL DEFAULT now(),
    closed_at           timestamptz
) WITH (fillfactor = 70);    -- sums are updated by every batch
CREATE INDEX game_sessions_by_player ON game_sessions (user_id, game_id, opened_at DESC);

CREATE TABLE game_rounds (   -- added: the source of topic game_rounds
    id          uuid PRIMARY KEY,
    session_id  uuid NOT NULL,
    user_id     uuid NOT NULL,
    game_id     uuid NOT NULL,
    provider    text NOT NULL,
    external_id text NOT NULL CONSTRAINT game_rounds_external_id_is_short CHECK (length(external_id) <= 200),
    currency    currency_code NOT NULL,
    bet_amount  numeric(18,2) NOT NULL DEFAULT 0,
    win_amount  numeric(18,2) NOT NULL DEFAULT 0,
    bonus_bet_amount numeric(18,2) NOT NULL DEFAULT 0,      -- of bet_amount; a win is split as the bets were
    status      game_round_status NOT NULL DEFAULT 'open',
    opened_at   timestamptz NOT NULL DEFAULT now(),
    closed_at   timestamptz,
    -- A provider's round number is unique within a game only.
    CONSTRAINT game_rounds_external_id_unique UNIQUE (game_id, external_id)
) WITH (fillfactor = 80);
-- No foreign keys above: each costs a trigger a row, and the one writer (wallet/queries.py)
-- has just read the session, player and game that it names, inside the same transaction.

-- Money that moves ------------------------------------------------------------------------

CREATE TABLE payments (
    id                uuid PRIMARY KEY,
    user_id           uuid NOT NULL CONSTRAINT payments_user_exists REFERENCES users,
    payment_intent_id text,                                 -- the PSP's; null until it has answered
    type              payment_type NOT NULL,
    amount            numeric(18,2) NOT NULL CONSTRAINT payments_amount_positive CHECK (amount > 0),
    currency          currency_code NOT NULL,
    status            payment_status NOT NULL DEFAULT 'pending',
    provider          payment_provider NOT NULL,
    metadata          jsonb NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payments_intent_unique UNIQUE (provider, payment_intent_id)
);
CREATE INDEX payments_by_player ON payments (user_id, created_at DESC);

CREATE TABLE payment_events (  -- added: the webhook inbox
    id          uuid PRIMARY KEY,
    provider    payment_provider NOT NULL,
    event_id    text NOT NULL,
    payment_id  uuid CONSTRAINT payment_events_payment_exists REFERENCES payments,
    raw_body    bytea NOT NULL,
    outcome     text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_events_once UNIQUE (provider, event_id)
);

CREATE TABLE transactions (
    id                uuid PRIMARY KEY,
    wallet_account_id uuid NOT NULL CONSTRAINT transactions_wallet_exists REFERENCES wallet_accounts,
    -- '<source>:<their id>': the caller's key, for ever (P2). '/bonus' at the end marks the second
    -- row of a bet that drew on two wallets.
    external_id       text NOT NULL CONSTRAINT transactions_external_id_unique UNIQUE
                      CONSTRAINT transactions_external_id_is_short CHECK (length(external_id) <= 300),
    amount            numeric(18,2) NOT NULL
                      CONSTRAINT transactions_amount_is_a_magnitude CHECK (amount >= 0 OR type = 'adjustment'),
    fee               numeric(18,2) NOT NULL DEFAULT 0 CONSTRAINT transactions_fee_not_negative CHECK (fee >= 0),
    type              transaction_type NOT NULL,
    status            transaction_status NOT NULL DEFAULT 'pending',
    -- Published, so it may not live out of line: an unchanged TOAST value reaches the log as a hole.
    metadata          jsonb STORAGE MAIN NOT NULL DEFAULT '{}'
                      CONSTRAINT transactions_metadata_stays_inline CHECK (pg_column_size(metadata) <= 4096),
    processed_at      timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    -- Added: what a change of this row means, without a look-up, for every consumer of the log.
    user_id           uuid NOT NULL,
    wallet_type       wallet_type NOT NULL,
    currency          currency_code NOT NULL,
    provider          text,
    game_id           uuid,
    game_round_id     uuid,
    payment_id        uuid,
    -- Added for P2: hash of the command's content, and the balance that its first answer showed.
    request_hash      bytea NOT NULL,
    answer_balance    numeric(18,2)
);
CREATE INDEX transactions_by_player ON transactions (user_id, created_at DESC, id DESC);

CREATE TABLE wallet_entries (  -- added: the journal behind P1; no foreign keys, see game_rounds
    wallet_account_id uuid NOT NULL,
    sequence          bigint NOT NULL,
    transaction_id    uuid NOT NULL,
    amount            numeric(18,2) NOT NULL CONSTRAINT wallet_entries_move_something CHECK (amount <> 0),
    balance_after     numeric(18,2) NOT NULL CONSTRAINT wallet_entries_never_negative CHECK (balance_after >= 0),
    created_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT wallet_entries_no_two_in_one_place PRIMARY KEY (wallet_account_id, sequence)
);

CREATE TABLE tombstones (  -- added: P4. One row for each reversal ever asked for, kept for ever
    external_id        text PRIMARY KEY,                    -- the reversal's own key
    target_external_id text NOT NULL,
    id                 uuid NOT NULL,                       -- what we answered as our id
    user_id            uuid NOT NULL,
    request_hash       bytea NOT NULL,
    -- 'reversed': money went back. 'unseen': the target had not come; it never moves money now.
    -- 'repeated': another reversal had been first, and this one moved nothing.
    outcome            text NOT NULL CONSTRAINT tombstones_outcome_known
                       CHECK (outcome IN ('reversed', 'unseen', 'repeated')),
    amount             numeric(18,2) NOT NULL DEFAULT 0,    -- signed, what the player's wallets gained
    shortfall          numeric(18,2) NOT NULL DEFAULT 0,    -- of a reversed win, what was no longer there
    answer_balance     numeric(18,2) NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX tombstones_one_reversal_a_target ON tombstones (target_external_id)
    WHERE outcome <> 'repeated';

-- What is asked of the data ---------------------------------------------------------------

CREATE TABLE reports (
    id         uuid PRIMARY KEY,
    user_id    uuid CONSTRAINT reports_user_exists REFERENCES users,
    name       text NOT NULL,
    definition jsonb NOT NULL,
    format     report_format NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE exchange_rates (  -- added: KPIs are in one reporting currency
    currency           currency_code NOT NULL,
    reporting_currency currency_code NOT NULL,
    day                date NOT NULL,
    rate               numeric(20,10) NOT NULL              -- one unit of currency, in reporting_currency
                       CONSTRAINT exchange_rates_positive CHECK (rate > 0),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (currency, reporting_currency, day)
);

CREATE TABLE staff (  -- added: who works here
    id            uuid PRIMARY KEY,
    email         text NOT NULL CONSTRAINT staff_email_unique UNIQUE
                  CONSTRAINT staff_email_is_lower_case CHECK (email = lower(email)),
    name          text NOT NULL,
    role          staff_role NOT NULL,
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE proofs (  -- added: each run of `countroom check`, a row a promise
    id         uuid PRIMARY KEY,
    promise    text NOT NULL,                               -- 'P1' … 'P6'
    holds      boolean NOT NULL,
    compared   bigint NOT NULL,                             -- how many things were compared
    violations jsonb NOT NULL DEFAULT '[]',                 -- the first ones, with their ids
    checked_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX proofs_latest ON proofs (promise, checked_at DESC);

-- What may never be undone ----------------------------------------------------------------

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% keeps what it has: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER wallet_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER tombstones_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tombstones
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transactions_never_deleted BEFORE DELETE OR TRUNCATE ON transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER game_rounds_never_deleted BEFORE DELETE OR TRUNCATE ON game_rounds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER users_never_deleted BEFORE DELETE OR TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What leaves through the log -------------------------------------------------------------
-- Columns are listed: no name, e-mail, Telegram id, password or hash ever leaves this way.
-- Tables keep their default replica identity (a column list with FULL refuses updates).

CREATE PUBLICATION countroom FOR TABLE
    transactions (id, wallet_account_id, external_id, amount, fee, type, status, metadata, processed_at, created_at,
                  user_id, wallet_type, currency, provider, game_id, game_round_id, payment_id),
    game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount, win_amount, status,
                 opened_at, closed_at),
    users (id, country, status, kyc_status, created_at, updated_at)
    WITH (publish = 'insert, update');
