from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Request(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    def __init__(self, request_id: _Optional[int] = ...) -> None: ...

class Response(_message.Message):
    __slots__ = ("error_details", "request_id")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ...) -> None: ...

class PlatformInfo(_message.Message):
    __slots__ = ("error_details", "request_id", "platform_name", "node_file")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_NAME_FIELD_NUMBER: _ClassVar[int]
    NODE_FILE_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    platform_name: str
    node_file: str
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., platform_name: _Optional[str] = ..., node_file: _Optional[str] = ...) -> None: ...

class SystemVersionInfo(_message.Message):
    __slots__ = ("error_details", "request_id", "inventory_version", "error_version", "fault_version", "policy_version")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INVENTORY_VERSION_FIELD_NUMBER: _ClassVar[int]
    ERROR_VERSION_FIELD_NUMBER: _ClassVar[int]
    FAULT_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    inventory_version: int
    error_version: int
    fault_version: int
    policy_version: int
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., inventory_version: _Optional[int] = ..., error_version: _Optional[int] = ..., fault_version: _Optional[int] = ..., policy_version: _Optional[int] = ...) -> None: ...

class RuntimeVersion(_message.Message):
    __slots__ = ("error_details", "request_id", "version")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    version: str
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...

class OperationalState(_message.Message):
    __slots__ = ("error_details", "request_id", "rdus", "tiles")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RDUS_FIELD_NUMBER: _ClassVar[int]
    TILES_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    rdus: _containers.RepeatedCompositeFieldContainer[ComponentState]
    tiles: _containers.RepeatedCompositeFieldContainer[ComponentState]
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., rdus: _Optional[_Iterable[_Union[ComponentState, _Mapping]]] = ..., tiles: _Optional[_Iterable[_Union[ComponentState, _Mapping]]] = ...) -> None: ...

class ComponentState(_message.Message):
    __slots__ = ("path", "state")
    PATH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    path: str
    state: str
    def __init__(self, path: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class ResourceQuery(_message.Message):
    __slots__ = ("request_id", "available_only")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_ONLY_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    available_only: bool
    def __init__(self, request_id: _Optional[int] = ..., available_only: bool = ...) -> None: ...

class Resources(_message.Message):
    __slots__ = ("error_details", "request_id", "rdu", "rdu_tile", "memory_gb")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RDU_FIELD_NUMBER: _ClassVar[int]
    RDU_TILE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    rdu: int
    rdu_tile: int
    memory_gb: float
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., rdu: _Optional[int] = ..., rdu_tile: _Optional[int] = ..., memory_gb: _Optional[float] = ...) -> None: ...

class TileActivityRequest(_message.Message):
    __slots__ = ("request_id", "interval_seconds")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    interval_seconds: float
    def __init__(self, request_id: _Optional[int] = ..., interval_seconds: _Optional[float] = ...) -> None: ...

class TileActivity(_message.Message):
    __slots__ = ("error_details", "request_id", "tiles")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TILES_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    tiles: _containers.RepeatedCompositeFieldContainer[Tile]
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., tiles: _Optional[_Iterable[_Union[Tile, _Mapping]]] = ...) -> None: ...

class Tile(_message.Message):
    __slots__ = ("path", "in_service", "percent", "pid", "user", "command")
    PATH_FIELD_NUMBER: _ClassVar[int]
    IN_SERVICE_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    path: str
    in_service: bool
    percent: _containers.RepeatedScalarFieldContainer[float]
    pid: int
    user: str
    command: str
    def __init__(self, path: _Optional[str] = ..., in_service: bool = ..., percent: _Optional[_Iterable[float]] = ..., pid: _Optional[int] = ..., user: _Optional[str] = ..., command: _Optional[str] = ...) -> None: ...

class LogRequest(_message.Message):
    __slots__ = ("request_id", "log", "all")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    log: str
    all: bool
    def __init__(self, request_id: _Optional[int] = ..., log: _Optional[str] = ..., all: bool = ...) -> None: ...

class Log(_message.Message):
    __slots__ = ("error_details", "request_id", "columns", "entries")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    columns: _containers.RepeatedScalarFieldContainer[str]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., columns: _Optional[_Iterable[str]] = ..., entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class OpenSessionRequest(_message.Message):
    __slots__ = ("request_id", "pef", "machine", "placements", "affinity", "rdu", "rdu_tile", "wait")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PEF_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    AFFINITY_FIELD_NUMBER: _ClassVar[int]
    RDU_FIELD_NUMBER: _ClassVar[int]
    RDU_TILE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    pef: str
    machine: str
    placements: _containers.RepeatedCompositeFieldContainer[Placement]
    affinity: str
    rdu: int
    rdu_tile: int
    wait: bool
    def __init__(self, request_id: _Optional[int] = ..., pef: _Optional[str] = ..., machine: _Optional[str] = ..., placements: _Optional[_Iterable[_Union[Placement, _Mapping]]] = ..., affinity: _Optional[str] = ..., rdu: _Optional[int] = ..., rdu_tile: _Optional[int] = ..., wait: bool = ...) -> None: ...

