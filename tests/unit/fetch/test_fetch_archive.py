"""Archives that are right, and archives that are not."""

from __future__ import annotations

import gzip
import io
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from utopia.errors import ChecksumError, InputError
from utopia.fetch.archive import UnpackLimits, extract

FILES = {"set/a.txt": b"a" * 10, "set/deep/b.txt": b"b" * 200_000, "other/c.txt": b"c"}
ROOM = UnpackLimits(10_000_000)


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w", *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return path


def vint(number: int) -> bytes:
    out = b""
    while True:
        number, low = number >> 7, number & 127
        out += bytes([low | (128 if number else 0)])
        if not number:
            return out


def rar5(path: Path, files: dict[str, bytes]) -> Path:
    """A RAR 5 archive with stored (not compressed) files, by the published format."""

    def block(kind: int, flags: int, body: bytes, data: bytes = b"") -> bytes:
        head = vint(kind) + vint(flags) + (vint(len(data)) if flags & 2 else b"") + body
        head = vint(len(head)) + head
        return struct.pack("<I", zlib.crc32(head)) + head + data

    out = b"Rar!\x1a\x07\x01\x00" + block(1, 0, vint(0))
    for name, data in files.items():
        crc = struct.pack("<I", zlib.crc32(data))
        body = vint(4) + vint(len(data)) + vint(0o100644) + crc + vint(0) + vint(1) + vint(len(name)) + name.encode()
        out += block(2, 2, body, data)
    path.write_bytes(out + block(5, 0, vint(0)))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.xz", "x.tar.bz2", "x.rar"])
def test_every_kind_is_unpacked(tmp_path: Path, name: str) -> None:
    if name == "x.zip":
        archive = zipped(tmp_path / name, FILES)
    elif name == "x.rar":
        if not shutil.which("bsdtar"):
            pytest.skip("needs bsdtar")
        archive = rar5(tmp_path / name, FILES)
    else:
        archive = tarred(tmp_path / name, FILES, "w:" + (name[6:] if name.count(".") > 1 else ""))
    into = tmp_path / "into"
    paths = extract(archive, into, ROOM)
    assert tree(into) == FILES and sorted(paths) == sorted(into / member for member in FILES)
    assert not any(path.stat().st_mode & 0o111 for path in paths)


def test_rar_without_a_reader_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"(?s)is a rar archive.*install libarchive's bsdtar"):
        extract(rar5(tmp_path / "x.rar", FILES), tmp_path / "into", ROOM)


@pytest.mark.skipif(not shutil.which("bsdtar"), reason="needs bsdtar")
def test_an_evil_or_damaged_rar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leads outside"):
        extract(rar5(tmp_path / "x.rar", {"ok": b"1", "../out": b"x"}), tmp_path / "into", ROOM)
    whole = rar5(tmp_path / "y.rar", {"ok": b"1" * 5000}).read_bytes()
    (tmp_path / "y.rar").write_bytes(whole[:2000])
    with pytest.raises(InputError, match="is damaged"):
        extract(tmp_path / "y.rar", tmp_path / "into", ROOM)
    assert tree(tmp_path / "into") == {}


def test_members_folders_and_archives_inside(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"video/1.mp4": b"1", "video/2.txt": b"2"}).read_bytes()
    outer = tarred(
        tmp_path / "o.tgz", {"v1/inner.zip": inner, "v1/read.me": b"r", "v1/other.zip": b"no archive"}, "w:gz"
    )
    into = tmp_path / "into"
    extract(outer, into, ROOM, members=["*.mp4", "read.me"], strip=1, nested=["inner.zip"])
    assert tree(into) == {"video/1.mp4": b"1", "read.me": b"r"}


EVIL = {
    "../out.txt": "leads outside",
    "set/../../out.txt": "leads outside",
    "/tmp-out.txt": "not inside it",
    "C:\\out.txt": "not inside it",
    "C:/out.txt": "not inside it",
    "set\\..\\..\\out.txt": "not inside it",
}


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_paths_outside_are_refused_whole(tmp_path: Path, name: str, kind: str) -> None:
    make = zipped if kind == "zip" else tarred
    archive = make(tmp_path / f"x.{kind}", {"good.txt": b"g", name: b"evil"})
    into = tmp_path / "down" / "into"
    with pytest.raises(InputError, match=EVIL[name]):
        extract(archive, into, ROOM, members=["good.txt"])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive], "not even the good one"


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes, what: str) -> None:
    info = tarfile.TarInfo("set/link")
    info.type, info.linkname = kind, "../../../etc/passwd"
    with pytest.raises(InputError, match=f"holds {what}: 'set/link'"):
        extract(tarred(tmp_path / "x.tar", FILES, "w", info), tmp_path / "into", ROOM)
    assert tree(tmp_path / "into") == {}


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    with pytest.raises(InputError, match="holds a link"):
        extract(path, tmp_path / "into", ROOM)


