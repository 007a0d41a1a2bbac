-- Rounds that do not end by themselves, and who of the staff ended them (docs/rounds.md).

CREATE TABLE audit_log (  -- added: what the staff did, for ever
    id         uuid PRIMARY KEY,
    staff_id   uuid CONSTRAINT audit_log_staff_exists REFERENCES staff,  -- null: the command line
    action     text NOT NULL,
    about_type text NOT NULL,                               -- 'round', 'provider', …
    about_id   text NOT NULL,
    details    jsonb NOT NULL DEFAULT '{}',                 -- never a secret
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_log_about ON audit_log (about_type, about_id, id);
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE round_closings (  -- added: four eyes. One proposes to end a round, another decides
    id          uuid PRIMARY KEY,
    round_id    uuid NOT NULL,                              -- no foreign key: see game_rounds
    action      text NOT NULL CONSTRAINT round_closings_action_known CHECK (action IN ('settle', 'cancel')),
    reason      text NOT NULL CONSTRAINT round_closings_reason_given CHECK (length(reason) BETWEEN 1 AND 500),
    proposed_by uuid NOT NULL CONSTRAINT round_closings_proposer_exists REFERENCES staff,
    proposed_at timestamptz NOT NULL DEFAULT now(),
    outcome     text CONSTRAINT round_closings_outcome_known CHECK (outcome IN ('approved', 'rejected', 'withdrawn')),
    decided_by  uuid CONSTRAINT round_closings_decider_exists REFERENCES staff,
    decided_at  timestamptz,
    CONSTRAINT round_closings_decided_whole
        CHECK ((outcome IS NULL) = (decided_by IS NULL) AND (outcome IS NULL) = (decided_at IS NULL)),
    -- What four eyes mean, where no code can forget it.
    CONSTRAINT round_closings_four_eyes CHECK (outcome = 'withdrawn' OR decided_by <> proposed_by)
);
CREATE UNIQUE INDEX round_closings_one_open ON round_closings (round_id) WHERE outcome IS NULL;
CREATE INDEX round_closings_by_round ON round_closings (round_id, id);

-- An index over the status of all rounds would be written twice by each round that ends, and no update of a
-- round could stay in its page. Instead rounds are walked once, in the order of their ids, when they are old
-- enough; those that have not ended then stand here until they have (docs/decisions/0020).
CREATE TABLE unfinished_rounds (  -- added: what the staff has to look at
    round_id uuid PRIMARY KEY,
    noted_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE unfinished_horizon (  -- added: up to which id rounds have been looked at
    is_the_only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT unfinished_horizon_is_one_row CHECK (is_the_only_row),
    round_id        uuid NOT NULL
);
INSERT INTO unfinished_horizon (round_id) VALUES ('00000000-0000-0000-0000-000000000000');
