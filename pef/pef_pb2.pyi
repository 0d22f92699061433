from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Pef(_message.Message):
    __slots__ = ("header", "machine", "strings", "symbols", "configurations", "sections")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATIONS_FIELD_NUMBER: _ClassVar[int]
    SECTIONS_FIELD_NUMBER: _ClassVar[int]
    header: Header
    machine: Machine
    strings: _containers.RepeatedScalarFieldContainer[str]
    symbols: _containers.RepeatedCompositeFieldContainer[Symbol]
    configurations: _containers.RepeatedCompositeFieldContainer[Configuration]
    sections: _containers.RepeatedCompositeFieldContainer[Section]
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., machine: _Optional[_Union[Machine, _Mapping]] = ..., strings: _Optional[_Iterable[str]] = ..., symbols: _Optional[_Iterable[_Union[Symbol, _Mapping]]] = ..., configurations: _Optional[_Iterable[_Union[Configuration, _Mapping]]] = ..., sections: _Optional[_Iterable[_Union[Section, _Mapping]]] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("name", "toolchain_version", "options_json", "metadata_json", "replicas", "weights_sha256", "reference_sha256", "program_sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOOLCHAIN_VERSION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_JSON_FIELD_NUMBER: _ClassVar[int]
    METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_SHA256_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    toolchain_version: str
    options_json: str
    metadata_json: str
    replicas: int
    weights_sha256: bytes
    reference_sha256: bytes
    program_sha256: bytes
    def __init__(self, name: _Optional[str] = ..., toolchain_version: _Optional[str] = ..., options_json: _Optional[str] = ..., metadata_json: _Optional[str] = ..., replicas: _Optional[int] = ..., weights_sha256: _Optional[bytes] = ..., reference_sha256: _Optional[bytes] = ..., program_sha256: _Optional[bytes] = ...) -> None: ...

class Machine(_message.Message):
    __slots__ = ("name", "rows", "columns", "rdu_tile_rows", "rdu_tile_columns", "faulty_sites", "agcu_sites", "clock_ghz", "pcu_lanes", "pcu_stages", "fp32_cycles_per_vector", "tail_cycles_per_vector", "pmu_bytes", "pmu_port_bytes_per_cycle", "link_bytes_per_cycle", "hop_cycles", "agcu_bytes_per_cycle", "tiers", "program_load_us", "argument_load_us", "launch_us", "pmu_read_ports", "pmu_write_ports", "ring_bytes_per_s", "ring_step_us", "host_bytes_per_s", "memory_burst_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    RDU_TILE_ROWS_FIELD_NUMBER: _ClassVar[int]
    RDU_TILE_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    FAULTY_SITES_FIELD_NUMBER: _ClassVar[int]
    AGCU_SITES_FIELD_NUMBER: _ClassVar[int]
    CLOCK_GHZ_FIELD_NUMBER: _ClassVar[int]
    PCU_LANES_FIELD_NUMBER: _ClassVar[int]
    PCU_STAGES_FIELD_NUMBER: _ClassVar[int]
    FP32_CYCLES_PER_VECTOR_FIELD_NUMBER: _ClassVar[int]
    TAIL_CYCLES_PER_VECTOR_FIELD_NUMBER: _ClassVar[int]
    PMU_BYTES_FIELD_NUMBER: _ClassVar[int]
    PMU_PORT_BYTES_PER_CYCLE_FIELD_NUMBER: _ClassVar[int]
    LINK_BYTES_PER_CYCLE_FIELD_NUMBER: _ClassVar[int]
    HOP_CYCLES_FIELD_NUMBER: _ClassVar[int]
    AGCU_BYTES_PER_CYCLE_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_LOAD_US_FIELD_NUMBER: _ClassVar[int]
    ARGUMENT_LOAD_US_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_US_FIELD_NUMBER: _ClassVar[int]
    PMU_READ_PORTS_FIELD_NUMBER: _ClassVar[int]
    PMU_WRITE_PORTS_FIELD_NUMBER: _ClassVar[int]
    RING_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    RING_STEP_US_FIELD_NUMBER: _ClassVar[int]
    HOST_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BURST_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    rows: int
    columns: int
    rdu_tile_rows: int
    rdu_tile_columns: int
    faulty_sites: _containers.RepeatedScalarFieldContainer[int]
    agcu_sites: _containers.RepeatedScalarFieldContainer[int]
    clock_ghz: float
    pcu_lanes: int
    pcu_stages: int
    fp32_cycles_per_vector: int
    tail_cycles_per_vector: int
    pmu_bytes: int
    pmu_port_bytes_per_cycle: int
    link_bytes_per_cycle: int
    hop_cycles: int
    agcu_bytes_per_cycle: int
    tiers: _containers.RepeatedCompositeFieldContainer[Tier]
    program_load_us: float
    argument_load_us: float
    launch_us: float
    pmu_read_ports: int
    pmu_write_ports: int
    ring_bytes_per_s: float
    ring_step_us: float
    host_bytes_per_s: float
    memory_burst_bytes: int
    def __init__(self, name: _Optional[str] = ..., rows: _Optional[int] = ..., columns: _Optional[int] = ..., rdu_tile_rows: _Optional[int] = ..., rdu_tile_columns: _Optional[int] = ..., faulty_sites: _Optional[_Iterable[int]] = ..., agcu_sites: _Optional[_Iterable[int]] = ..., clock_ghz: _Optional[float] = ..., pcu_lanes: _Optional[int] = ..., pcu_stages: _Optional[int] = ..., fp32_cycles_per_vector: _Optional[int] = ..., tail_cycles_per_vector: _Optional[int] = ..., pmu_bytes: _Optional[int] = ..., pmu_port_bytes_per_cycle: _Optional[int] = ..., link_bytes_per_cycle: _Optional[int] = ..., hop_cycles: _Optional[int] = ..., agcu_bytes_per_cycle: _Optional[int] = ..., tiers: _Optional[_Iterable[_Union[Tier, _Mapping]]] = ..., program_load_us: _Optional[float] = ..., argument_load_us: _Optional[float] = ..., launch_us: _Optional[float] = ..., pmu_read_ports: _Optional[int] = ..., pmu_write_ports: _Optional[int] = ..., ring_bytes_per_s: _Optional[float] = ..., ring_step_us: _Optional[float] = ..., host_bytes_per_s: _Optional[float] = ..., memory_burst_bytes: _Optional[int] = ...) -> None: ...

class Tier(_message.Message):
    __slots__ = ("name", "capacity_bytes", "bandwidth_bytes_per_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_BYTES_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    capacity_bytes: int
    bandwidth_bytes_per_s: float
    def __init__(self, name: _Optional[str] = ..., capacity_bytes: _Optional[int] = ..., bandwidth_bytes_per_s: _Optional[float] = ...) -> None: ...

class TensorType(_message.Message):
    __slots__ = ("dtype", "shape")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Symbol(_message.Message):
    __slots__ = ("name", "type", "kind", "tier", "offset", "persistent", "first", "last", "stores")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PERSISTENT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    STORES_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: TensorType
    kind: str
    tier: int
    offset: int
    persistent: bool
    first: int
    last: int
    stores: int
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[TensorType, _Mapping]] = ..., kind: _Optional[str] = ..., tier: _Optional[int] = ..., offset: _Optional[int] = ..., persistent: bool = ..., first: _Optional[int] = ..., last: _Optional[int] = ..., stores: _Optional[int] = ...) -> None: ...

class Section(_message.Message):
    __slots__ = ("kind", "name", "configuration", "bindings", "locations", "prediction", "rule")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    configuration: int
    bindings: _containers.RepeatedScalarFieldContainer[int]
    locations: _containers.RepeatedCompositeFieldContainer[Location]
    prediction: Prediction
    rule: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., configuration: _Optional[int] = ..., bindings: _Optional[_Iterable[int]] = ..., locations: _Optional[_Iterable[_Union[Location, _Mapping]]] = ..., prediction: _Optional[_Union[Prediction, _Mapping]] = ..., rule: _Optional[str] = ...) -> None: ...

