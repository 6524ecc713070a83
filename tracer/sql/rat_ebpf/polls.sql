-- Every poll that was recorded, one row each.

-- A poll of a future or a task, on the thread that made it. Where short polls were merged to keep the trace openable, or
-- left out, they are not here: see rat_merged_polls.
CREATE PERFETTO VIEW rat_poll (
  -- Of the slice on the thread's track.
  id LONG,
  -- When the poll began.
  ts TIMESTAMP,
  -- How long it took by the clock; NULL when its begin or its end was not seen: it was under way when the recording began
  -- or ended, or when the probes of its function came or went, or its exit was not probed (`--exits`), or lost.
  dur DURATION,
  -- How long it took at the least: as `dur`, or as long as it, or what it polled, was seen.
  least_dur DURATION,
  -- Whether its end was seen, or is known to within a 16th of its length. One that holds its thread for good never has
  -- an end.
  is_end_seen BOOL,
  -- How many polls around it were under way on the thread.
  depth LONG,
  -- The poll around it, in rat_poll.
  parent_id LONG,
  -- The thread, in table thread.
  utid LONG,
  tid LONG,
  thread_name STRING,
  -- Full name of what was polled.
  function STRING,
  -- 'task of the runtime', 'async fn or block' or 'hand-written future'.
  kind STRING,
  crate STRING,
  -- Where the function is, as FILE:LINE.
  location STRING,
  -- The future's number in this trace; NULL when it is not known which one it was.
  instance LONG,
  -- The number in this trace of the task that it belongs to, in rat_task.
  task_number LONG,
  -- The runtime's own id of that task.
  task_id LONG,
  -- Where it had been waiting.
  state STRING,
  -- 'ready', 'pending' or 'unknown'.
  result STRING,
  -- What is unusual about it.
  note STRING
) AS
SELECT
  slice.id,
  slice.ts,
  iif(slice.is_begin_seen AND slice.is_end_seen, slice.dur, NULL) AS dur,
  slice.dur AS least_dur,
  slice.is_end_seen,
  slice.depth,
  slice.parent_id,
  utid,
  thread.tid,
  thread.name AS thread_name,
  extract_arg(slice.arg_set_id, 'debug.function') AS function,
  extract_arg(slice.arg_set_id, 'debug.kind') AS kind,
  extract_arg(slice.arg_set_id, 'debug.crate') AS crate,
  extract_arg(slice.arg_set_id, 'debug.location') AS location,
  extract_arg(slice.arg_set_id, 'debug.instance') AS instance,
  extract_arg(slice.arg_set_id, 'debug.task number') AS task_number,
  extract_arg(slice.arg_set_id, 'debug.task') AS task_id,
  extract_arg(slice.arg_set_id, 'debug.state') AS state,
  extract_arg(slice.arg_set_id, 'debug.result') AS result,
  extract_arg(slice.arg_set_id, 'debug.note') AS note
FROM (
  SELECT
    *,
    NOT coalesce(extract_arg(arg_set_id, 'debug.note') GLOB '*was under way when*', FALSE) AS is_begin_seen,
    NOT coalesce(extract_arg(arg_set_id, 'debug.note') GLOB '*end not seen*', FALSE)
    AND coalesce(extract_arg(arg_set_id, 'debug.may have ended later by (ns)'), 0) * 16 <= dur AS is_end_seen
  FROM slice
  WHERE
    category = 'poll'
) AS slice
JOIN thread_track
  ON thread_track.id = slice.track_id
JOIN thread
  USING (utid);

-- Short polls that the trace has as one slice, see --max-slices.
CREATE PERFETTO VIEW rat_merged_polls (
  id LONG,
  ts TIMESTAMP,
  -- From the begin of the first to the end of the last.
  dur DURATION,
  utid LONG,
  polls LONG,
  -- Of all of them together; NULL where that is not known of all: see rat_poll.dur.
  busy_dur DURATION
) AS
SELECT
  slice.id,
  slice.ts,
  slice.dur,
  utid,
  extract_arg(slice.arg_set_id, 'debug.polls') AS polls,
  extract_arg(slice.arg_set_id, 'debug.busy (ns)') AS busy_dur
FROM slice
JOIN thread_track
  ON thread_track.id = slice.track_id
WHERE
  slice.category = 'merged' AND extract_arg(slice.arg_set_id, 'debug.polls') IS NOT NULL;
