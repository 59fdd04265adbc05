-- Queues, their tasks, and the names of tasks that are gone.
-- Times are microseconds since 1970 in UTC, durations microseconds; configurations and targets are JSON.

CREATE TABLE queue (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: what belongs to a deleted queue stays apart from its namesake
    name TEXT NOT NULL UNIQUE,
    config TEXT NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0,
    purge_time INTEGER,
    deleted INTEGER -- when; the row then only keeps the name from being used again too soon
) STRICT;

CREATE TABLE task (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: a late outcome can't meet another task of the same name
    queue INTEGER NOT NULL,
    id TEXT NOT NULL,
    target TEXT NOT NULL,
    body BLOB NOT NULL,
    schedule INTEGER NOT NULL,
    created INTEGER NOT NULL,
    deadline INTEGER,
    retry TEXT,
    open INTEGER NOT NULL DEFAULT 0, -- a dispatch is on its way
    dispatch_count INTEGER NOT NULL DEFAULT 0,
    response_count INTEGER NOT NULL DEFAULT 0,
    execution_count INTEGER NOT NULL DEFAULT 0,
    previous INTEGER, -- what the next dispatch says in its header PreviousResponse
    first_dispatch INTEGER,
    last_schedule INTEGER,
    last_dispatch INTEGER,
    last_response INTEGER,
    last_code INTEGER,
    last_message TEXT NOT NULL DEFAULT '',
    UNIQUE (queue, id)
) STRICT;

CREATE TABLE gone (
    number INTEGER PRIMARY KEY, -- grows with time, so the oldest are found without a second index
    queue INTEGER NOT NULL,
    id TEXT NOT NULL,
    since INTEGER NOT NULL,
    UNIQUE (queue, id)
) STRICT;
