from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SourceLocation(_message.Message):
    __slots__ = ("file", "line")
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    file: str
    line: int
    def __init__(self, file: _Optional[str] = ..., line: _Optional[int] = ...) -> None: ...

class ExitSite(_message.Message):
    __slots__ = ("offset", "kind", "cost", "after")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    offset: int
    kind: str
    cost: str
    after: int
    def __init__(self, offset: _Optional[int] = ..., kind: _Optional[str] = ..., cost: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class ResultEncoding(_message.Message):
    __slots__ = ("mask", "pending")
    MASK_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    mask: int
    pending: int
    def __init__(self, mask: _Optional[int] = ..., pending: _Optional[int] = ...) -> None: ...

class AwaitPoint(_message.Message):
    __slots__ = ("state", "location", "awaitee", "macro", "is_unverified")
    STATE_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    AWAITEE_FIELD_NUMBER: _ClassVar[int]
    MACRO_FIELD_NUMBER: _ClassVar[int]
    IS_UNVERIFIED_FIELD_NUMBER: _ClassVar[int]
    state: int
    location: SourceLocation
    awaitee: str
    macro: SourceLocation
    is_unverified: bool
    def __init__(self, state: _Optional[int] = ..., location: _Optional[_Union[SourceLocation, _Mapping]] = ..., awaitee: _Optional[str] = ..., macro: _Optional[_Union[SourceLocation, _Mapping]] = ..., is_unverified: _Optional[bool] = ...) -> None: ...

class TaskIdPath(_message.Message):
    __slots__ = ("vtable", "offset")
    VTABLE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    vtable: int
    offset: int
    def __init__(self, vtable: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class HeaderTest(_message.Message):
    __slots__ = ("offset", "mask", "value")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    offset: int
    mask: int
    value: int
    def __init__(self, offset: _Optional[int] = ..., mask: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...

class EndPoint(_message.Message):
    __slots__ = ("address", "offset", "name", "kind", "futures", "only_if", "state_offset", "cost", "done", "undone", "others")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FUTURES_FIELD_NUMBER: _ClassVar[int]
    ONLY_IF_FIELD_NUMBER: _ClassVar[int]
    STATE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    UNDONE_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    address: int
    offset: int
    name: str
    kind: str
    futures: _containers.RepeatedScalarFieldContainer[int]
    only_if: HeaderTest
    state_offset: int
    cost: str
    done: HeaderTest
    undone: HeaderTest
    others: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, address: _Optional[int] = ..., offset: _Optional[int] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., futures: _Optional[_Iterable[int]] = ..., only_if: _Optional[_Union[HeaderTest, _Mapping]] = ..., state_offset: _Optional[int] = ..., cost: _Optional[str] = ..., done: _Optional[_Union[HeaderTest, _Mapping]] = ..., undone: _Optional[_Union[HeaderTest, _Mapping]] = ..., others: _Optional[_Iterable[int]] = ...) -> None: ...

class SpawnPoint(_message.Message):
    __slots__ = ("address", "offset", "name", "step", "register", "is_return", "cost", "tells_caller")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    IS_RETURN_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    TELLS_CALLER_FIELD_NUMBER: _ClassVar[int]
    address: int
    offset: int
    name: str
    step: str
    register: str
    is_return: bool
    cost: str
    tells_caller: bool
    def __init__(self, address: _Optional[int] = ..., offset: _Optional[int] = ..., name: _Optional[str] = ..., step: _Optional[str] = ..., register: _Optional[str] = ..., is_return: _Optional[bool] = ..., cost: _Optional[str] = ..., tells_caller: _Optional[bool] = ...) -> None: ...

class WakePoint(_message.Message):
    __slots__ = ("address", "offset", "name", "effective", "is_indirect", "cost", "state", "begins")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    IS_INDIRECT_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BEGINS_FIELD_NUMBER: _ClassVar[int]
    address: int
    offset: int
    name: str
    effective: HeaderTest
    is_indirect: bool
    cost: str
    state: str
    begins: int
    def __init__(self, address: _Optional[int] = ..., offset: _Optional[int] = ..., name: _Optional[str] = ..., effective: _Optional[_Union[HeaderTest, _Mapping]] = ..., is_indirect: _Optional[bool] = ..., cost: _Optional[str] = ..., state: _Optional[str] = ..., begins: _Optional[int] = ...) -> None: ...

class CallSites(_message.Message):
    __slots__ = ("files", "distances", "file", "line", "column")
    FILES_FIELD_NUMBER: _ClassVar[int]
    DISTANCES_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedScalarFieldContainer[str]
    distances: _containers.RepeatedScalarFieldContainer[int]
    file: _containers.RepeatedScalarFieldContainer[int]
    line: _containers.RepeatedScalarFieldContainer[int]
    column: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, files: _Optional[_Iterable[str]] = ..., distances: _Optional[_Iterable[int]] = ..., file: _Optional[_Iterable[int]] = ..., line: _Optional[_Iterable[int]] = ..., column: _Optional[_Iterable[int]] = ...) -> None: ...

class PollFunction(_message.Message):
    __slots__ = ("address", "offset", "size", "name", "kind", "source", "exits", "names", "crate", "location", "self_register", "context_register", "state_offset", "result", "runtime", "entry_cost", "awaits", "task_id", "aborted", "is_job", "returned", "called", "layout", "layout_source")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EXITS_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    CRATE_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    SELF_REGISTER_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_REGISTER_FIELD_NUMBER: _ClassVar[int]
    STATE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    ENTRY_COST_FIELD_NUMBER: _ClassVar[int]
    AWAITS_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ABORTED_FIELD_NUMBER: _ClassVar[int]
    IS_JOB_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    CALLED_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_SOURCE_FIELD_NUMBER: _ClassVar[int]
    address: int
    offset: int
    size: int
    name: str
    kind: str
    source: str
    exits: _containers.RepeatedCompositeFieldContainer[ExitSite]
    names: _containers.RepeatedScalarFieldContainer[str]
    crate: str
    location: SourceLocation
    self_register: str
    context_register: str
    state_offset: int
    result: ResultEncoding
    runtime: str
    entry_cost: str
    awaits: _containers.RepeatedCompositeFieldContainer[AwaitPoint]
    task_id: TaskIdPath
    aborted: HeaderTest
    is_job: bool
    returned: _containers.RepeatedCompositeFieldContainer[ExitSite]
    called: _containers.RepeatedScalarFieldContainer[int]
    layout: int
    layout_source: str
    def __init__(self, address: _Optional[int] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., source: _Optional[str] = ..., exits: _Optional[_Iterable[_Union[ExitSite, _Mapping]]] = ..., names: _Optional[_Iterable[str]] = ..., crate: _Optional[str] = ..., location: _Optional[_Union[SourceLocation, _Mapping]] = ..., self_register: _Optional[str] = ..., context_register: _Optional[str] = ..., state_offset: _Optional[int] = ..., result: _Optional[_Union[ResultEncoding, _Mapping]] = ..., runtime: _Optional[str] = ..., entry_cost: _Optional[str] = ..., awaits: _Optional[_Iterable[_Union[AwaitPoint, _Mapping]]] = ..., task_id: _Optional[_Union[TaskIdPath, _Mapping]] = ..., aborted: _Optional[_Union[HeaderTest, _Mapping]] = ..., is_job: _Optional[bool] = ..., returned: _Optional[_Iterable[_Union[ExitSite, _Mapping]]] = ..., called: _Optional[_Iterable[int]] = ..., layout: _Optional[int] = ..., layout_source: _Optional[str] = ...) -> None: ...

class LayoutEdge(_message.Message):
    __slots__ = ("value", "offset", "is_pointer", "child")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    IS_POINTER_FIELD_NUMBER: _ClassVar[int]
    CHILD_FIELD_NUMBER: _ClassVar[int]
    value: int
    offset: int
    is_pointer: bool
    child: int
    def __init__(self, value: _Optional[int] = ..., offset: _Optional[int] = ..., is_pointer: _Optional[bool] = ..., child: _Optional[int] = ...) -> None: ...

class Layout(_message.Message):
    __slots__ = ("name", "kind", "source", "size", "edges", "discriminant_offset", "discriminant_size", "awaits", "location", "path", "guards")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    DISCRIMINANT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    DISCRIMINANT_SIZE_FIELD_NUMBER: _ClassVar[int]
    AWAITS_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    GUARDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    source: str
    size: int
    edges: _containers.RepeatedCompositeFieldContainer[LayoutEdge]
    discriminant_offset: int
    discriminant_size: int
    awaits: _containers.RepeatedCompositeFieldContainer[AwaitPoint]
    location: SourceLocation
    path: str
    guards: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., source: _Optional[str] = ..., size: _Optional[int] = ..., edges: _Optional[_Iterable[_Union[LayoutEdge, _Mapping]]] = ..., discriminant_offset: _Optional[int] = ..., discriminant_size: _Optional[int] = ..., awaits: _Optional[_Iterable[_Union[AwaitPoint, _Mapping]]] = ..., location: _Optional[_Union[SourceLocation, _Mapping]] = ..., path: _Optional[str] = ..., guards: _Optional[_Iterable[int]] = ...) -> None: ...

