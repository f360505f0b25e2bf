-- A request in doubt that counts as spent has no task: its `id` is NULL now. Earlier formats gave it an id that began with
-- "in doubt since".
UPDATE jobs SET body = json_set(body, '$.charges', (
    SELECT json_group_array(
        CASE WHEN value ->> '$.task' GLOB 'in doubt since *' THEN json_set(value, '$.task', NULL) ELSE json(value) END
    ) FROM json_each(body, '$.charges')
)) WHERE id IN (SELECT job FROM tasks WHERE id GLOB 'in doubt since *');

ALTER TABLE tasks RENAME TO old_tasks;
DROP INDEX tasks_accepted_at;
CREATE TABLE tasks (
    id          TEXT,                     -- NULL for a request in doubt
    job         TEXT NOT NULL REFERENCES jobs (id),
    inbox       TEXT NOT NULL,
    model       TEXT,
    accepted_at INTEGER NOT NULL,         -- when the request went out, for one in doubt
    estimated   REAL,
    charged     REAL,
    UNIQUE (id, job)
) STRICT;
INSERT INTO tasks
    SELECT CASE WHEN id GLOB 'in doubt since *' THEN NULL ELSE id END, job, inbox, model, accepted_at, estimated, charged
    FROM old_tasks ORDER BY rowid;
DROP TABLE old_tasks;
CREATE INDEX tasks_accepted_at ON tasks (accepted_at);
CREATE UNIQUE INDEX tasks_doubts ON tasks (job, accepted_at) WHERE id IS NULL;
