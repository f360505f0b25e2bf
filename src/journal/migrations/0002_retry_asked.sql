-- 1 while a person has asked to run an ended job again and its files were not taken from the inbox yet.
ALTER TABLE jobs ADD COLUMN retry_asked INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_retry_asked ON jobs (inbox) WHERE retry_asked = 1;

-- For a corrected sidecar: the failed job whose medium it is for.
CREATE INDEX jobs_failed ON jobs (inbox, input) WHERE state = 'failed';

-- The mount that each inbox lay on when it was last used, as JSON, so that a bare mount point is not taken for it.
CREATE TABLE roots (
    path TEXT PRIMARY KEY NOT NULL,
    what TEXT NOT NULL
) STRICT;
