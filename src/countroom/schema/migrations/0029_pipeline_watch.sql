-- What the pipeline's processes say of themselves, and the row by which the time from commit to visible is measured.

-- added: for the page and the metrics. One row a process, written every second by itself; who does not write is gone.
CREATE TABLE pipeline_processes (
    id         uuid PRIMARY KEY,                           -- of this start: a process that starts again is another one
    role       text NOT NULL,
    host       text NOT NULL,
    pid        integer NOT NULL,
    state      text NOT NULL,
    sentence   text NOT NULL DEFAULT '',                   -- why it does not move, as somebody must read it
    figures    jsonb NOT NULL DEFAULT '{}',                -- what it has counted since it started (events/meters.py)
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,                                -- null while it runs, and when nobody could say goodbye
    CONSTRAINT pipeline_processes_role_known CHECK (role IN ('pipeline', 'relay', 'load', 'work')),
    CONSTRAINT pipeline_processes_state_known
        CHECK (state IN ('starting', 'copying', 'following', 'waiting', 'retrying', 'ended'))
) WITH (fillfactor = 50);  -- updated every second: its new versions stay on their page

-- added: for the page and the metrics. One row, touched once a second and published like a fact: the time until it
-- is in the warehouse is the time that facts need, also when nobody plays.
CREATE TABLE canaries (
    id      uuid PRIMARY KEY,
    sent_at timestamptz NOT NULL
) WITH (fillfactor = 50);
ALTER PUBLICATION countroom ADD TABLE canaries (id, sent_at);
