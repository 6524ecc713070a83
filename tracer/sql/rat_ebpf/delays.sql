-- From the wake (or the spawn) of a task to the poll that follows: how long it was ready and nobody polled it, and who
-- had woken (or spawned) it.

-- A time in which a task was ready to be polled, since it was woken or spawned. Before polls that were merged to keep
-- the trace openable (rat_merged_polls) there are none: a task that is polled very often can have next to none here.
CREATE PERFETTO VIEW rat_ready (
  -- Of the slice on the task's track.
  id LONG,
  ts TIMESTAMP,
  dur DURATION,
  track_id LONG,
  function STRING,
  -- The task's number in this trace, in rat_task.
  task_number LONG,
  -- Whether it was spawned, so that its first poll was the one that followed; else it was woken.
  is_first BOOL,
  -- Whether a poll followed, or its end; else `dur` lasts until the recording's end, or the probes', and is no delay.
  is_over BOOL,
  -- The task that woke or spawned it, or why none is named.
  woken_by STRING,
  woken_by_task_number LONG,
  -- The runtime's own id of that task.
  woken_by_task_id LONG,
  -- The thread on which that was done, with its id.
  woken_on STRING,
  -- Where it had been waiting, as FILE:LINE.
  location STRING
) AS
SELECT
  id,
  ts,
  dur,
  track_id,
  extract_arg(arg_set_id, 'debug.function') AS function,
  extract_arg(arg_set_id, 'debug.task number') AS task_number,
  extract_arg(arg_set_id, 'debug.spawned by') IS NOT NULL AS is_first,
  NOT coalesce(extract_arg(arg_set_id, 'debug.note') GLOB '*no poll followed*', FALSE) AS is_over,
  coalesce(extract_arg(arg_set_id, 'debug.woken by'), extract_arg(arg_set_id, 'debug.spawned by')) AS woken_by,
  coalesce(
    extract_arg(arg_set_id, 'debug.woken by task number'),
    extract_arg(arg_set_id, 'debug.spawned by task number')
  ) AS woken_by_task_number,
  coalesce(
    extract_arg(arg_set_id, 'debug.woken by task'),
    extract_arg(arg_set_id, 'debug.spawned by task')
  ) AS woken_by_task_id,
  coalesce(extract_arg(arg_set_id, 'debug.woken on'), extract_arg(arg_set_id, 'debug.spawned on')) AS woken_on,
  extract_arg(arg_set_id, 'debug.await') AS location
FROM slice
WHERE
  category = 'ready';

-- A wake that made a task ready. Those without effect are not drawn, for the task was ready; the summary counts them.
CREATE PERFETTO VIEW rat_wake (
  -- Of the instant on the track of the thread that woke.
  id LONG,
  ts TIMESTAMP,
  utid LONG,
  -- The poll in which it was done, in rat_poll; NULL when the thread polled nothing.
  waker_id LONG,
  -- The task that was woken, in rat_task.
  task_number LONG,
  -- The slice on that task's track of the poll that followed; NULL, as `delay` is, where none did until the end of the
  -- recording, or of the task, and where that poll is not drawn (--max-slices, --min-us).
  poll_id LONG,
  -- From the wake to that poll.
  delay DURATION
) AS
SELECT
  mark.id,
  mark.ts,
  thread_track.utid,
  mark.parent_id AS waker_id,
  extract_arg(mark.arg_set_id, 'debug.task number') AS task_number,
  flow.slice_in AS poll_id,
  polled.ts - mark.ts AS delay
FROM slice AS mark
JOIN thread_track
  ON thread_track.id = mark.track_id
LEFT JOIN flow
  ON flow.slice_out = mark.id
LEFT JOIN slice AS polled
  ON polled.id = flow.slice_in
WHERE
  mark.category = 'wake';

-- How long tasks were ready until they were polled, by kind of task: of what was over, as the summary has it.
CREATE PERFETTO VIEW rat_scheduling_delay (
  function STRING,
  -- Whether since their spawn; else since wakes.
  is_first BOOL,
  -- How often.
  count LONG,
  total_dur DURATION,
  p50_dur DURATION,
  p99_dur DURATION,
  max_dur DURATION
) AS
SELECT
  function,
  is_first,
  count(*) AS count,
  sum(dur) AS total_dur,
  cast_int!(percentile(dur, 50)) AS p50_dur,
  cast_int!(percentile(dur, 99)) AS p99_dur,
  max(dur) AS max_dur
FROM rat_ready
WHERE
  is_over
GROUP BY
  function,
  is_first;
