-- A job as it stands. The columns beside `body` are what queries need; `body` holds the whole job as JSON.
CREATE TABLE jobs (
    id         TEXT PRIMARY KEY NOT NULL,
    seq        INTEGER NOT NULL,          -- how many events it has seen; guards against two writers
    inbox      TEXT NOT NULL,
    input      TEXT NOT NULL,
    state      TEXT NOT NULL,
    open       INTEGER NOT NULL,          -- 1 while the daemon still has something to do for it
    created_at INTEGER NOT NULL,          -- times are microseconds since 1970, UTC
    updated_at INTEGER NOT NULL,
    body       TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_open ON jobs (created_at) WHERE open = 1;
CREATE INDEX jobs_ended ON jobs (updated_at DESC, id) WHERE open = 0;

-- What happened to a job, in order.
CREATE TABLE events (
    job   TEXT NOT NULL REFERENCES jobs (id),
    seq   INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;

-- What each task costs, in credits: the base of limits on spending.
CREATE TABLE tasks (
    id          TEXT NOT NULL,
    job         TEXT NOT NULL REFERENCES jobs (id),
    inbox       TEXT NOT NULL,
    model       TEXT,
    accepted_at INTEGER NOT NULL,
    estimated   REAL,
    charged     REAL,
    PRIMARY KEY (id, job)
) STRICT;
CREATE INDEX tasks_accepted_at ON tasks (accepted_at);

-- Media that Runway holds for 24 hours. `account` tells API accounts apart without holding a key.
CREATE TABLE uploads (
    account    TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    uri        TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (account, sha256)
) STRICT;
