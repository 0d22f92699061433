"""Reading and writing PEF files.

    8 bytes   magic
    u32       format version
    u64       length of the payload in bytes
    32 bytes  SHA-256 of the payload
    payload   a Pef record (pef/pef.proto)

All integers are little-endian. The same record always makes the same bytes.

Compatibility: FORMAT_VERSION rises when an older reader would misread a file, never for fields that an older reader
may ignore. A reader of version N reads every version from 1 to N and refuses newer ones; tests keep a sample of each.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from pathlib import Path

from google.protobuf.message import DecodeError

from ir.errors import PefError
from pef import pef_pb2 as pb
from pef.files import write_bytes
from pef.upgrade import modernised

MAGIC = b"\x89SNCPEF\n"
FORMAT_VERSION = 2
SYMBOL_ALIGNMENT_BYTES = 64
"""Every symbol starts at a multiple of this."""

_ENVELOPE = struct.Struct("<8sIQ32s")
_AGAIN = "compile the model or copy the file again"


def write(pef: pb.Pef, path: str | os.PathLike[str]) -> None:
    """Write `pef` to `path`, atomically: whoever looks sees the old file or the whole new one.

    Raises UsageError where the file system refuses.
    """
    write_bytes(Path(path), encoded(pef))


def encoded(pef: pb.Pef) -> bytes:
    """The content of the file of `pef`."""
    payload = pef.SerializeToString(deterministic=True)
    return _ENVELOPE.pack(MAGIC, FORMAT_VERSION, len(payload), hashlib.sha256(payload).digest()) + payload


def read(path: str | os.PathLike[str]) -> pb.Pef:
    """The record in the file at `path`. Raises PefError, in one sentence, for anything but a whole PEF."""
    payload = _payload(Path(path))
    try:
        return modernised(pb.Pef.FromString(payload))
    except DecodeError as error:
        raise PefError(f"{path} does not hold a PEF record, although it is complete; {_AGAIN}") from error


def content_hash(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of the record in the file at `path`, in hexadecimal. Raises PefError as `read` does."""
    return hashlib.sha256(_payload(Path(path))).hexdigest()


def record_hash(pef: pb.Pef) -> str:
    """What `content_hash` gives for the file of `pef`."""
    return hashlib.sha256(pef.SerializeToString(deterministic=True)).hexdigest()


def _payload(path: Path) -> bytes:
    """The payload of the file, once its envelope has been found sound."""
    content = _content(path)
    if not content:
        raise PefError(f"{path} is empty; {_AGAIN}")
    if content[: len(MAGIC)] != MAGIC[: len(content)]:
        raise PefError(f"{path} is not a PEF; give a file that the compiler wrote")
    if len(content) < _ENVELOPE.size:
        raise PefError(f"{path} is truncated: it ends after {len(content)} bytes; {_AGAIN}")
    _, version, length, digest = _ENVELOPE.unpack_from(content)
    if version > FORMAT_VERSION:
        raise PefError(
            f"{path} has PEF format version {version}, newer than the {FORMAT_VERSION} this toolchain reads; "
            "upgrade the toolchain or compile the model with this one"
        )
    if version < 1:
        raise PefError(f"{path} is corrupted: it names PEF format version {version}; {_AGAIN}")
    payload = content[_ENVELOPE.size :]
    if len(payload) < length:
        raise PefError(f"{path} is truncated: it holds {len(payload)} of {length} bytes; {_AGAIN}")
    if len(payload) > length:
        raise PefError(f"{path} is corrupted: {len(payload) - length} bytes follow its end; {_AGAIN}")
    if hashlib.sha256(payload).digest() != digest:
        raise PefError(f"{path} is corrupted: its content does not match its hash; {_AGAIN}")
    return payload


def _content(path: Path) -> bytes:
    """All bytes of the file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise PefError(f"{path} is a folder; give the PEF file in it")
        if not stat.S_ISREG(mode):
            raise PefError(f"{path} is not a regular file; give a file that the compiler wrote")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PefError(f"{path} does not exist; check the path or compile the model") from error
    except OSError as error:
        raise PefError(f"{path} cannot be read ({_reason(error)}); check its permissions") from error


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