class Location(_message.Message):
    __slots__ = ("file", "line", "module")
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    MODULE_FIELD_NUMBER: _ClassVar[int]
    file: int
    line: int
    module: int
    def __init__(self, file: _Optional[int] = ..., line: _Optional[int] = ..., module: _Optional[int] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("cycles", "load_cycles", "bound", "flops", "dram_read_bytes", "dram_write_bytes")
    CYCLES_FIELD_NUMBER: _ClassVar[int]
    LOAD_CYCLES_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    FLOPS_FIELD_NUMBER: _ClassVar[int]
    DRAM_READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    DRAM_WRITE_BYTES_FIELD_NUMBER: _ClassVar[int]
    cycles: float
    load_cycles: float
    bound: str
    flops: int
    dram_read_bytes: int
    dram_write_bytes: int
    def __init__(self, cycles: _Optional[float] = ..., load_cycles: _Optional[float] = ..., bound: _Optional[str] = ..., flops: _Optional[int] = ..., dram_read_bytes: _Optional[int] = ..., dram_write_bytes: _Optional[int] = ...) -> None: ...

class Configuration(_message.Message):
    __slots__ = ("slots", "units", "buffers", "phases", "nets")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    BUFFERS_FIELD_NUMBER: _ClassVar[int]
    PHASES_FIELD_NUMBER: _ClassVar[int]
    NETS_FIELD_NUMBER: _ClassVar[int]
    slots: _containers.RepeatedCompositeFieldContainer[TensorType]
    units: _containers.RepeatedCompositeFieldContainer[Unit]
    buffers: _containers.RepeatedCompositeFieldContainer[Buffer]
    phases: _containers.RepeatedCompositeFieldContainer[Phase]
    nets: _containers.RepeatedCompositeFieldContainer[Net]
    def __init__(self, slots: _Optional[_Iterable[_Union[TensorType, _Mapping]]] = ..., units: _Optional[_Iterable[_Union[Unit, _Mapping]]] = ..., buffers: _Optional[_Iterable[_Union[Buffer, _Mapping]]] = ..., phases: _Optional[_Iterable[_Union[Phase, _Mapping]]] = ..., nets: _Optional[_Iterable[_Union[Net, _Mapping]]] = ...) -> None: ...

class Unit(_message.Message):
    __slots__ = ("site",)
    SITE_FIELD_NUMBER: _ClassVar[int]
    site: int
    def __init__(self, site: _Optional[int] = ...) -> None: ...

class Buffer(_message.Message):
    __slots__ = ("name", "type", "depth", "units", "axes", "counts", "axis", "tiles")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    TILES_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: TensorType
    depth: int
    units: _containers.RepeatedScalarFieldContainer[int]
    axes: _containers.RepeatedScalarFieldContainer[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    axis: int
    tiles: int
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[TensorType, _Mapping]] = ..., depth: _Optional[int] = ..., units: _Optional[_Iterable[int]] = ..., axes: _Optional[_Iterable[int]] = ..., counts: _Optional[_Iterable[int]] = ..., axis: _Optional[int] = ..., tiles: _Optional[int] = ...) -> None: ...