class Place(_message.Message):
    __slots__ = ("parent", "function", "layout", "state", "is_polled")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IS_POLLED_FIELD_NUMBER: _ClassVar[int]
    parent: int
    function: int
    layout: int
    state: int
    is_polled: bool
    def __init__(self, parent: _Optional[int] = ..., function: _Optional[int] = ..., layout: _Optional[int] = ..., state: _Optional[int] = ..., is_polled: _Optional[bool] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("name", "reason", "address", "location")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    address: int
    location: SourceLocation
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ..., address: _Optional[int] = ..., location: _Optional[_Union[SourceLocation, _Mapping]] = ...) -> None: ...

class Binary(_message.Message):
    __slots__ = ("path", "build_id", "architecture", "size", "symbols", "can_unwind", "functions", "refusals", "rustc", "debug_file", "ends", "spawns", "sites", "wakes", "layouts", "twin", "own_folder")
    PATH_FIELD_NUMBER: _ClassVar[int]
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    CAN_UNWIND_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    RUSTC_FIELD_NUMBER: _ClassVar[int]
    DEBUG_FILE_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    SPAWNS_FIELD_NUMBER: _ClassVar[int]
    SITES_FIELD_NUMBER: _ClassVar[int]
    WAKES_FIELD_NUMBER: _ClassVar[int]
    LAYOUTS_FIELD_NUMBER: _ClassVar[int]
    TWIN_FIELD_NUMBER: _ClassVar[int]
    OWN_FOLDER_FIELD_NUMBER: _ClassVar[int]
    path: str
    build_id: str
    architecture: str
    size: int
    symbols: str
    can_unwind: bool
    functions: _containers.RepeatedCompositeFieldContainer[PollFunction]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    rustc: str
    debug_file: str
    ends: _containers.RepeatedCompositeFieldContainer[EndPoint]
    spawns: _containers.RepeatedCompositeFieldContainer[SpawnPoint]
    sites: CallSites
    wakes: _containers.RepeatedCompositeFieldContainer[WakePoint]
    layouts: _containers.RepeatedCompositeFieldContainer[Layout]
    twin: str
    own_folder: str
    def __init__(self, path: _Optional[str] = ..., build_id: _Optional[str] = ..., architecture: _Optional[str] = ..., size: _Optional[int] = ..., symbols: _Optional[str] = ..., can_unwind: _Optional[bool] = ..., functions: _Optional[_Iterable[_Union[PollFunction, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., rustc: _Optional[str] = ..., debug_file: _Optional[str] = ..., ends: _Optional[_Iterable[_Union[EndPoint, _Mapping]]] = ..., spawns: _Optional[_Iterable[_Union[SpawnPoint, _Mapping]]] = ..., sites: _Optional[_Union[CallSites, _Mapping]] = ..., wakes: _Optional[_Iterable[_Union[WakePoint, _Mapping]]] = ..., layouts: _Optional[_Iterable[_Union[Layout, _Mapping]]] = ..., twin: _Optional[str] = ..., own_folder: _Optional[str] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("binary", "offset", "site", "group", "enters", "leaves", "is_tail", "cost", "ends", "spawns", "wakes", "after")
    BINARY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ENTERS_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    IS_TAIL_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    SPAWNS_FIELD_NUMBER: _ClassVar[int]
    WAKES_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    binary: int
    offset: int
    site: str
    group: str
    enters: int
    leaves: int
    is_tail: bool
    cost: str
    ends: int
    spawns: int
    wakes: int
    after: int
    def __init__(self, binary: _Optional[int] = ..., offset: _Optional[int] = ..., site: _Optional[str] = ..., group: _Optional[str] = ..., enters: _Optional[int] = ..., leaves: _Optional[int] = ..., is_tail: _Optional[bool] = ..., cost: _Optional[str] = ..., ends: _Optional[int] = ..., spawns: _Optional[int] = ..., wakes: _Optional[int] = ..., after: _Optional[int] = ...) -> None: ...

class PlannedFunction(_message.Message):
    __slots__ = ("binary", "index", "changed")
    BINARY_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    binary: int
    index: int
    changed: PollFunction
    def __init__(self, binary: _Optional[int] = ..., index: _Optional[int] = ..., changed: _Optional[_Union[PollFunction, _Mapping]] = ...) -> None: ...

class PlannedEnd(_message.Message):
    __slots__ = ("binary", "index", "functions")
    BINARY_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    binary: int
    index: int
    functions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, binary: _Optional[int] = ..., index: _Optional[int] = ..., functions: _Optional[_Iterable[int]] = ...) -> None: ...

class PlannedSpawn(_message.Message):
    __slots__ = ("binary", "index")
    BINARY_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    binary: int
    index: int
    def __init__(self, binary: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class PlannedWake(_message.Message):
    __slots__ = ("binary", "index")
    BINARY_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    binary: int
    index: int
    def __init__(self, binary: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("binaries", "functions", "probes", "refusals", "exit_mode", "ends", "spawns", "wakes", "places", "scheduling", "no_scheduling")
    BINARIES_FIELD_NUMBER: _ClassVar[int]
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    EXIT_MODE_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    SPAWNS_FIELD_NUMBER: _ClassVar[int]
    WAKES_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    SCHEDULING_FIELD_NUMBER: _ClassVar[int]
    NO_SCHEDULING_FIELD_NUMBER: _ClassVar[int]
    binaries: _containers.RepeatedCompositeFieldContainer[Binary]
    functions: _containers.RepeatedCompositeFieldContainer[PlannedFunction]
    probes: _containers.RepeatedCompositeFieldContainer[Probe]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    exit_mode: str
    ends: _containers.RepeatedCompositeFieldContainer[PlannedEnd]
    spawns: _containers.RepeatedCompositeFieldContainer[PlannedSpawn]
    wakes: _containers.RepeatedCompositeFieldContainer[PlannedWake]
    places: _containers.RepeatedCompositeFieldContainer[Place]
    scheduling: bool
    no_scheduling: str
    def __init__(self, binaries: _Optional[_Iterable[_Union[Binary, _Mapping]]] = ..., functions: _Optional[_Iterable[_Union[PlannedFunction, _Mapping]]] = ..., probes: _Optional[_Iterable[_Union[Probe, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., exit_mode: _Optional[str] = ..., ends: _Optional[_Iterable[_Union[PlannedEnd, _Mapping]]] = ..., spawns: _Optional[_Iterable[_Union[PlannedSpawn, _Mapping]]] = ..., wakes: _Optional[_Iterable[_Union[PlannedWake, _Mapping]]] = ..., places: _Optional[_Iterable[_Union[Place, _Mapping]]] = ..., scheduling: _Optional[bool] = ..., no_scheduling: _Optional[str] = ...) -> None: ...

class Process(_message.Message):
    __slots__ = ("pid", "start_time", "name", "command", "executable", "binary", "load_bias")
    PID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    EXECUTABLE_FIELD_NUMBER: _ClassVar[int]
    BINARY_FIELD_NUMBER: _ClassVar[int]
    LOAD_BIAS_FIELD_NUMBER: _ClassVar[int]
    pid: int
    start_time: int
    name: str
    command: _containers.RepeatedScalarFieldContainer[str]
    executable: str
    binary: int
    load_bias: int
    def __init__(self, pid: _Optional[int] = ..., start_time: _Optional[int] = ..., name: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., executable: _Optional[str] = ..., binary: _Optional[int] = ..., load_bias: _Optional[int] = ...) -> None: ...

class ClockReading(_message.Message):
    __slots__ = ("monotonic", "boottime", "realtime")
    MONOTONIC_FIELD_NUMBER: _ClassVar[int]
    BOOTTIME_FIELD_NUMBER: _ClassVar[int]
    REALTIME_FIELD_NUMBER: _ClassVar[int]
    monotonic: int
    boottime: int
    realtime: int
    def __init__(self, monotonic: _Optional[int] = ..., boottime: _Optional[int] = ..., realtime: _Optional[int] = ...) -> None: ...

class Recording(_message.Message):
    __slots__ = ("version", "clock", "start", "processes", "plan", "transport", "kernel", "max_overhead", "options", "flight", "cpu_quota", "hit_costs")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    MAX_OVERHEAD_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FLIGHT_FIELD_NUMBER: _ClassVar[int]
    CPU_QUOTA_FIELD_NUMBER: _ClassVar[int]
    HIT_COSTS_FIELD_NUMBER: _ClassVar[int]
    version: str
    clock: ClockReading
    start: int
    processes: _containers.RepeatedCompositeFieldContainer[Process]
    plan: Plan
    transport: str
    kernel: str
    max_overhead: float
    options: _containers.ScalarMap[str, str]
    flight: Flight
    cpu_quota: float
    hit_costs: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, version: _Optional[str] = ..., clock: _Optional[_Union[ClockReading, _Mapping]] = ..., start: _Optional[int] = ..., processes: _Optional[_Iterable[_Union[Process, _Mapping]]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., transport: _Optional[str] = ..., kernel: _Optional[str] = ..., max_overhead: _Optional[float] = ..., options: _Optional[_Mapping[str, str]] = ..., flight: _Optional[_Union[Flight, _Mapping]] = ..., cpu_quota: _Optional[float] = ..., hit_costs: _Optional[_Iterable[float]] = ...) -> None: ...

class Flight(_message.Message):
    __slots__ = ("last", "began", "hit")
    LAST_FIELD_NUMBER: _ClassVar[int]
    BEGAN_FIELD_NUMBER: _ClassVar[int]
    HIT_FIELD_NUMBER: _ClassVar[int]
    last: int
    began: int
    hit: Hit
    def __init__(self, last: _Optional[int] = ..., began: _Optional[int] = ..., hit: _Optional[_Union[Hit, _Mapping]] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("trigger", "kind", "title", "time", "duration", "limit", "function", "location", "tid")
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    TID_FIELD_NUMBER: _ClassVar[int]
    trigger: str
    kind: str
    title: str
    time: int
    duration: int
    limit: int
    function: str
    location: SourceLocation
    tid: int
    def __init__(self, trigger: _Optional[str] = ..., kind: _Optional[str] = ..., title: _Optional[str] = ..., time: _Optional[int] = ..., duration: _Optional[int] = ..., limit: _Optional[int] = ..., function: _Optional[str] = ..., location: _Optional[_Union[SourceLocation, _Mapping]] = ..., tid: _Optional[int] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("number", "time", "change", "threads", "ends", "task_ids", "received", "lost")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    TASK_IDS_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    number: int
    time: int
    change: PlanChange
    threads: Threads
    ends: _containers.RepeatedCompositeFieldContainer[ProcessEnd]
    task_ids: bytes
    received: int
    lost: int
    def __init__(self, number: _Optional[int] = ..., time: _Optional[int] = ..., change: _Optional[_Union[PlanChange, _Mapping]] = ..., threads: _Optional[_Union[Threads, _Mapping]] = ..., ends: _Optional[_Iterable[_Union[ProcessEnd, _Mapping]]] = ..., task_ids: _Optional[bytes] = ..., received: _Optional[int] = ..., lost: _Optional[int] = ...) -> None: ...

class Thread(_message.Message):
    __slots__ = ("tid", "pid", "name")
    TID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    tid: int
    pid: int
    name: str
    def __init__(self, tid: _Optional[int] = ..., pid: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class Threads(_message.Message):
    __slots__ = ("threads",)
    THREADS_FIELD_NUMBER: _ClassVar[int]
    threads: _containers.RepeatedCompositeFieldContainer[Thread]
    def __init__(self, threads: _Optional[_Iterable[_Union[Thread, _Mapping]]] = ...) -> None: ...

class PlanChange(_message.Message):
    __slots__ = ("time", "active", "reason", "unprobed", "entries_only")
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNPROBED_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_ONLY_FIELD_NUMBER: _ClassVar[int]
    time: int
    active: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    unprobed: _containers.RepeatedScalarFieldContainer[int]
    entries_only: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, time: _Optional[int] = ..., active: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ..., unprobed: _Optional[_Iterable[int]] = ..., entries_only: _Optional[_Iterable[int]] = ...) -> None: ...

class Loss(_message.Message):
    __slots__ = ("cpu", "count", "after", "before")
    CPU_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    cpu: int
    count: int
    after: int
    before: int
    def __init__(self, cpu: _Optional[int] = ..., count: _Optional[int] = ..., after: _Optional[int] = ..., before: _Optional[int] = ...) -> None: ...

class ProcessEnd(_message.Message):
    __slots__ = ("time", "pid", "reason")
    TIME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    time: int
    pid: int
    reason: str
    def __init__(self, time: _Optional[int] = ..., pid: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class MemoryReading(_message.Message):
    __slots__ = ("time", "duration", "process", "is_last", "tasks", "parked", "stuck", "missed", "kept", "channels")
    TIME_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    IS_LAST_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    PARKED_FIELD_NUMBER: _ClassVar[int]
    STUCK_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    time: int
    duration: int
    process: int
    is_last: bool
    tasks: int
    parked: bytes
    stuck: StuckTasks
    missed: int
    kept: KeptTasksOfKinds
    channels: Channels
    def __init__(self, time: _Optional[int] = ..., duration: _Optional[int] = ..., process: _Optional[int] = ..., is_last: _Optional[bool] = ..., tasks: _Optional[int] = ..., parked: _Optional[bytes] = ..., stuck: _Optional[_Union[StuckTasks, _Mapping]] = ..., missed: _Optional[int] = ..., kept: _Optional[_Union[KeptTasksOfKinds, _Mapping]] = ..., channels: _Optional[_Union[Channels, _Mapping]] = ...) -> None: ...

class Channels(_message.Message):
    __slots__ = ("channels",)
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    channels: _containers.RepeatedCompositeFieldContainer[Channel]
    def __init__(self, channels: _Optional[_Iterable[_Union[Channel, _Mapping]]] = ...) -> None: ...

class Channel(_message.Message):
    __slots__ = ("times", "messages", "received", "capacity", "receiver", "is_certain", "words", "function", "location")
    TIMES_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    RECEIVER_FIELD_NUMBER: _ClassVar[int]
    IS_CERTAIN_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    times: _containers.RepeatedScalarFieldContainer[int]
    messages: _containers.RepeatedScalarFieldContainer[int]
    received: int
    capacity: int
    receiver: int
    is_certain: bool
    words: str
    function: str
    location: SourceLocation
    def __init__(self, times: _Optional[_Iterable[int]] = ..., messages: _Optional[_Iterable[int]] = ..., received: _Optional[int] = ..., capacity: _Optional[int] = ..., receiver: _Optional[int] = ..., is_certain: _Optional[bool] = ..., words: _Optional[str] = ..., function: _Optional[str] = ..., location: _Optional[_Union[SourceLocation, _Mapping]] = ...) -> None: ...

class Halt(_message.Message):
    __slots__ = ("time", "until", "process", "kind", "by", "quota", "periods", "throttled", "lost")
    TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    PERIODS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    time: int
    until: int
    process: int
    kind: str
    by: str
    quota: float
    periods: int
    throttled: int
    lost: int
    def __init__(self, time: _Optional[int] = ..., until: _Optional[int] = ..., process: _Optional[int] = ..., kind: _Optional[str] = ..., by: _Optional[str] = ..., quota: _Optional[float] = ..., periods: _Optional[int] = ..., throttled: _Optional[int] = ..., lost: _Optional[int] = ...) -> None: ...

class StuckTasks(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[Stuck]
    def __init__(self, groups: _Optional[_Iterable[_Union[Stuck, _Mapping]]] = ...) -> None: ...

class KeptTasksOfKinds(_message.Message):
    __slots__ = ("kinds",)
    KINDS_FIELD_NUMBER: _ClassVar[int]
    kinds: _containers.RepeatedCompositeFieldContainer[KeptTasks]
    def __init__(self, kinds: _Optional[_Iterable[_Union[KeptTasks, _Mapping]]] = ...) -> None: ...

class KeptTasks(_message.Message):
    __slots__ = ("function", "count", "by", "of_these", "is_asked", "location", "keeper")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    OF_THESE_FIELD_NUMBER: _ClassVar[int]
    IS_ASKED_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    KEEPER_FIELD_NUMBER: _ClassVar[int]
    function: int
    count: int
    by: str
    of_these: int
    is_asked: bool
    location: SourceLocation
    keeper: int
    def __init__(self, function: _Optional[int] = ..., count: _Optional[int] = ..., by: _Optional[str] = ..., of_these: _Optional[int] = ..., is_asked: _Optional[bool] = ..., location: _Optional[_Union[SourceLocation, _Mapping]] = ..., keeper: _Optional[int] = ...) -> None: ...

class Stuck(_message.Message):
    __slots__ = ("kind", "tasks", "is_certain", "words", "function", "location", "behind")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    IS_CERTAIN_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    kind: str
    tasks: _containers.RepeatedScalarFieldContainer[int]
    is_certain: bool
    words: str
    function: str
    location: SourceLocation
    behind: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, kind: _Optional[str] = ..., tasks: _Optional[_Iterable[int]] = ..., is_certain: _Optional[bool] = ..., words: _Optional[str] = ..., function: _Optional[str] = ..., location: _Optional[_Union[SourceLocation, _Mapping]] = ..., behind: _Optional[_Iterable[int]] = ...) -> None: ...

class StackSamples(_message.Message):
    __slots__ = ("samples",)
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    samples: bytes
    def __init__(self, samples: _Optional[bytes] = ...) -> None: ...

class Stacks(_message.Message):
    __slots__ = ("texts", "frames", "stacks", "census")
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    STACKS_FIELD_NUMBER: _ClassVar[int]
    CENSUS_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    frames: _containers.RepeatedCompositeFieldContainer[StackFrame]
    stacks: _containers.RepeatedCompositeFieldContainer[StackShape]
    census: StackCensus
    def __init__(self, texts: _Optional[_Iterable[str]] = ..., frames: _Optional[_Iterable[_Union[StackFrame, _Mapping]]] = ..., stacks: _Optional[_Iterable[_Union[StackShape, _Mapping]]] = ..., census: _Optional[_Union[StackCensus, _Mapping]] = ...) -> None: ...

class StackFrame(_message.Message):
    __slots__ = ("function", "file", "line", "is_inlined", "module", "crate")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    IS_INLINED_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    CRATE_FIELD_NUMBER: _ClassVar[int]
    function: int
    file: int
    line: int
    is_inlined: bool
    module: int
    crate: int
    def __init__(self, function: _Optional[int] = ..., file: _Optional[int] = ..., line: _Optional[int] = ..., is_inlined: _Optional[bool] = ..., module: _Optional[int] = ..., crate: _Optional[int] = ...) -> None: ...

class StackShape(_message.Message):
    __slots__ = ("frames", "is_whole")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    IS_WHOLE_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedScalarFieldContainer[int]
    is_whole: bool
    def __init__(self, frames: _Optional[_Iterable[int]] = ..., is_whole: _Optional[bool] = ...) -> None: ...

class StackCensus(_message.Message):
    __slots__ = ("taken", "lost", "crowded", "unread", "skipped", "cut", "least_blocked", "least_polling", "period", "refused")
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    CROWDED_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    LEAST_BLOCKED_FIELD_NUMBER: _ClassVar[int]
    LEAST_POLLING_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    taken: int
    lost: int
    crowded: int
    unread: int
    skipped: int
    cut: int
    least_blocked: int
    least_polling: int
    period: int
    refused: str
    def __init__(self, taken: _Optional[int] = ..., lost: _Optional[int] = ..., crowded: _Optional[int] = ..., unread: _Optional[int] = ..., skipped: _Optional[int] = ..., cut: _Optional[int] = ..., least_blocked: _Optional[int] = ..., least_polling: _Optional[int] = ..., period: _Optional[int] = ..., refused: _Optional[str] = ...) -> None: ...

class CaptureEnd(_message.Message):
    __slots__ = ("time", "reason", "received", "lost", "overhead", "of_processor")
    TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    OVERHEAD_FIELD_NUMBER: _ClassVar[int]
    OF_PROCESSOR_FIELD_NUMBER: _ClassVar[int]
    time: int
    reason: str
    received: int
    lost: int
    overhead: float
    of_processor: float
    def __init__(self, time: _Optional[int] = ..., reason: _Optional[str] = ..., received: _Optional[int] = ..., lost: _Optional[int] = ..., overhead: _Optional[float] = ..., of_processor: _Optional[float] = ...) -> None: ...
