"""Layers of an image: compressed archives whose bytes follow from their contents alone."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath
from typing import BinaryIO

LEVEL = 6
"""Of compression."""


@dataclass(frozen=True)
class Blob:
    """A file of a layout. digest: of its bytes; diff: of what they are uncompressed, which an image's config names."""

    digest: str
    size: int
    diff: str = ""


class _Counted:
    """A file that knows the digest of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.hash, self.size = file, hashlib.sha256(), 0

    def write(self, content: bytes) -> int:
        self.hash.update(content)
        self.size += len(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self.hash.hexdigest()}"


class Archive:
    """An open layer. Times are those given, owners too: nothing of this computer's users or clock gets in."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def tree(
        self,
        source: Path,
        target: str,
        owner: int = 0,
        keep_times: bool = False,
        leave_out: Callable[[Path], bool] = lambda path: False,
    ) -> None:
        """A folder with all below it, in the order of names. Devices and sockets are left out."""
        self._entry(source, target, owner, keep_times)
        for path in sorted(source.rglob("*"), key=lambda path: path.relative_to(source).parts):
            if not leave_out(path):
                self._entry(path, str(PurePosixPath(target, path.relative_to(source).as_posix())), owner, keep_times)

    def distribution(self, installed: Distribution, target: str) -> None:
        """What a distribution installed, without its compiled files, scripts and what says where it came from."""
        for file in sorted(installed.files or (), key=str):
            path = Path(str(file.locate()))
            inside = ".." not in file.parts and not file.is_absolute() and "__pycache__" not in file.parts
            if inside and file.name not in ("direct_url.json", "INSTALLER", "REQUESTED", "RECORD") and path.is_file():
                self._entry(path, str(PurePosixPath(target, file.as_posix())), 0, False)

    def file(self, target: str, content: bytes, mode: int = 0o644) -> None:
        """A file with this content."""
        import io

        info = tarfile.TarInfo(target.lstrip("/"))
        info.size, info.mode = len(content), mode
        self._tar.addfile(info, io.BytesIO(content))

    def _entry(self, path: Path, target: str, owner: int, keep_times: bool) -> None:
        status = path.lstat()
        info = tarfile.TarInfo(target.lstrip("/"))
        info.mode = stat.S_IMODE(status.st_mode)
        info.mtime = int(status.st_mtime) if keep_times else 0
        info.uid, info.gid = (status.st_uid, status.st_gid) if keep_times else (owner, owner)
        if path.is_symlink():
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
            self._tar.addfile(info)
        elif path.is_dir():
            info.type = tarfile.DIRTYPE
            self._tar.addfile(info)
        elif path.is_file():
            if not keep_times:
                info.mode = 0o755 if info.mode & 0o100 else 0o644
            info.size = status.st_size
            with path.open("rb") as opened:
                self._tar.addfile(info, opened)


@contextmanager
def layer(file: BinaryIO, done: list[Blob]) -> Iterator[Archive]:
    """An archive that is written to `file`; its blob is appended to `done` when the block ends."""
    packed = _Counted(file)
    with gzip.GzipFile("", "wb", LEVEL, packed, mtime=0) as compressed:
        plain = _Counted(compressed)  # type: ignore[arg-type]
        with tarfile.open(fileobj=plain, mode="w|", format=tarfile.GNU_FORMAT) as tar:  # type: ignore[call-overload]
            yield Archive(tar)
    done.append(Blob(packed.digest, packed.size, plain.digest))


def named(blobs: Path, write: Callable[[BinaryIO], Blob]) -> Blob:
    """A blob that is written and then called by its digest."""
    temporary = blobs / "new"
    with temporary.open("wb") as file:
        blob = write(file)
    temporary.rename(blobs / blob.digest.removeprefix("sha256:"))
    return blob


def plain_blob(blobs: Path, content: bytes) -> Blob:
    """A blob of these bytes."""
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return Blob(f"sha256:{digest}", len(content))
