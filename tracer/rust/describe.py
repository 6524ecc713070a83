"""A candidate as a poll function, by its debug information or else by its symbols and its code."""

from __future__ import annotations

from tracer.model import (
    FunctionKind,
    HeaderTest,
    PollFunction,
    Refusal,
    Register,
    Source,
    SourceLocation,
    TaskIdPath,
)
from tracer.rust.candidate_code import CandidateCode
from tracer.rust.candidates import Candidate, Role
from tracer.rust.debug_information import DebugInformation
from tracer.rust.generators import is_wrapper_poll
from tracer.rust.judge import Verdict
from tracer.rust.naming import (
    coroutine_name,
    crate_of,
    display_name,
    future_type_of,
    is_closure,
    is_function_type,
    with_items,
)
from tracer.rust.runtimes import (
    BLOCKING_REASON,
    UNKNOWN_JOB,
    is_blocking_job,
    job_name,
    job_of,
    spawned_future,
    task_name,
)


def describe(candidate: Candidate, information: DebugInformation, code: CandidateCode) -> PollFunction | Refusal | None:
    """The function without its exits; a Refusal when it must not be probed; None when it is no poll function."""
    if information.knows(candidate.address):
        verdicts = information.verdicts(candidate)
        return _from_verdict(candidate, verdicts[0], information, code) if verdicts else None
    return _from_symbols(candidate, information.location(candidate.address), code)


def _from_verdict(
    candidate: Candidate, verdict: Verdict, information: DebugInformation, code: CandidateCode
) -> PollFunction | Refusal | None:
    if verdict.kind is FunctionKind.TASK:
        path = verdict.type_path or code.task_type(candidate)
        runtime = verdict.runtime or ""
        if path is not None and is_blocking_job(path) and is_function_type(job_of(path, runtime) or ""):
            path = _with_item(candidate, path, information, code)
        task_id = verdict.task_id or code.task_id(runtime)
        location = verdict.location if verdict.has_types else None  # else it is that of the runtime's own poll
        return _task(candidate, runtime, path, location, Source.DWARF, task_id, code.aborted(runtime, task_id))
    symbol = _symbol_name(candidate, verdict.kind)
    path = verdict.type_path
    if is_blocking_job(path or future_type_of(symbol) or ""):
        return _blocking(candidate, display_name(path or symbol), verdict.location)
    if verdict.kind is FunctionKind.COROUTINE:
        name = coroutine_name(symbol, path, verdict.own_name)
    else:
        name = display_name(path or future_type_of(symbol) or symbol)
    function = PollFunction(
        address=candidate.address,
        offset=candidate.offset,
        size=candidate.size,
        name=name,
        kind=verdict.kind,
        source=Source.DWARF,
        exits=(),
        names=candidate.names,
        crate=crate_of(path or symbol),
        location=verdict.location,
        self_register=verdict.self_register,
        context_register=verdict.context_register,
        state_offset=verdict.state_offset,
        result=verdict.result,
        layout_source=Source.DWARF if verdict.state_offset is not None else None,
    )
    if not verdict.has_types:
        return code.with_arguments(function)
    return code.corrected(function) if verdict.is_likely else function


def _with_item(candidate: Candidate, path: str, information: DebugInformation, code: CandidateCode) -> str:
    """A job's type with the path of the function that it runs, of which debug information has the signature."""
    symbol = code.task_type(candidate)
    if symbol is None or symbol == UNKNOWN_JOB:
        dropped = information.dropped_tasks(code.task_parts(candidate))
        symbol = dropped.pop() if len(dropped) == 1 else None
    return with_items(path, symbol) if symbol is not None else path


def _from_symbols(
    candidate: Candidate, location: SourceLocation | None, code: CandidateCode
) -> PollFunction | Refusal | None:
    for role in (Role.TOKIO, Role.ASYNC_TASK):
        if role in candidate.roles:
            path, task_id = code.task_type(candidate), code.task_id(role.value)
            aborted = code.aborted(role.value, task_id)
            return _task(candidate, role.value, path, None, Source.SYMBOLS, task_id, aborted)
    if (Role.CLOSURE in candidate.roles or is_wrapper_poll(candidate.names)) and code.can_resume(candidate):
        kind, source = FunctionKind.COROUTINE, Source.CODE
    elif Role.FUTURE in candidate.roles:
        kind, source = FunctionKind.FUTURE, Source.SYMBOLS
    else:
        return None
    symbol = _symbol_name(candidate, kind)
    type_path = future_type_of(symbol)
    if is_blocking_job(type_path or ""):
        return _blocking(candidate, display_name(symbol), location)
    return code.with_arguments(
        PollFunction(
            address=candidate.address,
            offset=candidate.offset,
            size=candidate.size,
            name=display_name(type_path) if type_path is not None else coroutine_name(symbol, None),
            kind=kind,
            source=source,
            exits=(),
            names=candidate.names,
            crate=crate_of(symbol),
            location=location,
        )
    )


def _task(
    candidate: Candidate,
    runtime: str,
    type_path: str | None,
    location: SourceLocation | None,
    source: Source,
    task_id: TaskIdPath | None,
    aborted: HeaderTest | None,
) -> PollFunction | Refusal:
    future = spawned_future(type_path) if type_path is not None else None
    job = job_of(future, runtime) if future is not None else None
    if job is None and type_path is not None and is_blocking_job(type_path):
        return _blocking(candidate, task_name(type_path, runtime), location)
    return PollFunction(
        address=candidate.address,
        offset=candidate.offset,
        size=candidate.size,
        name=task_name(future, runtime) if job is None else job_name(job),
        kind=FunctionKind.TASK,
        source=source,
        exits=(),
        names=candidate.names,
        crate=crate_of(job or future) if future is not None else None,
        location=location,
        self_register=Register.RDI,
        runtime=runtime,
        task_id=task_id,
        aborted=aborted,
        is_job=job is not None,
    )


def _blocking(candidate: Candidate, name: str, location: SourceLocation | None) -> Refusal:
    return Refusal(name, BLOCKING_REASON, candidate.address, location)


def _symbol_name(candidate: Candidate, kind: FunctionKind) -> str:
    """The symbol of the right kind among those at the address."""
    fits = is_closure if kind is FunctionKind.COROUTINE else lambda name: future_type_of(name) is not None
    return next((name for name in candidate.names if fits(name)), candidate.names[0])