class Phase(_message.Message):
    __slots__ = ("stages", "streams", "loops", "tiles")
    STAGES_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    LOOPS_FIELD_NUMBER: _ClassVar[int]
    TILES_FIELD_NUMBER: _ClassVar[int]
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    streams: _containers.RepeatedCompositeFieldContainer[Stream]
    loops: _containers.RepeatedScalarFieldContainer[int]
    tiles: int
    def __init__(self, stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ..., streams: _Optional[_Iterable[_Union[Stream, _Mapping]]] = ..., loops: _Optional[_Iterable[int]] = ..., tiles: _Optional[int] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("name", "values", "operations", "inputs", "outputs", "batch_parallel", "row_parallel", "column_parallel", "chain", "units")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    ROW_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    COLUMN_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedCompositeFieldContainer[TileValue]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    inputs: _containers.RepeatedCompositeFieldContainer[Port]
    outputs: _containers.RepeatedCompositeFieldContainer[Port]
    batch_parallel: int
    row_parallel: int
    column_parallel: int
    chain: int
    units: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[_Union[TileValue, _Mapping]]] = ..., operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ..., inputs: _Optional[_Iterable[_Union[Port, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[Port, _Mapping]]] = ..., batch_parallel: _Optional[int] = ..., row_parallel: _Optional[int] = ..., column_parallel: _Optional[int] = ..., chain: _Optional[int] = ..., units: _Optional[_Iterable[int]] = ...) -> None: ...