class Placement(_message.Message):
    __slots__ = ("tiles",)
    TILES_FIELD_NUMBER: _ClassVar[int]
    tiles: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tiles: _Optional[_Iterable[int]] = ...) -> None: ...

class OpenSessionResponse(_message.Message):
    __slots__ = ("error_details", "request_id", "outcome", "session_id", "used", "paths", "lever")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REFUSED: _ClassVar[OpenSessionResponse.Outcome]
        GRANTED: _ClassVar[OpenSessionResponse.Outcome]
        WAITING: _ClassVar[OpenSessionResponse.Outcome]
    REFUSED: OpenSessionResponse.Outcome
    GRANTED: OpenSessionResponse.Outcome
    WAITING: OpenSessionResponse.Outcome
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    LEVER_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    outcome: OpenSessionResponse.Outcome
    session_id: int
    used: _containers.RepeatedScalarFieldContainer[int]
    paths: _containers.RepeatedScalarFieldContainer[str]
    lever: str
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., outcome: _Optional[_Union[OpenSessionResponse.Outcome, str]] = ..., session_id: _Optional[int] = ..., used: _Optional[_Iterable[int]] = ..., paths: _Optional[_Iterable[str]] = ..., lever: _Optional[str] = ...) -> None: ...

class ActivityReport(_message.Message):
    __slots__ = ("request_id", "session_id", "total_us", "tiles")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    TILES_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    session_id: int
    total_us: float
    tiles: _containers.RepeatedCompositeFieldContainer[TileTime]
    def __init__(self, request_id: _Optional[int] = ..., session_id: _Optional[int] = ..., total_us: _Optional[float] = ..., tiles: _Optional[_Iterable[_Union[TileTime, _Mapping]]] = ...) -> None: ...

class TileTime(_message.Message):
    __slots__ = ("tile", "busy_us")
    TILE_FIELD_NUMBER: _ClassVar[int]
    BUSY_US_FIELD_NUMBER: _ClassVar[int]
    tile: int
    busy_us: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, tile: _Optional[int] = ..., busy_us: _Optional[_Iterable[float]] = ...) -> None: ...

class ActivityResponse(_message.Message):
    __slots__ = ("error_details", "request_id", "ended", "lever")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    LEVER_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    ended: str
    lever: str
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., ended: _Optional[str] = ..., lever: _Optional[str] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("request_id", "session_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    session_id: int
    def __init__(self, request_id: _Optional[int] = ..., session_id: _Optional[int] = ...) -> None: ...

class ClearSystemFaultRequest(_message.Message):
    __slots__ = ("request_id", "fault_uuid")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FAULT_UUID_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    fault_uuid: str
    def __init__(self, request_id: _Optional[int] = ..., fault_uuid: _Optional[str] = ...) -> None: ...

class ClearSystemFaultResponse(_message.Message):
    __slots__ = ("error_details", "request_id", "diagnosed_again")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSED_AGAIN_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    diagnosed_again: str
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., diagnosed_again: _Optional[str] = ...) -> None: ...

class ResetRequest(_message.Message):
    __slots__ = ("request_id", "paths")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[int] = ..., paths: _Optional[_Iterable[str]] = ...) -> None: ...

class ResetResponse(_message.Message):
    __slots__ = ("error_details", "request_id", "path", "came_back")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CAME_BACK_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    path: str
    came_back: bool
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., path: _Optional[str] = ..., came_back: bool = ...) -> None: ...

class InjectRequest(_message.Message):
    __slots__ = ("request_id", "path", "transient", "correctable")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    TRANSIENT_FIELD_NUMBER: _ClassVar[int]
    CORRECTABLE_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    path: str
    transient: bool
    correctable: bool
    def __init__(self, request_id: _Optional[int] = ..., path: _Optional[str] = ..., transient: bool = ..., correctable: bool = ...) -> None: ...

class InjectResponse(_message.Message):
    __slots__ = ("error_details", "request_id", "fault_uuid", "ended")
    ERROR_DETAILS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FAULT_UUID_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    error_details: _containers.RepeatedScalarFieldContainer[str]
    request_id: int
    fault_uuid: str
    ended: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, error_details: _Optional[_Iterable[str]] = ..., request_id: _Optional[int] = ..., fault_uuid: _Optional[str] = ..., ended: _Optional[_Iterable[int]] = ...) -> None: ...

class RepairRequest(_message.Message):
    __slots__ = ("request_id", "path")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    path: str
    def __init__(self, request_id: _Optional[int] = ..., path: _Optional[str] = ...) -> None: ...
