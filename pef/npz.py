"""Named arrays in .npz files: read whole and checked against the archive's checksums, written atomically."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ir.errors import Problem, UsageError
from ir.op import Array
from pef.files import replacing


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write named arrays, atomically."""
    with replacing(path) as file:
        store_npz(file, arrays)


def store_npz(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    """Write named arrays into an open file, always the same bytes for the same arrays; any name will do."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """The content of an .npz file with these arrays."""
    content = io.BytesIO()
    store_npz(content, arrays)
    return content.getvalue()


def read_npz(path: Path, what: str) -> dict[str, Array]:
    """The named arrays of a file; `what` says in an error what the file is for.

    Raises UsageError for anything that is not a whole, undamaged archive of plain arrays.
    """
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start == np.lib.format.MAGIC_PREFIX:
            raise UsageError(Problem(f"{path} holds one unnamed array", hint="write named arrays: numpy.savez"))
        with zipfile.ZipFile(path) as archive:
            _require_complete(archive)
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in archive.infolist()}
    except UsageError:
        raise
    except FileNotFoundError as error:
        raise UsageError(Problem(f"the {what} {path} does not exist", hint="check the path")) from error
    except Exception as error:  # a damaged archive makes zipfile, zlib, NumPy and Python's parser stumble in many ways
        raise UsageError(
            Problem(
                f"the {what} {path} cannot be read: {_reason(error)}",
                hint="give an .npz file: numpy.savez(path, x=...)",
            )
        ) from error


_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of a member of an archive: the lengths of its name and of what else is said of it, which follow."""
_DESCRIPTOR_BYTES = (0, 12, 16, 20, 24)
"""What may follow the content of a member that was written without knowing its size."""


def _require_complete(archive: zipfile.ZipFile) -> None:
    """Raise ValueError unless the members fill the archive up to its directory: damage there may hide some of them."""
    end = 0
    for member in sorted(archive.infolist(), key=lambda member: member.header_offset):
        if member.header_offset - end not in _DESCRIPTOR_BYTES:
            raise ValueError(f"something that is not an array stands before {member.filename}")
        assert archive.fp is not None
        archive.fp.seek(member.header_offset)
        name, extra = _LOCAL_HEADER.unpack(archive.fp.read(_LOCAL_HEADER.size))
        end = member.header_offset + _LOCAL_HEADER.size + name + extra + member.compress_size
    if archive.start_dir - end not in _DESCRIPTOR_BYTES:
        raise ValueError("the directory of the archive does not list all that is in it")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """One array. All bytes of the member are read, as the checksum is over all of them."""
    content = io.BytesIO(archive.read(member))
    array: Array = np.lib.format.read_array(content, allow_pickle=False)
    if content.read(1):
        raise ValueError(f"more bytes than {member.filename} has elements")
    return array


def _reason(error: Exception) -> str:
    """What went wrong, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
