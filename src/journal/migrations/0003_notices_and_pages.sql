-- What people or their programs are still to be told of. A row for each of those who are told; struck out once heard.
CREATE TABLE notices (
    id       TEXT NOT NULL,
    target   TEXT NOT NULL,               -- command or webhook
    at       INTEGER NOT NULL,            -- microseconds since 1970, UTC
    body     TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due      INTEGER NOT NULL,
    PRIMARY KEY (id, target)
) STRICT;
CREATE INDEX notices_due ON notices (due);

-- For a page of the jobs that failed among a million that did not; holds all that counting needs, too.
CREATE INDEX jobs_ended_of_state ON jobs (state, updated_at DESC, id, inbox) WHERE open = 0;
