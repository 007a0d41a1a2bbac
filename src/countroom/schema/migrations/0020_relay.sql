-- Which tables the relay has copied into which Kafka since their slot was made: a copy that was broken off
-- goes on with the table that it had not finished.
CREATE TABLE relay_copies (  -- added: design, "Sources and sinks are interchangeable"
    slot       text NOT NULL,
    cluster    text NOT NULL,  -- Kafka's own id: another Kafka has none of it
    topic      text NOT NULL,
    rows       bigint NOT NULL,
    copied_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (slot, cluster, topic)
);

ALTER TABLE dead_letters  -- added: P9. Where it was, and what somebody did about it
    ADD COLUMN partition integer,      -- of the topic, and position is its offset there; null: read from the log itself
    ADD COLUMN outcome text,           -- null: nobody has done anything yet
    ADD COLUMN note text,              -- why it was discarded
    ADD COLUMN settled_at timestamptz,
    DROP CONSTRAINT dead_letters_once,
    ADD CONSTRAINT dead_letters_once UNIQUE NULLS NOT DISTINCT (topic, partition, position, body_hash),
    ADD CONSTRAINT dead_letters_outcome_known CHECK (outcome IN ('stored', 'discarded')),
    ADD CONSTRAINT dead_letters_outcome_has_its_time CHECK ((outcome IS NULL) = (settled_at IS NULL)),
    ADD CONSTRAINT dead_letters_discarded_with_a_reason CHECK (outcome <> 'discarded' OR note <> '');
CREATE INDEX dead_letters_open ON dead_letters (topic) WHERE outcome IS NULL;
