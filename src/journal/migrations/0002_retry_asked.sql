-- 1 while a person has asked to run an ended job again and its files were not taken from the inbox yet.
ALTER TABLE jobs ADD COLUMN retry_asked INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_retry_asked ON jobs (inbox) WHERE retry_asked = 1;
