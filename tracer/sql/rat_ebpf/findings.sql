-- What the recording shows that somebody can act on, as docs/findings.md has it.
CREATE PERFETTO VIEW rat_finding (
  -- Of the instant on the track "Findings".
  id LONG,
  ts TIMESTAMP,
  -- For how long, from `ts` on.
  dur DURATION,
  -- Of which process; NULL when that is not known.
  upid LONG,
  rule STRING,
  -- critical, warning or info.
  severity STRING,
  title STRING,
  -- The function that it is about.
  function STRING,
  -- FILE:LINE, of its await, or its own.
  location STRING,
  -- The thread to look at.
  tid LONG,
  -- The task to look at, see rat_task.
  task_number LONG,
  -- What usually helps.
  advice STRING,
  -- More arguments, as `evidence …`, are in table args.
  arg_set_id LONG
) AS
SELECT
  slice.id,
  slice.ts,
  extract_arg(slice.arg_set_id, 'debug.duration (ns)') AS dur,
  process_track.upid,
  extract_arg(slice.arg_set_id, 'debug.rule') AS rule,
  extract_arg(slice.arg_set_id, 'debug.severity') AS severity,
  substr(slice.name, length(extract_arg(slice.arg_set_id, 'debug.rule')) + 3) AS title,
  extract_arg(slice.arg_set_id, 'debug.function') AS function,
  extract_arg(slice.arg_set_id, 'debug.location') AS location,
  extract_arg(slice.arg_set_id, 'debug.thread') AS tid,
  extract_arg(slice.arg_set_id, 'debug.task number') AS task_number,
  extract_arg(slice.arg_set_id, 'debug.advice') AS advice,
  slice.arg_set_id
FROM slice
JOIN track
  ON track.id = slice.track_id
LEFT JOIN process_track
  ON process_track.id = slice.track_id
WHERE
  slice.category = 'finding' AND track.name = 'Findings';