class TileValue(_message.Message):
    __slots__ = ("type", "axes", "axis")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    type: TensorType
    axes: _containers.RepeatedScalarFieldContainer[int]
    axis: int
    def __init__(self, type: _Optional[_Union[TensorType, _Mapping]] = ..., axes: _Optional[_Iterable[int]] = ..., axis: _Optional[int] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("op", "attributes", "operands", "results")
    OP_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    OPERANDS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    op: str
    attributes: _containers.RepeatedCompositeFieldContainer[Attribute]
    operands: _containers.RepeatedScalarFieldContainer[int]
    results: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, op: _Optional[str] = ..., attributes: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ..., operands: _Optional[_Iterable[int]] = ..., results: _Optional[_Iterable[int]] = ...) -> None: ...

class Attribute(_message.Message):
    __slots__ = ("name", "flag", "integer", "real", "text", "dtype", "integers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    INTEGERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    flag: bool
    integer: int
    real: float
    text: str
    dtype: str
    integers: Integers
    def __init__(self, name: _Optional[str] = ..., flag: bool = ..., integer: _Optional[int] = ..., real: _Optional[float] = ..., text: _Optional[str] = ..., dtype: _Optional[str] = ..., integers: _Optional[_Union[Integers, _Mapping]] = ...) -> None: ...

class Integers(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class Port(_message.Message):
    __slots__ = ("value", "buffer", "combine", "axis")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    COMBINE_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    value: int
    buffer: int
    combine: str
    axis: int
    def __init__(self, value: _Optional[int] = ..., buffer: _Optional[int] = ..., combine: _Optional[str] = ..., axis: _Optional[int] = ...) -> None: ...

class Stream(_message.Message):
    __slots__ = ("store", "slot", "buffer", "agcus", "values", "operations", "axes", "index", "axis")
    STORE_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    AGCUS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    store: bool
    slot: int
    buffer: int
    agcus: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedCompositeFieldContainer[TileValue]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    axes: _containers.RepeatedScalarFieldContainer[int]
    index: Index
    axis: int
    def __init__(self, store: bool = ..., slot: _Optional[int] = ..., buffer: _Optional[int] = ..., agcus: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[_Union[TileValue, _Mapping]]] = ..., operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ..., axes: _Optional[_Iterable[int]] = ..., index: _Optional[_Union[Index, _Mapping]] = ..., axis: _Optional[int] = ...) -> None: ...

class Index(_message.Message):
    __slots__ = ("buffer", "axis")
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    AXIS_FIELD_NUMBER: _ClassVar[int]
    buffer: int
    axis: int
    def __init__(self, buffer: _Optional[int] = ..., axis: _Optional[int] = ...) -> None: ...

class Net(_message.Message):
    __slots__ = ("phase", "stage", "stream", "kind", "port", "source", "sinks", "bytes", "route")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        READ: _ClassVar[Net.Kind]
        WRITE: _ClassVar[Net.Kind]
        CHAIN: _ClassVar[Net.Kind]
        LOAD: _ClassVar[Net.Kind]
        STORE: _ClassVar[Net.Kind]
        INDEX: _ClassVar[Net.Kind]
    READ: Net.Kind
    WRITE: Net.Kind
    CHAIN: Net.Kind
    LOAD: Net.Kind
    STORE: Net.Kind
    INDEX: Net.Kind
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SINKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    phase: int
    stage: int
    stream: int
    kind: Net.Kind
    port: int
    source: Terminal
    sinks: _containers.RepeatedCompositeFieldContainer[Terminal]
    bytes: int
    route: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, phase: _Optional[int] = ..., stage: _Optional[int] = ..., stream: _Optional[int] = ..., kind: _Optional[_Union[Net.Kind, str]] = ..., port: _Optional[int] = ..., source: _Optional[_Union[Terminal, _Mapping]] = ..., sinks: _Optional[_Iterable[_Union[Terminal, _Mapping]]] = ..., bytes: _Optional[int] = ..., route: _Optional[_Iterable[int]] = ...) -> None: ...

class Terminal(_message.Message):
    __slots__ = ("unit", "agcu")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    AGCU_FIELD_NUMBER: _ClassVar[int]
    unit: int
    agcu: int
    def __init__(self, unit: _Optional[int] = ..., agcu: _Optional[int] = ...) -> None: ...
