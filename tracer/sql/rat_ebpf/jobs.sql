-- Blocking jobs: spawn_blocking, and what else runs on a pool of threads for what blocks.

-- The slice on the thread's track tells the function and whether its end was seen, the one on the job's track tells the
-- thread. By their tracks they cannot be told apart where it is not known of which process these are.
CREATE PERFETTO TABLE _rat_job_on_thread AS
SELECT
  extract_arg(arg_set_id, 'debug.instance') AS task_number,
  max(extract_arg(arg_set_id, 'debug.function')) AS function,
  max(coalesce(extract_arg(arg_set_id, 'debug.note') GLOB '*end not seen*', FALSE)) AS is_open
FROM slice
WHERE
  category = 'job' AND extract_arg(arg_set_id, 'debug.thread') IS NULL
GROUP BY
  task_number;

-- A job that began.
CREATE PERFETTO VIEW rat_job (
  -- Of the slice on the job's track, from its begin to its end.
  id LONG,
  ts TIMESTAMP,
  -- At the least, where its end was not seen until the recording, or its process, ended.
  dur DURATION,
  -- NULL of one that its thread's row has in a merged slice only, see rat_merged_jobs.
  is_end_seen BOOL,
  -- The closure that it ran, where that is known, else only that it was a job.
  function STRING,
  -- Its number in this trace, of which tasks have theirs, too.
  task_number LONG,
  -- When it was spawned, from when on it was in the queue; NULL when that was not seen, as all of what follows.
  spawned_ts TIMESTAMP,
  -- How long it was in the queue.
  queued_dur DURATION,
  -- Where it was spawned, as FILE:LINE:COLUMN, or why that is not known.
  spawned_at STRING,
  -- The task that spawned it, or why none is named.
  spawned_by STRING,
  spawned_by_task_number LONG
) AS
SELECT
  ran.id,
  ran.ts,
  ran.dur,
  NOT on_thread.is_open AS is_end_seen,
  on_thread.function,
  extract_arg(ran.arg_set_id, 'debug.instance') AS task_number,
  queued.ts AS spawned_ts,
  queued.dur AS queued_dur,
  extract_arg(queued.arg_set_id, 'debug.spawned at') AS spawned_at,
  extract_arg(queued.arg_set_id, 'debug.spawned by') AS spawned_by,
  extract_arg(queued.arg_set_id, 'debug.spawned by task number') AS spawned_by_task_number
FROM slice AS ran
LEFT JOIN _rat_job_on_thread AS on_thread
  ON on_thread.task_number = extract_arg(ran.arg_set_id, 'debug.instance')
LEFT JOIN slice AS queued
  ON queued.track_id = ran.track_id
  AND queued.category = 'queued'
  AND queued.ts + queued.dur = ran.ts
WHERE
  ran.category = 'job' AND extract_arg(ran.arg_set_id, 'debug.thread') IS NOT NULL;

-- Short blocking jobs that a thread's row has as one slice, see --max-slices.
CREATE PERFETTO VIEW rat_merged_jobs (
  id LONG,
  ts TIMESTAMP,
  -- From the begin of the first to the end of the last.
  dur DURATION,
  utid LONG,
  jobs LONG,
  -- Of all of them together.
  busy_dur DURATION
) AS
SELECT
  slice.id,
  slice.ts,
  slice.dur,
  utid,
  extract_arg(slice.arg_set_id, 'debug.blocking jobs') AS jobs,
  extract_arg(slice.arg_set_id, 'debug.busy (ns)') AS busy_dur
FROM slice
JOIN thread_track
  ON thread_track.id = slice.track_id
WHERE
  slice.category = 'merged' AND extract_arg(slice.arg_set_id, 'debug.blocking jobs') IS NOT NULL;
