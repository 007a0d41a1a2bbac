-- Generated from the migrations by `make schema`; a test compares. Do not edit.

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';

CREATE DOMAIN public.currency_code AS character(3)
	CONSTRAINT currency_code_is_iso_4217 CHECK ((VALUE ~ '^[A-Z]{3}$'::text));

CREATE TYPE public.game_genre AS ENUM (
    'slots',
    'table',
    'live',
    'crash',
    'instant'
);

CREATE TYPE public.game_round_status AS ENUM (
    'open',
    'settled',
    'cancelled',
    'unfinished'
);

CREATE TYPE public.game_session_end AS ENUM (
    'idle',
    'lifetime',
    'unused',
    'replaced',
    'account',
    'exclusion',
    'player',
    'staff'
);

CREATE TYPE public.game_session_status AS ENUM (
    'open',
    'closed',
    'failed'
);

CREATE TYPE public.game_volatility AS ENUM (
    'low',
    'medium',
    'high'
);

CREATE TYPE public.kyc_status AS ENUM (
    'pending',
    'verified',
    'rejected'
);

CREATE TYPE public.payment_provider AS ENUM (
    'stripe',
    'paypal',
    'sandbox'
);

CREATE TYPE public.payment_status AS ENUM (
    'pending',
    'processing',
    'success',
    'failed'
);

CREATE TYPE public.payment_type AS ENUM (
    'deposit',
    'withdrawal'
);

CREATE TYPE public.report_format AS ENUM (
    'csv',
    'excel',
    'json'
);

CREATE TYPE public.staff_role AS ENUM (
    'admin',
    'cashier',
    'analyst',
    'compliance',
    'support'
);

CREATE TYPE public.transaction_status AS ENUM (
    'pending',
    'success',
    'failed',
    'cancelled'
);

CREATE TYPE public.transaction_type AS ENUM (
    'deposit',
    'withdrawal',
    'bet',
    'win',
    'bonus',
    'adjustment'
);

CREATE TYPE public.two_factor_type AS ENUM (
    'totp',
    'sms',
    'email'
);

CREATE TYPE public.user_status AS ENUM (
    'active',
    'blocked',
    'closed'
);

CREATE TYPE public.wallet_type AS ENUM (
    'main',
    'bonus',
    'locked'
);

CREATE FUNCTION public.end_sessions_of_gone_players() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM FROM wallet_accounts WHERE user_id = NEW.id AND type = 'main' ORDER BY id FOR UPDATE;
    UPDATE game_sessions
       SET status = 'closed', closed_at = now(), ended_because = 'account'
     WHERE user_id = NEW.id AND status = 'open';
    RETURN NULL;
END $$;

CREATE FUNCTION public.raise_catalogue_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE catalogue_version SET version = version + 1;
    RETURN NULL;
END $$;

CREATE FUNCTION public.raise_purse_versions() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    player uuid;
BEGIN
    player := CASE WHEN TG_TABLE_NAME = 'users' THEN to_jsonb(NEW) ->> 'id'
                   ELSE coalesce(to_jsonb(NEW), to_jsonb(OLD)) ->> 'user_id' END;
    PERFORM FROM wallet_accounts WHERE user_id = player AND type = 'main' ORDER BY id FOR UPDATE;
    UPDATE wallet_accounts SET version = version + 1 WHERE user_id = player AND type = 'main';
    RETURN NULL;
END $$;

CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% keeps what it has: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION public.refuse_stale(missing bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF missing <> 0 THEN
        RAISE EXCEPTION '% purses have moved on since they were read', missing USING ERRCODE = 'CR001';
    END IF;
END $$;

CREATE TABLE public.audit_log (
    id uuid NOT NULL,
    staff_id uuid,
    action text NOT NULL,
    about_type text NOT NULL,
    about_id text NOT NULL,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.book_horizon (
    is_the_only_row boolean DEFAULT true NOT NULL,
    begun_snapshot pg_snapshot CONSTRAINT book_horizon_snapshot_not_null NOT NULL,
    read_from timestamp with time zone NOT NULL,
    begun_from timestamp with time zone NOT NULL,
    seen_id uuid NOT NULL,
    CONSTRAINT book_horizon_is_one_row CHECK (is_the_only_row)
);

CREATE TABLE public.book_marks (
    wallet_account_id uuid NOT NULL,
    sequence bigint NOT NULL,
    balance numeric(18,2) NOT NULL,
    receivable numeric(18,2) NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE public.book_player_marks (
    user_id uuid NOT NULL,
    snapshot pg_snapshot NOT NULL,
    read_from timestamp with time zone NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE public.book_session_marks (
    session_id uuid NOT NULL,
    bet_amount numeric(18,2) NOT NULL,
    win_amount numeric(18,2) NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE public.canaries (
    id uuid NOT NULL,
    sent_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.catalogue_imports (
    id uuid NOT NULL,
    provider_id uuid NOT NULL,
    staff_id uuid,
    file_name text NOT NULL,
    feed jsonb NOT NULL,
    differences jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    applied_at timestamp with time zone
);

CREATE TABLE public.catalogue_switches (
    id uuid NOT NULL,
    provider_id uuid NOT NULL,
    game_id uuid,
    staff_id uuid NOT NULL,
    is_active boolean NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT catalogue_switches_reason_given CHECK (((length(reason) >= 1) AND (length(reason) <= 500)))
);

CREATE TABLE public.catalogue_version (
    is_the_only_row boolean DEFAULT true NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    CONSTRAINT catalogue_version_is_one_row CHECK (is_the_only_row)
);

CREATE TABLE public.dead_letters (
    id uuid NOT NULL,
    topic text NOT NULL,
    "position" bigint NOT NULL,
    reason text NOT NULL,
    body bytea NOT NULL,
    body_hash bytea GENERATED ALWAYS AS (sha256(body)) STORED NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    partition integer,
    outcome text,
    note text,
    settled_at timestamp with time zone,
    CONSTRAINT dead_letters_discarded_with_a_reason CHECK (((outcome <> 'discarded'::text) OR (note <> ''::text))),
    CONSTRAINT dead_letters_outcome_has_its_time CHECK (((outcome IS NULL) = (settled_at IS NULL))),
    CONSTRAINT dead_letters_outcome_known CHECK ((outcome = ANY (ARRAY['stored'::text, 'discarded'::text])))
);

CREATE TABLE public.exchange_rates (
    currency public.currency_code NOT NULL,
    reporting_currency public.currency_code NOT NULL,
    day date NOT NULL,
    rate numeric(20,10) NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT exchange_rates_positive CHECK ((rate > (0)::numeric))
);

CREATE TABLE public.game_providers (
    id uuid NOT NULL,
    code text NOT NULL,
    title text NOT NULL,
    dialect text NOT NULL,
    launch_url text NOT NULL,
    signing_keys bytea NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    countries text[],
    currencies text[],
    verified_only boolean DEFAULT false NOT NULL,
    demo_url text,
    CONSTRAINT game_providers_code_fits_an_address CHECK ((code ~ '^[a-z0-9][a-z0-9-]{0,31}$'::text)),
    CONSTRAINT game_providers_countries_are_iso_3166 CHECK ((array_to_string(countries, ','::text, '?'::text) ~ '^[A-Z]{2}(,[A-Z]{2})*$'::text)),
    CONSTRAINT game_providers_currencies_are_iso_4217 CHECK ((array_to_string(currencies, ','::text, '?'::text) ~ '^[A-Z]{3}(,[A-Z]{3})*$'::text))
);

CREATE TABLE public.game_rounds (
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    game_id uuid NOT NULL,
    provider text NOT NULL,
    external_id text NOT NULL,
    currency public.currency_code NOT NULL,
    bet_amount numeric(18,2) DEFAULT 0 NOT NULL,
    win_amount numeric(18,2) DEFAULT 0 NOT NULL,
    bonus_bet_amount numeric(18,2) DEFAULT 0 NOT NULL,
    status public.game_round_status DEFAULT 'open'::public.game_round_status NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    closed_at timestamp with time zone,
    CONSTRAINT game_rounds_external_id_is_short CHECK ((length(external_id) <= 200))
)
WITH (fillfactor='80');
ALTER TABLE ONLY public.game_rounds ALTER COLUMN provider SET STORAGE MAIN;
ALTER TABLE ONLY public.game_rounds ALTER COLUMN external_id SET STORAGE MAIN;

CREATE TABLE public.game_sessions (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    game_id uuid NOT NULL,
    provider_session_id text,
    currency public.currency_code NOT NULL,
    bet_amount numeric(18,2) DEFAULT 0 NOT NULL,
    win_amount numeric(18,2) DEFAULT 0 NOT NULL,
    status public.game_session_status DEFAULT 'open'::public.game_session_status NOT NULL,
    token_hash bytea,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    closed_at timestamp with time zone,
    last_played_at timestamp with time zone,
    token_used_at timestamp with time zone,
    ended_because public.game_session_end
)
WITH (fillfactor='70');

CREATE TABLE public.games (
    id uuid NOT NULL,
    provider_id uuid NOT NULL,
    slug text NOT NULL,
    title text NOT NULL,
    volatility public.game_volatility NOT NULL,
    genre public.game_genre NOT NULL,
    config jsonb DEFAULT '{}'::jsonb NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    countries text[],
    currencies text[],
    verified_only boolean DEFAULT false NOT NULL,
    rtp numeric(5,2),
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    pictures jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT games_config_is_an_object CHECK ((jsonb_typeof(config) = 'object'::text)),
    CONSTRAINT games_countries_are_iso_3166 CHECK ((array_to_string(countries, ','::text, '?'::text) ~ '^[A-Z]{2}(,[A-Z]{2})*$'::text)),
    CONSTRAINT games_currencies_are_iso_4217 CHECK ((array_to_string(currencies, ','::text, '?'::text) ~ '^[A-Z]{3}(,[A-Z]{3})*$'::text)),
    CONSTRAINT games_pictures_are_addresses CHECK (((jsonb_typeof(pictures) = 'object'::text) AND (NOT jsonb_path_exists(pictures, '$.*?(!(@.type() == "string" && @ starts with "https://"))'::jsonpath)))),
    CONSTRAINT games_rtp_is_a_percentage CHECK (((rtp > (0)::numeric) AND (rtp <= (100)::numeric))),
    CONSTRAINT games_tags_are_words CHECK ((array_to_string(tags, ','::text, '?'::text) ~ '^([a-z0-9][a-z0-9-]{0,39}(,[a-z0-9][a-z0-9-]{0,39})*)?$'::text))
);

CREATE TABLE public.kpi_refusals (
    day date NOT NULL,
    code text NOT NULL,
    sentence text NOT NULL,
    refused_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.payment_events (
    id uuid NOT NULL,
    provider public.payment_provider NOT NULL,
    event_id text NOT NULL,
    payment_id uuid,
    raw_body bytea NOT NULL,
    outcome text NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    reason text
);

CREATE TABLE public.payments (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    payment_intent_id text,
    type public.payment_type NOT NULL,
    amount numeric(18,2) NOT NULL,
    currency public.currency_code NOT NULL,
    status public.payment_status DEFAULT 'pending'::public.payment_status NOT NULL,
    provider public.payment_provider NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT payments_amount_positive CHECK ((amount > (0)::numeric))
);

CREATE TABLE public.pipeline_processes (
    id uuid NOT NULL,
    role text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    state text NOT NULL,
    sentence text DEFAULT ''::text NOT NULL,
    figures jsonb DEFAULT '{}'::jsonb NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT pipeline_processes_role_known CHECK ((role = ANY (ARRAY['pipeline'::text, 'relay'::text, 'debezium'::text, 'load'::text, 'work'::text]))),
    CONSTRAINT pipeline_processes_state_known CHECK ((state = ANY (ARRAY['starting'::text, 'copying'::text, 'following'::text, 'waiting'::text, 'retrying'::text, 'ended'::text])))
)
WITH (fillfactor='50');

CREATE TABLE public.proofs (
    id uuid NOT NULL,
    promise text NOT NULL,
    holds boolean NOT NULL,
    compared bigint NOT NULL,
    violations jsonb DEFAULT '[]'::jsonb NOT NULL,
    checked_at timestamp with time zone DEFAULT now() NOT NULL,
    scope text DEFAULT 'full'::text NOT NULL,
    seconds real,
    waiting bigint DEFAULT 0 NOT NULL,
    CONSTRAINT proofs_scope_known CHECK ((scope = ANY (ARRAY['full'::text, 'incremental'::text])))
);

CREATE UNLOGGED TABLE public.provider_exchanges (
    id uuid NOT NULL,
    provider text NOT NULL,
    answered_at timestamp with time zone NOT NULL,
    action text NOT NULL,
    method text NOT NULL,
    query text NOT NULL,
    headers jsonb NOT NULL,
    body text NOT NULL,
    body_bytes integer,
    status integer NOT NULL,
    code text NOT NULL,
    answer text NOT NULL,
    answer_bytes integer NOT NULL,
    microseconds bigint NOT NULL,
    key_print text
);

CREATE UNLOGGED TABLE public.provider_minutes (
    provider text NOT NULL,
    minute timestamp with time zone NOT NULL,
    process uuid NOT NULL,
    answers jsonb NOT NULL,
    refusals jsonb NOT NULL,
    seconds bigint[] NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.reconciliation_differences (
    reconciliation_id uuid NOT NULL,
    number integer NOT NULL,
    kinds text[] NOT NULL,
    transaction_id text NOT NULL,
    line bigint,
    their_type text,
    their_status text,
    their_amount numeric(18,2),
    their_currency text,
    their_round text,
    their_player text,
    our_id uuid,
    our_type text,
    our_status text,
    our_amount numeric(18,2),
    our_currency text,
    our_round text,
    our_player uuid,
    our_created_at timestamp with time zone,
    reversed_by text,
    CONSTRAINT reconciliation_differences_have_a_kind CHECK ((cardinality(kinds) > 0))
);

CREATE TABLE public.reconciliation_notes (
    id uuid NOT NULL,
    reconciliation_id uuid NOT NULL,
    number integer NOT NULL,
    staff_id uuid NOT NULL,
    note text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT reconciliation_notes_say_something CHECK (((length(note) >= 1) AND (length(note) <= 500)))
);

CREATE TABLE public.reconciliations (
    id uuid NOT NULL,
    provider_id uuid NOT NULL,
    day date NOT NULL,
    time_zone text NOT NULL,
    file_name text NOT NULL,
    file_hash bytea NOT NULL,
    staff_id uuid,
    line_count bigint NOT NULL,
    matched_count bigint NOT NULL,
    difference_count bigint NOT NULL,
    kinds jsonb NOT NULL,
    sums jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT reconciliations_count_every_line CHECK ((matched_count <= line_count)),
    CONSTRAINT reconciliations_file_hash_is_sha_256 CHECK ((length(file_hash) = 32)),
    CONSTRAINT reconciliations_file_name_is_short CHECK ((length(file_name) <= 200))
);

CREATE TABLE public.relay_copies (
    slot text NOT NULL,
    cluster text NOT NULL,
    topic text NOT NULL,
    rows bigint NOT NULL,
    copied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.reports (
    id uuid NOT NULL,
    user_id uuid,
    name text NOT NULL,
    definition jsonb NOT NULL,
    format public.report_format NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.round_closings (
    id uuid NOT NULL,
    round_id uuid NOT NULL,
    action text NOT NULL,
    reason text NOT NULL,
    proposed_by uuid NOT NULL,
    proposed_at timestamp with time zone DEFAULT now() NOT NULL,
    outcome text,
    decided_by uuid,
    decided_at timestamp with time zone,
    CONSTRAINT round_closings_action_known CHECK ((action = ANY (ARRAY['settle'::text, 'cancel'::text]))),
    CONSTRAINT round_closings_decided_whole CHECK ((((outcome IS NULL) = (decided_by IS NULL)) AND ((outcome IS NULL) = (decided_at IS NULL)))),
    CONSTRAINT round_closings_four_eyes CHECK (((outcome = 'withdrawn'::text) OR (decided_by <> proposed_by))),
    CONSTRAINT round_closings_outcome_known CHECK ((outcome = ANY (ARRAY['approved'::text, 'rejected'::text, 'withdrawn'::text]))),
    CONSTRAINT round_closings_reason_given CHECK (((length(reason) >= 1) AND (length(reason) <= 500)))
);

CREATE TABLE public.seal_blocks (
    seal_number bigint NOT NULL,
    number integer NOT NULL,
    first_created_at timestamp with time zone NOT NULL,
    first_wallet_account_id uuid NOT NULL,
    first_sequence bigint NOT NULL,
    entries integer NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT seal_blocks_are_small CHECK (((entries >= 1) AND (entries <= 256))),
    CONSTRAINT seal_blocks_hash_is_sha_256 CHECK ((length(hash) = 32))
);

CREATE TABLE public.seals (
    number bigint NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    entries bigint NOT NULL,
    root bytea NOT NULL,
    hash bytea NOT NULL,
    sealed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT seals_count_from_one CHECK ((number > 0)),
    CONSTRAINT seals_cover_some_time CHECK ((ends_at > starts_at)),
    CONSTRAINT seals_hash_is_sha_256 CHECK ((length(hash) = 32)),
    CONSTRAINT seals_hold_something CHECK ((entries > 0)),
    CONSTRAINT seals_root_is_sha_256 CHECK ((length(root) = 32))
);

CREATE TABLE public.staff (
    id uuid NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    role public.staff_role NOT NULL,
    password_hash text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT staff_email_is_lower_case CHECK ((email = lower(email)))
);

CREATE TABLE public.staff_postings (
    transaction_id uuid NOT NULL,
    staff_id uuid NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT staff_postings_reason_given CHECK (((length(reason) >= 1) AND (length(reason) <= 500)))
);

CREATE TABLE public.tombstones (
    external_id text NOT NULL,
    target_external_id text NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    request_hash bytea NOT NULL,
    outcome text NOT NULL,
    amount numeric(18,2) DEFAULT 0 NOT NULL,
    shortfall numeric(18,2) DEFAULT 0 NOT NULL,
    answer_balance numeric(18,2) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tombstones_outcome_known CHECK ((outcome = ANY (ARRAY['reversed'::text, 'unseen'::text, 'repeated'::text, 'settled'::text, 'failed'::text, 'cancelled'::text])))
);

CREATE TABLE public.transactions (
    id uuid NOT NULL,
    wallet_account_id uuid NOT NULL,
    external_id text NOT NULL,
    amount numeric(18,2) NOT NULL,
    fee numeric(18,2) DEFAULT 0 NOT NULL,
    type public.transaction_type NOT NULL,
    status public.transaction_status DEFAULT 'pending'::public.transaction_status NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    processed_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    user_id uuid NOT NULL,
    wallet_type public.wallet_type NOT NULL,
    currency public.currency_code NOT NULL,
    provider text,
    game_id uuid,
    game_round_id uuid,
    payment_id uuid,
    request_hash bytea NOT NULL,
    answer_balance numeric(18,2),
    CONSTRAINT transactions_amount_is_a_magnitude CHECK (((amount >= (0)::numeric) OR (type = ANY (ARRAY['adjustment'::public.transaction_type, 'bonus'::public.transaction_type])))),
    CONSTRAINT transactions_external_id_is_short CHECK ((length(external_id) <= 300)),
    CONSTRAINT transactions_fee_not_negative CHECK ((fee >= (0)::numeric)),
    CONSTRAINT transactions_metadata_stays_inline CHECK ((pg_column_size(metadata) <= 4096))
);
ALTER TABLE ONLY public.transactions ALTER COLUMN external_id SET STORAGE MAIN;
ALTER TABLE ONLY public.transactions ALTER COLUMN metadata SET STORAGE MAIN;
ALTER TABLE ONLY public.transactions ALTER COLUMN provider SET STORAGE MAIN;

CREATE TABLE public.unfinished_horizon (
    is_the_only_row boolean DEFAULT true NOT NULL,
    round_id uuid NOT NULL,
    CONSTRAINT unfinished_horizon_is_one_row CHECK (is_the_only_row)
);

CREATE TABLE public.unfinished_rounds (
    round_id uuid NOT NULL,
    noted_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.users (
    id uuid NOT NULL,
    telegram_id text,
    email text,
    username text,
    first_name text,
    last_name text,
    password_hash text,
    kyc_status public.kyc_status DEFAULT 'pending'::public.kyc_status NOT NULL,
    responsible_gaming_settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    two_factor_enabled boolean DEFAULT false NOT NULL,
    two_factor_type public.two_factor_type,
    country character(2),
    birth_date date,
    status public.user_status DEFAULT 'active'::public.user_status NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    email_confirmed_at timestamp with time zone,
    CONSTRAINT users_country_is_iso_3166 CHECK ((country ~ '^[A-Z]{2}$'::text)),
    CONSTRAINT users_email_is_lower_case CHECK ((email = lower(email))),
    CONSTRAINT users_have_a_way_in CHECK (((email IS NOT NULL) OR (telegram_id IS NOT NULL)))
);

CREATE TABLE public.wallet_accounts (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    currency public.currency_code NOT NULL,
    type public.wallet_type NOT NULL,
    balance numeric(18,2) DEFAULT 0 NOT NULL,
    sequence bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    receivable numeric(18,2) DEFAULT 0 NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    CONSTRAINT wallet_accounts_never_negative CHECK ((balance >= (0)::numeric)),
    CONSTRAINT wallet_accounts_receivable_not_negative CHECK ((receivable >= (0)::numeric))
)
WITH (fillfactor='70');

CREATE TABLE public.wallet_entries (
    wallet_account_id uuid NOT NULL,
    sequence bigint NOT NULL,
    transaction_id uuid NOT NULL,
    amount numeric(18,2) NOT NULL,
    balance_after numeric(18,2) NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT wallet_entries_move_something CHECK ((amount <> (0)::numeric)),
    CONSTRAINT wallet_entries_never_negative CHECK ((balance_after >= (0)::numeric))
);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.book_horizon
    ADD CONSTRAINT book_horizon_pkey PRIMARY KEY (is_the_only_row);

ALTER TABLE ONLY public.book_marks
    ADD CONSTRAINT book_marks_pkey PRIMARY KEY (wallet_account_id);

ALTER TABLE ONLY public.book_player_marks
    ADD CONSTRAINT book_player_marks_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY public.book_session_marks
    ADD CONSTRAINT book_session_marks_pkey PRIMARY KEY (session_id);

ALTER TABLE ONLY public.canaries
    ADD CONSTRAINT canaries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.catalogue_imports
    ADD CONSTRAINT catalogue_imports_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.catalogue_switches
    ADD CONSTRAINT catalogue_switches_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.catalogue_version
    ADD CONSTRAINT catalogue_version_pkey PRIMARY KEY (is_the_only_row);

ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT dead_letters_once UNIQUE NULLS NOT DISTINCT (topic, partition, "position", body_hash);

ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.exchange_rates
    ADD CONSTRAINT exchange_rates_pkey PRIMARY KEY (currency, reporting_currency, day);

ALTER TABLE ONLY public.game_providers
    ADD CONSTRAINT game_providers_code_unique UNIQUE (code);

ALTER TABLE ONLY public.game_providers
    ADD CONSTRAINT game_providers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.game_rounds
    ADD CONSTRAINT game_rounds_external_id_unique UNIQUE (game_id, external_id);

ALTER TABLE ONLY public.game_rounds
    ADD CONSTRAINT game_rounds_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.game_sessions
    ADD CONSTRAINT game_sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.game_sessions
    ADD CONSTRAINT game_sessions_token_unique UNIQUE (token_hash);

ALTER TABLE ONLY public.games
    ADD CONSTRAINT games_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.games
    ADD CONSTRAINT games_slug_unique UNIQUE (slug);

ALTER TABLE ONLY public.kpi_refusals
    ADD CONSTRAINT kpi_refusals_pkey PRIMARY KEY (day);

ALTER TABLE ONLY public.payment_events
    ADD CONSTRAINT payment_events_once UNIQUE (provider, event_id);

ALTER TABLE ONLY public.payment_events
    ADD CONSTRAINT payment_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_intent_unique UNIQUE (provider, payment_intent_id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.pipeline_processes
    ADD CONSTRAINT pipeline_processes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.proofs
    ADD CONSTRAINT proofs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.provider_exchanges
    ADD CONSTRAINT provider_exchanges_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.provider_minutes
    ADD CONSTRAINT provider_minutes_pkey PRIMARY KEY (provider, minute, process);

ALTER TABLE ONLY public.reconciliation_differences
    ADD CONSTRAINT reconciliation_differences_in_order PRIMARY KEY (reconciliation_id, number);

ALTER TABLE ONLY public.reconciliation_notes
    ADD CONSTRAINT reconciliation_notes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.reconciliations
    ADD CONSTRAINT reconciliations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.relay_copies
    ADD CONSTRAINT relay_copies_pkey PRIMARY KEY (slot, cluster, topic);

ALTER TABLE ONLY public.reports
    ADD CONSTRAINT reports_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.round_closings
    ADD CONSTRAINT round_closings_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.seal_blocks
    ADD CONSTRAINT seal_blocks_in_order PRIMARY KEY (seal_number, number);

ALTER TABLE ONLY public.seals
    ADD CONSTRAINT seals_pkey PRIMARY KEY (number);

ALTER TABLE ONLY public.staff
    ADD CONSTRAINT staff_email_unique UNIQUE (email);

ALTER TABLE ONLY public.staff
    ADD CONSTRAINT staff_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.staff_postings
    ADD CONSTRAINT staff_postings_pkey PRIMARY KEY (transaction_id);

ALTER TABLE ONLY public.tombstones
    ADD CONSTRAINT tombstones_pkey PRIMARY KEY (external_id);

ALTER TABLE ONLY public.transactions
    ADD CONSTRAINT transactions_external_id_unique UNIQUE (external_id);

ALTER TABLE ONLY public.transactions
    ADD CONSTRAINT transactions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.unfinished_horizon
    ADD CONSTRAINT unfinished_horizon_pkey PRIMARY KEY (is_the_only_row);

ALTER TABLE ONLY public.unfinished_rounds
    ADD CONSTRAINT unfinished_rounds_pkey PRIMARY KEY (round_id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_email_unique UNIQUE (email);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_telegram_id_unique UNIQUE (telegram_id);

ALTER TABLE ONLY public.wallet_accounts
    ADD CONSTRAINT wallet_accounts_one_of_a_kind UNIQUE (user_id, currency, type);

ALTER TABLE ONLY public.wallet_accounts
    ADD CONSTRAINT wallet_accounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.wallet_entries
    ADD CONSTRAINT wallet_entries_no_two_in_one_place PRIMARY KEY (wallet_account_id, sequence);

CREATE INDEX audit_log_about ON public.audit_log USING btree (about_type, about_id, id);

CREATE INDEX catalogue_imports_latest ON public.catalogue_imports USING btree (provider_id, created_at DESC);

CREATE INDEX catalogue_switches_latest ON public.catalogue_switches USING btree (provider_id, created_at DESC);

CREATE INDEX dead_letters_latest ON public.dead_letters USING btree (created_at DESC);

CREATE INDEX dead_letters_open ON public.dead_letters USING btree (topic) WHERE (outcome IS NULL);

CREATE INDEX game_sessions_by_player ON public.game_sessions USING btree (user_id, game_id, opened_at DESC);

CREATE UNIQUE INDEX game_sessions_one_open_at_a_time ON public.game_sessions USING btree (user_id, game_id, currency) WHERE (status = 'open'::public.game_session_status);

CREATE INDEX games_by_provider ON public.games USING btree (provider_id);

CREATE INDEX games_by_tag ON public.games USING gin (tags);

CREATE INDEX games_by_title ON public.games USING btree (lower(title), slug);

CREATE INDEX games_search ON public.games USING gin ((((title || ' '::text) || slug)) public.gin_trgm_ops);

CREATE INDEX payment_events_to_review ON public.payment_events USING btree (received_at) WHERE (outcome = 'review'::text);

CREATE INDEX payments_by_player ON public.payments USING btree (user_id, created_at DESC);

CREATE INDEX proofs_broken ON public.proofs USING btree (promise, checked_at DESC) WHERE (NOT holds);

CREATE INDEX proofs_latest ON public.proofs USING btree (promise, checked_at DESC);

CREATE INDEX proofs_latest_of_scope ON public.proofs USING btree (promise, scope, checked_at DESC);

CREATE INDEX provider_exchanges_latest ON public.provider_exchanges USING btree (provider, id);

CREATE INDEX reconciliation_notes_by_difference ON public.reconciliation_notes USING btree (reconciliation_id, number, id);

CREATE INDEX reconciliations_latest ON public.reconciliations USING btree (provider_id, id DESC);

CREATE INDEX round_closings_by_round ON public.round_closings USING btree (round_id, id);

CREATE UNIQUE INDEX round_closings_one_open ON public.round_closings USING btree (round_id) WHERE (outcome IS NULL);

CREATE INDEX tombstones_by_time ON public.tombstones USING brin (created_at) WITH (pages_per_range='32', autosummarize='on');

CREATE UNIQUE INDEX tombstones_one_reversal_a_target ON public.tombstones USING btree (target_external_id) WHERE (outcome <> 'repeated'::text);

CREATE INDEX transactions_by_player ON public.transactions USING btree (user_id, created_at DESC, id DESC);

CREATE INDEX wallet_entries_by_time ON public.wallet_entries USING brin (created_at) WITH (autosummarize='on');

CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER catalogue_switches_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.catalogue_switches FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER game_providers_raise_version AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.game_providers FOR EACH STATEMENT EXECUTE FUNCTION public.raise_catalogue_version();

CREATE TRIGGER game_rounds_never_deleted BEFORE DELETE OR TRUNCATE ON public.game_rounds FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER game_sessions_raise_versions AFTER INSERT OR DELETE OR UPDATE OF user_id, game_id, currency, status ON public.game_sessions FOR EACH ROW EXECUTE FUNCTION public.raise_purse_versions();

CREATE TRIGGER games_raise_version AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.games FOR EACH STATEMENT EXECUTE FUNCTION public.raise_catalogue_version();

CREATE TRIGGER reconciliation_differences_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.reconciliation_differences FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER reconciliation_notes_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.reconciliation_notes FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER reconciliations_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.reconciliations FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER seal_blocks_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.seal_blocks FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER seals_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.seals FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER staff_postings_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.staff_postings FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER tombstones_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.tombstones FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER transactions_never_deleted BEFORE DELETE OR TRUNCATE ON public.transactions FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER users_never_deleted BEFORE DELETE OR TRUNCATE ON public.users FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER users_status_ends_sessions AFTER UPDATE OF status ON public.users FOR EACH ROW WHEN (((old.status = 'active'::public.user_status) AND (new.status <> 'active'::public.user_status))) EXECUTE FUNCTION public.end_sessions_of_gone_players();

CREATE TRIGGER users_status_raises_versions AFTER UPDATE OF status ON public.users FOR EACH ROW WHEN ((old.status IS DISTINCT FROM new.status)) EXECUTE FUNCTION public.raise_purse_versions();

CREATE TRIGGER wallet_accounts_never_deleted BEFORE DELETE OR TRUNCATE ON public.wallet_accounts FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER wallet_entries_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.wallet_entries FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_staff_exists FOREIGN KEY (staff_id) REFERENCES public.staff(id);

ALTER TABLE ONLY public.catalogue_imports
    ADD CONSTRAINT catalogue_imports_provider_exists FOREIGN KEY (provider_id) REFERENCES public.game_providers(id);

ALTER TABLE ONLY public.catalogue_imports
    ADD CONSTRAINT catalogue_imports_staff_exists FOREIGN KEY (staff_id) REFERENCES public.staff(id);

ALTER TABLE ONLY public.catalogue_switches
    ADD CONSTRAINT catalogue_switches_game_exists FOREIGN KEY (game_id) REFERENCES public.games(id);

ALTER TABLE ONLY public.catalogue_switches
    ADD CONSTRAINT catalogue_switches_provider_exists FOREIGN KEY (provider_id) REFERENCES public.game_providers(id);

ALTER TABLE ONLY public.catalogue_switches
    ADD CONSTRAINT catalogue_switches_staff_exists FOREIGN KEY (staff_id) REFERENCES public.staff(id);

ALTER TABLE ONLY public.game_sessions
    ADD CONSTRAINT game_sessions_game_exists FOREIGN KEY (game_id) REFERENCES public.games(id);

ALTER TABLE ONLY public.game_sessions
    ADD CONSTRAINT game_sessions_user_exists FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.games
    ADD CONSTRAINT games_provider_exists FOREIGN KEY (provider_id) REFERENCES public.game_providers(id);

ALTER TABLE ONLY public.payment_events
    ADD CONSTRAINT payment_events_payment_exists FOREIGN KEY (payment_id) REFERENCES public.payments(id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_user_exists FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.reconciliation_differences
    ADD CONSTRAINT reconciliation_differences_reconciliation_exists FOREIGN KEY (reconciliation_id) REFERENCES public.reconciliations(id);

ALTER TABLE ONLY public.reconciliation_notes
    ADD CONSTRAINT reconciliation_notes_difference_exists FOREIGN KEY (reconciliation_id, number) REFERENCES public.reconciliation_differences(reconciliation_id, number);

ALTER TABLE ONLY public.reconciliation_notes
    ADD CONSTRAINT reconciliation_notes_staff_exists FOREIGN KEY (staff_id) REFERENCES public.staff(id);

ALTER TABLE ONLY public.reconciliations
    ADD CONSTRAINT reconciliations_provider_exists FOREIGN KEY (provider_id) REFERENCES public.game_providers(id);

ALTER TABLE ONLY public.reconciliations
    ADD CONSTRAINT reconciliations_staff_exists FOREIGN KEY (staff_id) REFERENCES public.staff(id);

ALTER TABLE ONLY public.reports
    ADD CONSTRAINT reports_user_exists FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.round_closings
    ADD CONSTRAINT round_closings_decider_exists FOREIGN KEY (decided_by) REFERENCES public.staff(id);

ALTER TABLE ONLY public.round_closings
    ADD CONSTRAINT round_closings_proposer_exists FOREIGN KEY (proposed_by) REFERENCES public.staff(id);

ALTER TABLE ONLY public.seal_blocks
    ADD CONSTRAINT seal_blocks_seal_exists FOREIGN KEY (seal_number) REFERENCES public.seals(number);

ALTER TABLE ONLY public.staff_postings
    ADD CONSTRAINT staff_postings_staff_exists FOREIGN KEY (staff_id) REFERENCES public.staff(id);

ALTER TABLE ONLY public.staff_postings
    ADD CONSTRAINT staff_postings_transaction_exists FOREIGN KEY (transaction_id) REFERENCES public.transactions(id);

ALTER TABLE ONLY public.transactions
    ADD CONSTRAINT transactions_wallet_exists FOREIGN KEY (wallet_account_id) REFERENCES public.wallet_accounts(id) NOT ENFORCED;

ALTER TABLE ONLY public.wallet_accounts
    ADD CONSTRAINT wallet_accounts_user_exists FOREIGN KEY (user_id) REFERENCES public.users(id);

CREATE PUBLICATION countroom WITH (publish = 'insert, update');

ALTER PUBLICATION countroom ADD TABLE ONLY public.canaries (id, sent_at);

ALTER PUBLICATION countroom ADD TABLE ONLY public.game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount, win_amount, status, opened_at, closed_at);

ALTER PUBLICATION countroom ADD TABLE ONLY public.transactions (id, wallet_account_id, external_id, amount, fee, type, status, metadata, processed_at, created_at, user_id, wallet_type, currency, provider, game_id, game_round_id, payment_id);

ALTER PUBLICATION countroom ADD TABLE ONLY public.users (id, kyc_status, country, status, created_at, updated_at);