def test_a_name_cut_at_a_zero_byte_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"good.txtX/../evil": b"g"})
    path.write_bytes(path.read_bytes().replace(b"good.txtX", b"good.txt\0"))
    with pytest.raises(InputError, match=r"not inside it|leads outside"):
        extract(path, tmp_path / "into", ROOM)


def test_bombs_are_cut_off(tmp_path: Path) -> None:
    """A gigabyte of zeros from a megabyte of archive, in a tar, a zip, an archive inside, and an entry nobody wants."""
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb", compresslevel=1) as squeezed:
        info = tarfile.TarInfo("zeros")
        info.size = 64 << 20
        squeezed.write(info.tobuf())
        for _ in range(64):
            squeezed.write(bytes(1 << 20))
    (tmp_path / "x.tar.gz").write_bytes(bomb.getvalue())
    zipped(tmp_path / "x.zip", {"zeros": bytes(20 << 20)})
    zipped(tmp_path / "y.zip", {"set/x.tar.gz": bomb.getvalue()})
    into = tmp_path / "into"
    for name, members, nested in (
        ("x.tar.gz", ["*"], []),
        ("x.tar.gz", ["wanted"], []),
        ("x.zip", ["*"], []),
        ("y.zip", ["*"], ["*.tar.gz"]),
    ):
        with pytest.raises(InputError, match="unpacks to more than the 10000000 bytes that it may"):
            extract(tmp_path / name, into, ROOM, members=members, nested=nested)
        assert list(into.rglob("*")) == []


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {f"{n}": b"" for n in range(12)})
    with pytest.raises(InputError, match="more than 11 files"):
        extract(archive, tmp_path / "into", UnpackLimits(1000, files=11))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0.01, 0.99), kind=st.sampled_from(["x.zip", "x.tar.gz", "x.tar.xz", "x.tar"]))
def test_a_cut_off_archive_is_damaged(tmp_path: Path, where: float, kind: str) -> None:
    archive = zipped(tmp_path / kind, FILES) if kind == "x.zip" else tarred(tmp_path / kind, FILES, f"w:{kind[6:]}")
    data = archive.read_bytes()
    if kind == "x.tar":
        where = min(where, 0.9)  # the last blocks of a tar are padding
    archive.write_bytes(data[: int(len(data) * where)])
    into = tmp_path / "into"
    with pytest.raises(InputError, match="is damaged"):
        extract(archive, into, ROOM)
    assert tree(into) == {}


def test_no_archive_at_all(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("<html>sign in</html>")
    with pytest.raises(InputError, match="is damaged or not an archive"):
        extract(tmp_path / "x.zip", tmp_path / "into", ROOM)


def test_an_encrypted_zip_says_so(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a": b"secret"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"encrypted"):
        extract(path, tmp_path / "into", ROOM)


def test_a_wrong_checksum_inside_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"0123456789")
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780", 1))
    with pytest.raises(InputError, match="Bad CRC-32"):
        extract(path, tmp_path / "into", ROOM)
    assert tree(tmp_path / "into") == {}


def test_again_is_harmless_and_nothing_is_overwritten(tmp_path: Path) -> None:
    archive, into = zipped(tmp_path / "x.zip", FILES), tmp_path / "into"
    extract(archive, into, ROOM)
    (into / "set" / "a.txt").unlink()
    leftover = into / ".unpacking-x.zip" / "half"
    leftover.parent.mkdir()
    leftover.write_text("of a killed process")
    extract(archive, into, ROOM)
    assert tree(into) == FILES
    (into / "set" / "a.txt").write_text("mine")
    (into / "other" / "c.txt").unlink()
    with pytest.raises(ChecksumError, match=r"(?s)a.txt: lies there already.*nothing of yours"):
        extract(archive, into, ROOM)
    assert (into / "set" / "a.txt").read_text() == "mine" and not (into / "other" / "c.txt").exists()


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("a", "a"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(InputError, match="twice"):
        extract(path, tmp_path / "into", ROOM)
    with tarfile.open(path, "w") as archive:
        for name in ("a", "a/b"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(InputError, match="both as a file and as a folder"):
        extract(path, tmp_path / "into", ROOM)
