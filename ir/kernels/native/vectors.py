"""Vector instructions for compiled loops, written in LLVM's language where its vectoriser does not find them.

Addresses are numbers of bytes; a vector may begin at any element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
from llvmlite import ir as llvm
from numba.core import cgutils

from ir.kernels.native.compiler import inlined
from ir.kernels.processor import processor_flags

LANES = 16 if "avx512f" in processor_flags() else 8
"""Elements of a vector."""

FLOAT, INT, WORD, BYTE, BIT = llvm.FloatType(), *(llvm.IntType(bits) for bits in (32, 64, 8, 1))
VECTOR, LANE_NUMBERS, MASK = llvm.VectorType(FLOAT, LANES), llvm.VectorType(INT, LANES), llvm.VectorType(BIT, LANES)
ZERO = llvm.Constant(VECTOR, [0.0] * LANES)
Emitted = Callable[[llvm.IRBuilder, list[Any]], None]


def instruction(function: Callable[..., Any]) -> Callable[..., None]:
    """A function for compiled loops to call. Its first argument, numba's typing context, is left out of calls."""
    return cast(Callable[..., None], numba.extending.intrinsic(function))


def emitted(count: int, emit: Emitted) -> Any:
    """What numba needs of an intrinsic: its signature, of so many int64 numbers, and how to emit its instructions."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        emit(builder, list(values))
        return context.get_dummy_value()

    return numba.types.void(*[numba.types.int64] * count), generate


def vector_at(b: llvm.IRBuilder, address: Any) -> Any:
    """A pointer to the vector at an address."""
    return b.inttoptr(address, VECTOR.as_pointer())


def load(b: llvm.IRBuilder, address: Any) -> Any:
    """The vector at an address."""
    return b.load(vector_at(b, address), align=4)


def store(b: llvm.IRBuilder, vector: Any, address: Any) -> None:
    """Put a vector at an address."""
    b.store(vector, vector_at(b, address), align=4)


def splat(b: llvm.IRBuilder, scalar: Any, kind: llvm.VectorType) -> Any:
    """A vector with the same number in every lane."""
    first = b.insert_element(llvm.Constant(kind, llvm.Undefined), scalar, INT(0))
    return b.shuffle_vector(first, llvm.Constant(kind, llvm.Undefined), llvm.Constant(LANE_NUMBERS, [0] * LANES))


def below(b: llvm.IRBuilder, count: Any) -> Any:
    """A mask of the lanes with numbers below `count`."""
    numbers = llvm.Constant(LANE_NUMBERS, list(range(LANES)))
    return b.icmp_signed("<", numbers, splat(b, b.trunc(count, INT), LANE_NUMBERS))


def called(b: llvm.IRBuilder, name: str, result: Any, arguments: list[Any]) -> Any:
    """The result of one of LLVM's own functions."""
    kind = llvm.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(b.module, kind, name)  # type: ignore[no-untyped-call]
    return b.call(function, arguments)


def fma(b: llvm.IRBuilder, one: Any, other: Any, total: Any) -> Any:
    """one * other + total, rounded once."""
    return called(b, f"llvm.fma.v{LANES}f32", VECTOR, [one, other, total])


def masked_load(b: llvm.IRBuilder, address: Any, mask: Any) -> Any:
    """Elements where the mask says so, zeros elsewhere."""
    arguments = [vector_at(b, address), INT(4), mask, ZERO]
    return called(b, f"llvm.masked.load.v{LANES}f32.p0", VECTOR, arguments)


def masked_store(b: llvm.IRBuilder, vector: Any, address: Any, mask: Any) -> None:
    """Store the elements where the mask says so."""
    arguments = [vector, vector_at(b, address), INT(4), mask]
    called(b, f"llvm.masked.store.v{LANES}f32.p0", llvm.VoidType(), arguments)


def store_part(b: llvm.IRBuilder, vector: Any, address: Any, count: Any) -> None:
    """Store the first `count` elements; all of them, where it is `LANES` or more, by a plain store: masked ones take
    AMD's processors without AVX-512 ten times as long."""
    with b.if_else(b.icmp_signed(">=", count, WORD(LANES)), likely=True) as (whole, part):
        with whole:
            store(b, vector, address)
        with part:
            masked_store(b, vector, address, below(b, count))


def prefetch(b: llvm.IRBuilder, address: Any) -> None:
    """Fetch into the cache what will soon be read and written."""
    called(b, "llvm.prefetch.p0", llvm.VoidType(), [vector_at(b, address), INT(1), INT(3), INT(1)])


def pointers_to(kind: Any) -> Any:
    """A function of compiled loops that makes an address a pointer to elements of this type."""

    @numba.extending.intrinsic
    def pointer(typing, address):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return numba.types.CPointer(kind)(numba.types.int64), generate  # type: ignore[no-untyped-call]

    return pointer


floats_at, bytes_at = pointers_to(numba.types.float32), pointers_to(numba.types.uint8)
integers_at = pointers_to(numba.types.int32)


@inlined
def line_at(address: int, count: int) -> Any:
    """So many float32 from an address on, as an array."""
    return numba.carray(floats_at(address), (count,))  # type: ignore[attr-defined]


@inlined
def integers_line_at(address: int, count: int) -> Any:
    """So many int32 from an address on, as an array."""
    return numba.carray(integers_at(address), (count,))  # type: ignore[attr-defined]


def _emit_copy(b: llvm.IRBuilder, values: list[Any]) -> None:
    source, count, target = values
    pointers = [b.inttoptr(address, BYTE.as_pointer()) for address in (target, source)]
    called(b, "llvm.memcpy.p0.p0.i64", llvm.VoidType(), [*pointers, count, BIT(0)])


def _emit_clear(b: llvm.IRBuilder, values: list[Any]) -> None:
    address, count = values
    called(b, "llvm.memset.p0.i64", llvm.VoidType(), [b.inttoptr(address, BYTE.as_pointer()), BYTE(0), count, BIT(0)])


def _emit_stream(b: llvm.IRBuilder, values: list[Any]) -> None:
    source, target = values
    stored = b.store(load(b, source), vector_at(b, target), align=4 * LANES)
    stored.set_metadata("nontemporal", b.module.add_metadata([INT(1)]))


def _emit_settle(b: llvm.IRBuilder, values: list[Any]) -> None:
    b.fence("seq_cst")


@instruction
def stream_vector(typing, source, target):  # type: ignore[no-untyped-def]
    """Copy a vector past the cache, to an address that is a multiple of its bytes: what was there is not read."""
    return emitted(2, _emit_stream)


@instruction
def settle(typing):  # type: ignore[no-untyped-def]
    """Wait until other threads see what went past the cache."""
    return emitted(0, _emit_settle)


@instruction
def copy_bytes(typing, source, count, target):  # type: ignore[no-untyped-def]
    """Copy so many bytes between addresses."""
    return emitted(3, _emit_copy)


@instruction
def clear_bytes(typing, address, count):  # type: ignore[no-untyped-def]
    """Zero so many bytes at an address."""
    return emitted(2, _emit_clear)
