-- oldest: 1
-- The line above is read: the oldest schema whose releases may still work on a database that has this step.
--
-- A record is its JSON in `doc`; the other columns repeat what queries and compare-and-set need of it.
-- Texts sort by code point: their order is part of a page's token.
CREATE TABLE longcall_task (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    version integer NOT NULL,
    kind text COLLATE "C" NOT NULL,
    host text COLLATE "C",
    create_time timestamptz NOT NULL,
    state text COLLATE "C" NOT NULL,
    reason text COLLATE "C",
    owner text COLLATE "C",
    cancel_owner text COLLATE "C", -- the owner, once a cancel was asked for
    update_time timestamptz NOT NULL,
    finish_time timestamptz,
    next_attempt_time timestamptz,
    doc text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05); -- a task is written three times in its life

-- Lists are newest first by (create_time, id): each of these gives one filter in that order, without sorting.
CREATE INDEX longcall_task_newest ON longcall_task (kind, create_time, id);
CREATE INDEX longcall_task_state ON longcall_task (kind, state, create_time, id);
CREATE INDEX longcall_task_host ON longcall_task (kind, host, create_time, id);
CREATE INDEX longcall_task_reason ON longcall_task (kind, reason, create_time, id) WHERE reason IS NOT NULL;

-- These give few tasks out of many; what they give is sorted afterwards.
CREATE INDEX longcall_task_update ON longcall_task (kind, update_time);
CREATE INDEX longcall_task_next ON longcall_task (kind, next_attempt_time) WHERE state IN ('SCHEDULED', 'WAITING');

CREATE INDEX longcall_task_finish ON longcall_task (finish_time, id) WHERE state IN ('SUCCEEDED', 'FAILED', 'CANCELLED');
CREATE INDEX longcall_task_running ON longcall_task (owner, id) WHERE state = 'RUNNING';
CREATE INDEX longcall_task_cancel ON longcall_task (cancel_owner, id) WHERE state = 'RUNNING' AND cancel_owner IS NOT NULL;

-- Labels never change, so they are written once, at the insert. The key is a label's tasks in the order of a list.
CREATE TABLE longcall_label (
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    create_time timestamptz NOT NULL,
    id text COLLATE "C" NOT NULL,
    PRIMARY KEY (key, value, kind, create_time, id)
);

CREATE TABLE longcall_runner (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    start_time timestamptz NOT NULL,
    beat_time timestamptz NOT NULL,
    calls integer NOT NULL,
    drained boolean NOT NULL,
    gone boolean NOT NULL
);
