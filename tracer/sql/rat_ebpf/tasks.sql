-- The tasks of the runtime, one row each.

INCLUDE PERFETTO MODULE rat_ebpf.delays;

INCLUDE PERFETTO MODULE rat_ebpf.polls;

INCLUDE PERFETTO MODULE rat_ebpf.waits;

CREATE PERFETTO TABLE _rat_polled AS
SELECT
  task_number,
  max(task_id) AS task_id,
  max(function) AS function,
  max(location) AS location,
  min(ts) AS first_ts,
  max(ts + least_dur) AS last_ts,
  count(*) AS polls,
  sum(least_dur) AS busy_dur,
  max(least_dur) AS longest_poll_dur
FROM rat_poll
WHERE
  kind = 'task of the runtime'
  -- Of a poll that was under way when the recording began it is not known which task it was of.
  AND task_number IS NOT NULL
GROUP BY
  task_number;

CREATE PERFETTO TABLE _rat_waited AS
SELECT
  task_number,
  max(function) AS function,
  min(ts) AS first_ts,
  max(ts + dur) AS last_ts,
  sum(dur) AS waiting_dur
FROM rat_wait
WHERE
  is_task
GROUP BY
  task_number;

CREATE PERFETTO TABLE _rat_was_ready AS
SELECT
  task_number,
  max(function) AS function,
  min(ts) AS first_ts,
  max(ts + dur) AS last_ts,
  sum(dur) AS ready_dur
FROM rat_ready
GROUP BY
  task_number;

CREATE PERFETTO TABLE _rat_spawned AS
SELECT
  extract_arg(arg_set_id, 'debug.task number') AS task_number,
  ts AS spawned_ts,
  extract_arg(arg_set_id, 'debug.spawned at') AS spawned_at
FROM slice
WHERE
  category = 'spawn';

CREATE PERFETTO TABLE _rat_spawned_by AS
SELECT
  extract_arg(arg_set_id, 'debug.instance') AS task_number,
  extract_arg(arg_set_id, 'debug.spawned by') AS spawned_by,
  extract_arg(arg_set_id, 'debug.spawned by task number') AS spawned_by_task_number
FROM slice
WHERE
  category = 'poll'
  AND extract_arg(arg_set_id, 'debug.spawned by') IS NOT NULL;

-- A task that was polled, or that was waiting or ready all the time.
CREATE PERFETTO TABLE rat_task (
  -- Its number in this trace.
  task_number LONG,
  -- The runtime's own id of it; NULL when it is not known.
  task_id LONG,
  -- Full name of its future, after the word "task".
  function STRING,
  -- Where that is, as FILE:LINE; NULL when it was never polled.
  location STRING,
  -- The begin and end of its polls and waits that were seen; of a task that was only ready, of that.
  first_ts TIMESTAMP,
  last_ts TIMESTAMP,
  -- As far as they are drawn one by one; NULL is none. A poll whose end was not seen counts with its `least_dur`.
  polls LONG,
  busy_dur DURATION,
  longest_poll_dur DURATION,
  -- Until it was woken, or (where wakes were not seen) polled.
  waiting_dur DURATION,
  -- Woken or spawned, and not polled yet.
  ready_dur DURATION,
  -- When and where in the source it was spawned; NULL when that was not seen.
  spawned_ts TIMESTAMP,
  spawned_at STRING,
  -- The task that spawned it, or why none is named.
  spawned_by STRING,
  spawned_by_task_number LONG
) AS
WITH
  known AS (
    SELECT
      task_number
    FROM _rat_polled
    UNION
    SELECT
      task_number
    FROM _rat_waited
    UNION
    SELECT
      task_number
    FROM _rat_was_ready
  )
SELECT
  known.task_number,
  polled.task_id,
  coalesce(polled.function, waited.function, ready.function) AS function,
  polled.location,
  coalesce(
    min(coalesce(polled.first_ts, waited.first_ts), coalesce(waited.first_ts, polled.first_ts)),
    ready.first_ts
  ) AS first_ts,
  coalesce(
    max(coalesce(polled.last_ts, waited.last_ts), coalesce(waited.last_ts, polled.last_ts)),
    ready.last_ts
  ) AS last_ts,
  polled.polls,
  polled.busy_dur,
  polled.longest_poll_dur,
  waited.waiting_dur,
  ready.ready_dur,
  _rat_spawned.spawned_ts,
  _rat_spawned.spawned_at,
  _rat_spawned_by.spawned_by,
  _rat_spawned_by.spawned_by_task_number
FROM known
LEFT JOIN _rat_polled AS polled
  USING (task_number)
LEFT JOIN _rat_waited AS waited
  USING (task_number)
LEFT JOIN _rat_was_ready AS ready
  USING (task_number)
LEFT JOIN _rat_spawned
  USING (task_number)
LEFT JOIN _rat_spawned_by
  USING (task_number);

-- Tasks by their future's name: how many, and where their time went. Functions that have one name are one row.
CREATE PERFETTO VIEW rat_task_kind (
  function STRING,
  tasks LONG,
  polls LONG,
  busy_dur DURATION,
  longest_poll_dur DURATION,
  waiting_dur DURATION,
  ready_dur DURATION
) AS
SELECT
  function,
  count(*) AS tasks,
  sum(polls) AS polls,
  sum(busy_dur) AS busy_dur,
  max(longest_poll_dur) AS longest_poll_dur,
  sum(waiting_dur) AS waiting_dur,
  sum(ready_dur) AS ready_dur
FROM rat_task
GROUP BY
  function;
