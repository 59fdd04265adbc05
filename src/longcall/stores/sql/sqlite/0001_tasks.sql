-- A record is its JSON in `doc`; the other columns repeat what queries and compare-and-set need of it.
-- Times are RFC 3339 in UTC with microseconds, so that texts sort as times do. `doc` is last: a row's other columns are read without it.
CREATE TABLE task (
    id TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    host TEXT,
    create_time TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    owner TEXT,
    cancel_owner TEXT, -- the owner, once a cancel was asked for
    update_time TEXT NOT NULL,
    finish_time TEXT,
    next_attempt_time TEXT,
    doc TEXT NOT NULL
);

-- Lists are newest first by (create_time, id): each of these gives one filter in that order, without sorting.
CREATE INDEX task_newest ON task (kind, create_time, id);
CREATE INDEX task_state ON task (kind, state, create_time, id);
CREATE INDEX task_host ON task (kind, host, create_time, id);
CREATE INDEX task_reason ON task (kind, reason, create_time, id) WHERE reason IS NOT NULL;

-- These give few tasks out of many; what they give is sorted afterwards.
CREATE INDEX task_update ON task (kind, update_time);
CREATE INDEX task_next ON task (kind, next_attempt_time) WHERE next_attempt_time IS NOT NULL;

CREATE INDEX task_finish ON task (finish_time) WHERE finish_time IS NOT NULL;
CREATE INDEX task_running ON task (owner, id) WHERE state = 'RUNNING';
CREATE INDEX task_cancel ON task (cancel_owner, id) WHERE cancel_owner IS NOT NULL;

-- Labels never change, so they are written once, at the insert. The key is a label's tasks in the order of a list.
CREATE TABLE task_label (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    kind TEXT NOT NULL,
    create_time TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (key, value, kind, create_time, id)
) WITHOUT ROWID;

CREATE INDEX task_label_id ON task_label (id);

CREATE TABLE runner (
    name TEXT NOT NULL PRIMARY KEY,
    start_time TEXT NOT NULL,
    beat_time TEXT NOT NULL,
    calls INTEGER NOT NULL,
    drained INTEGER NOT NULL,
    gone INTEGER NOT NULL
) WITHOUT ROWID;
