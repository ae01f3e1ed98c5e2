"""Archives, unpacked entry by entry: nothing leaves the folder, and no bomb fills the disk."""

from __future__ import annotations

import errno
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from kpipe.stage import StageError
from stages import disk
from stages.data.files import printable

MOST_ENTRIES = 2_000_000
MOST_BYTES = 500 * 10**9  # unpacked
MOST_RATIO = 200  # unpacked bytes to the archive's own; photographs do not get smaller at all
SMALL = 100 * 10**6  # unpacked bytes up to which the ratio does not matter
DEEPEST = 200  # folders above a file
ZIP, COMPRESSED = (b"PK\x03\x04", b"PK\x05\x06"), (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
OTHERS = ((b"Rar!", "a RAR archive"), (b"7z\xbc\xaf'\x1c", "a 7-Zip archive"), (b"\x28\xb5\x2f\xfd", "compressed by Zstandard"))
PIECE = 1 << 20
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


class Entry(NamedTuple):
    """One entry of an archive."""

    name: str
    kind: str  # file, folder, or what else it is
    content: IO[bytes] | None = None  # of a file; to be read before the next entry


@dataclass
class Unpacked:
    """What has been unpacked so far."""

    archive: Path
    into: Path
    entries: int = 0
    bytes: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)  # name, reason

    def count(self, entries: int = 0, size: int = 0) -> None:
        """StageError where the archive holds more than any data set does, or much more than its own size."""
        self.entries += entries
        self.bytes += size
        ratio = self.bytes / max(self.archive.stat().st_size, 1)
        over = (
            f"more than {MOST_ENTRIES:,} entries" if self.entries > MOST_ENTRIES
            else f"more than {disk.size(MOST_BYTES)}" if self.bytes > MOST_BYTES
            else f"{ratio:,.0f} times its own size" if ratio > MOST_RATIO and self.bytes > SMALL
            else ""
        )  # fmt: skip
        if over:
            raise StageError(
                f"{self.archive.name} unpacks to {over}: a decompression bomb?", hint="unpack it yourself and give the folder"
            )


def is_archive(path: Path) -> bool:
    """Whether a file is a ZIP or tar archive, or compressed as a tar archive is, by how it begins."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(6)
    return start.startswith((*ZIP, *COMPRESSED)) or tarfile.is_tarfile(path)


def other_archive(path: Path) -> str:
    """What an archive is that nothing here unpacks; empty for other files."""
    with path.open("rb") as file:
        start = file.read(6)
    return next((name for magic, name in OTHERS if start.startswith(magic)), "")


def is_zip(path: Path) -> bool:
    """Whether a file begins as a ZIP archive does."""
    with path.open("rb") as file:
        return file.read(4) in ZIP


def unpack(archive: Path, into: Path) -> Unpacked:
    """Write an archive's folders and regular files below an empty folder."""
    unpacked = Unpacked(archive, into)
    try:
        for entry in zip_entries(archive) if is_zip(archive) else tar_entries(archive):
            unpacked.count(entries=1)
            _write(entry, unpacked)
    except DAMAGED as e:
        why = (str(e).lower() or "truncated").splitlines()[0]
        raise StageError(f"{archive.name} is damaged ({why})", hint="get or make it again") from None
    except OSError as e:
        why = (e.strerror or f"damaged, {e}").lower()
        raise StageError(f"{archive.name} cannot be unpacked: {why}", hint="unpack it yourself and give the folder") from None
    return unpacked


def zip_entries(archive: Path) -> Iterator[Entry]:
    """The entries of a ZIP archive; archives of DOS and Windows tell no mode, and some part names by backslashes."""
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            name = info.filename.replace("\\", "/") if info.create_system == 0 else info.filename
            mode = info.external_attr >> 16
            if info.flag_bits & 1:
                raise StageError(f"{archive.name} is protected by a password", hint="unpack it yourself and give the folder")
            if name.endswith("/"):
                yield Entry(name, "folder")
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                yield Entry(name, "link" if stat.S_ISLNK(mode) else "device")
            else:
                with opened.open(info) as content:
                    yield Entry(name, "file", content)


def tar_entries(archive: Path) -> Iterator[Entry]:
    """The entries of a tar archive, whatever compresses it, in one pass to its very end, where checksums stand."""
    with tarfile.open(archive, errorlevel=2) as opened:
        while member := opened.next():
            opened.members = []  # type: ignore[attr-defined]  # or all would be kept
            if member.isreg():
                yield Entry(member.name, "file", opened.extractfile(member))
            else:
                yield Entry(member.name, "folder" if member.isdir() else "link" if member.issym() or member.islnk() else "device")
        stream = opened.fileobj
        if stream is None:
            return
        stream.seek(opened.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes an archive that is cut there as whole
            raise tarfile.ReadError("its end is missing")
        while stream.read(PIECE):
            pass


def _write(entry: Entry, unpacked: Unpacked) -> None:
    """Write one entry; links, devices, and names that the file system does not take are noted."""
    parts = PurePosixPath(entry.name).parts
    if entry.name.startswith("/") or ".." in parts or entry.name[1:3] in (":/", ":\\"):
        raise StageError(
            f"{unpacked.archive.name}: the entry {printable(entry.name)} would leave the folder it is unpacked into",
            hint="make the archive again with names relative to its own top",
        )
    path = unpacked.into.joinpath(*parts)
    try:
        if len(parts) > DEEPEST:
            raise OSError(errno.ENAMETOOLONG, "too deep")
        if entry.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
        elif entry.content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                unpacked.refused.append((printable(entry.name), "stands in the archive again; the last one is taken"))
            with path.open("wb") as file:
                while piece := entry.content.read(PIECE):
                    unpacked.count(size=len(piece))
                    file.write(piece)
        else:
            unpacked.refused.append((printable(entry.name), f"a {entry.kind} in an archive"))
    except (OSError, ValueError) as e:
        if isinstance(e, OSError) and e.errno not in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
            raise
        unpacked.refused.append((printable(entry.name), "a name that no file can have here"))
