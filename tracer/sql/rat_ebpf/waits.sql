-- Every wait that was recorded, and where in the source the time went.

-- A wait of a future or a task, from a pending poll to its wake, where that was seen, else to its next poll. Futures
-- that wait for each other wait at the same time: sum up only tasks' own waits (is_task), or only one function's.
CREATE PERFETTO VIEW rat_wait (
  -- Of the slice on the future's or the task's track.
  id LONG,
  ts TIMESTAMP,
  -- How long; what was open at the end of the recording lasts until then, see note.
  dur DURATION,
  track_id LONG,
  -- Full name of what waits.
  function STRING,
  -- Whether it is a task as a whole.
  is_task BOOL,
  -- The future's number in this trace.
  instance LONG,
  -- The number in this trace of the task that it belongs to, in rat_task.
  task_number LONG,
  -- Which await of the function, or 'unknown'.
  state STRING,
  -- Where it awaits, as FILE:LINE; NULL when that is not known.
  location STRING,
  -- The type of what it awaits.
  awaitee STRING,
  -- The futures from there down to the one that waits, one a line.
  chain STRING,
  -- What is unusual about it.
  note STRING,
  -- Whether it may have ended sooner, its future dropped unseen. Such waits belong into no sum.
  is_unsure BOOL
) AS
SELECT
  slice.id,
  slice.ts,
  slice.dur,
  slice.track_id,
  extract_arg(slice.arg_set_id, 'debug.function') AS function,
  extract_arg(slice.arg_set_id, 'debug.instance') = extract_arg(slice.arg_set_id, 'debug.task number') AS is_task,
  extract_arg(slice.arg_set_id, 'debug.instance') AS instance,
  extract_arg(slice.arg_set_id, 'debug.task number') AS task_number,
  extract_arg(slice.arg_set_id, 'debug.state') AS state,
  extract_arg(slice.arg_set_id, 'debug.await') AS location,
  extract_arg(slice.arg_set_id, 'debug.awaitee') AS awaitee,
  (
    SELECT
      group_concat(string_value, char(10))
    FROM args
    WHERE
      args.arg_set_id = slice.arg_set_id
      AND args.flat_key = 'debug.chain'
  ) AS chain,
  extract_arg(slice.arg_set_id, 'debug.note') AS note,
  extract_arg(slice.arg_set_id, 'debug.instance') IS NOT extract_arg(slice.arg_set_id, 'debug.task number')
  AND coalesce(
    extract_arg(slice.arg_set_id, 'debug.note') GLOB '*may have ended sooner*'
    OR extract_arg(slice.arg_set_id, 'debug.note') GLOB '*some time before another one*',
    FALSE
  ) AS is_unsure
FROM slice
WHERE
  slice.category = 'wait';

-- Where functions wait, by the place in the source and what is awaited there; without waits that may have ended sooner.
CREATE PERFETTO VIEW rat_waits_by_location (
  function STRING,
  -- Whether these are whole tasks.
  is_task BOOL,
  -- FILE:LINE; NULL when it is not known.
  location STRING,
  awaitee STRING,
  waits LONG,
  total_dur DURATION,
  p50_dur DURATION,
  p99_dur DURATION,
  max_dur DURATION
) AS
SELECT
  function,
  is_task,
  location,
  awaitee,
  count(*) AS waits,
  sum(dur) AS total_dur,
  cast_int!(percentile(dur, 50)) AS p50_dur,
  cast_int!(percentile(dur, 99)) AS p99_dur,
  max(dur) AS max_dur
FROM rat_wait
WHERE
  NOT is_unsure
GROUP BY
  function,
  is_task,
  location,
  awaitee;
