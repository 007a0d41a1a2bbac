-- The catalogue: what a provider's feed says of its games, where and in which currencies they may be
-- launched, who turned what on or off, and who imported what.

CREATE EXTENSION IF NOT EXISTS pg_trgm;  -- search by any part of a title; trusted, so no superuser is needed

ALTER TABLE game_providers
    -- Added: where its games may be launched at all (ISO 3166), and in which currencies. Null: everywhere, in
    -- every one. A game may narrow this and never widen it. An empty list would be a game that is off.
    ADD COLUMN countries text[]
        CONSTRAINT game_providers_countries_are_iso_3166
        CHECK (array_to_string(countries, ',', '?') ~ '^[A-Z]{2}(,[A-Z]{2})*$'),
    ADD COLUMN currencies text[]
        CONSTRAINT game_providers_currencies_are_iso_4217
        CHECK (array_to_string(currencies, ',', '?') ~ '^[A-Z]{3}(,[A-Z]{3})*$'),
    -- Added: whether a player's identity must be verified before the first launch for money.
    ADD COLUMN verified_only boolean NOT NULL DEFAULT false,
    -- Added: where its games are played for fun, without a session or money here. Null: nowhere.
    ADD COLUMN demo_url text;

ALTER TABLE games
    ADD COLUMN countries text[]                             -- added: as the provider's, and narrower
        CONSTRAINT games_countries_are_iso_3166
        CHECK (array_to_string(countries, ',', '?') ~ '^[A-Z]{2}(,[A-Z]{2})*$'),
    ADD COLUMN currencies text[]
        CONSTRAINT games_currencies_are_iso_4217
        CHECK (array_to_string(currencies, ',', '?') ~ '^[A-Z]{3}(,[A-Z]{3})*$'),
    ADD COLUMN verified_only boolean NOT NULL DEFAULT false,  -- added: as the provider's, or stricter
    ADD COLUMN rtp numeric(5,2)                             -- added: percent of stakes that come back, as published
        CONSTRAINT games_rtp_is_a_percentage CHECK (rtp > 0 AND rtp <= 100),
    ADD COLUMN tags text[] NOT NULL DEFAULT '{}'            -- added: what lobbies group by
        CONSTRAINT games_tags_are_words
        CHECK (array_to_string(tags, ',', '?') ~ '^([a-z0-9][a-z0-9-]{0,39}(,[a-z0-9][a-z0-9-]{0,39})*)?$'),
    -- Added: addresses of its pictures by their use ("tile", "banner"). Addresses, not files: a lobby loads
    -- them from whoever serves them, and no picture passes through here.
    ADD COLUMN pictures jsonb NOT NULL DEFAULT '{}'
        CONSTRAINT games_pictures_are_addresses
        CHECK (jsonb_typeof(pictures) = 'object'
               AND NOT jsonb_path_exists(pictures, '$.* ? (!(@.type() == "string" && @ starts with "https://"))')),
    ADD CONSTRAINT games_config_is_an_object CHECK (jsonb_typeof(config) = 'object');

-- A page of the list is a range of this, whatever is added meanwhile.
CREATE INDEX games_by_title ON games (lower(title), slug);
CREATE INDEX games_search ON games USING gin ((title || ' ' || slug) gin_trgm_ops);
CREATE INDEX games_by_tag ON games USING gin (tags);
CREATE INDEX games_by_provider ON games (provider_id);

CREATE TABLE catalogue_version (  -- added: raised by each change, so that nobody reads the catalogue again in vain
    is_the_only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT catalogue_version_is_one_row CHECK (is_the_only_row),
    version         bigint NOT NULL DEFAULT 0
);
INSERT INTO catalogue_version DEFAULT VALUES;
CREATE FUNCTION raise_catalogue_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalogue_version SET version = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER games_raise_version AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON games
    FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_version();
CREATE TRIGGER game_providers_raise_version AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON game_providers
    FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_version();

CREATE TABLE catalogue_switches (  -- added: who turned a game, or all games of a provider, on or off, and why
    id          uuid PRIMARY KEY,
    provider_id uuid NOT NULL CONSTRAINT catalogue_switches_provider_exists REFERENCES game_providers,
    game_id     uuid CONSTRAINT catalogue_switches_game_exists REFERENCES games,   -- null: the provider itself
    staff_id    uuid NOT NULL CONSTRAINT catalogue_switches_staff_exists REFERENCES staff,
    is_active   boolean NOT NULL,
    reason      text NOT NULL CONSTRAINT catalogue_switches_reason_given CHECK (length(reason) BETWEEN 1 AND 500),
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX catalogue_switches_latest ON catalogue_switches (provider_id, created_at DESC);
CREATE TRIGGER catalogue_switches_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON catalogue_switches
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE catalogue_imports (  -- added: a feed as it was looked at, and what became of it
    id          uuid PRIMARY KEY,
    provider_id uuid NOT NULL CONSTRAINT catalogue_imports_provider_exists REFERENCES game_providers,
    staff_id    uuid CONSTRAINT catalogue_imports_staff_exists REFERENCES staff,   -- null: the command line
    file_name   text NOT NULL,
    feed        jsonb NOT NULL,                             -- what was read, with what it was told to do
    differences jsonb NOT NULL,                             -- what was shown, and what was applied
    created_at  timestamptz NOT NULL DEFAULT now(),
    applied_at  timestamptz
);
CREATE INDEX catalogue_imports_latest ON catalogue_imports (provider_id, created_at DESC);
