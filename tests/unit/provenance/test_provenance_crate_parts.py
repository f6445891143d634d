"""The parts of a crate that need no study: opening what others made, hiding machines, naming."""

from __future__ import annotations

import json
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia.errors import InputError
from utopia.provenance.crate import naming, statement
from utopia.provenance.crate.content import METADATA, is_plain
from utopia.provenance.crate.extract import extracted
from utopia.provenance.crate.privacy import Anonymous, Machine, places
from utopia.provenance.crate.statement import Agent
from utopia.provenance.job import sealed
from utopia.provenance.ledger import Record


@pytest.mark.parametrize("path", ["a", "a/b.csv", "results/x@y=1,z=2/m.csv", ".hidden", "a..b/c"])
def test_plain_paths(path: str) -> None:
    assert is_plain(path)


@pytest.mark.parametrize(
    "path", ["", "/a", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "a\\b", "C:/a", "<data>/a", "~/a", "a\0b", "a\nb"]
)
def test_paths_that_lead_out_or_have_two_spellings(path: str) -> None:
    assert not is_plain(path)


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(is_plain))
def test_a_file_is_found_again_by_its_identifier(name: str) -> None:
    identifier = naming.file_id(name)
    assert naming.file_of(identifier) == name
    assert not identifier.startswith("#")
    assert naming.file_of(naming.reference(name)) is None


def test_code_is_named_as_git_names_it(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_bytes("print('é')\n".encode())
    blob = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True).stdout.strip()
    assert naming.code(path.read_bytes()) == f"https://identifiers.org/swh:1:cnt:{blob}"


def test_a_moment_keeps_its_milliseconds() -> None:
    assert naming.moment("2026-01-02T03:04:05.678Z") == "2026-01-02T03:04:05.678+00:00"


# -- crates of others


def packed(path: Path, *members: tuple[str, bytes, int]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content, mode in ((METADATA, b"{}", stat.S_IFREG), *members):
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, (mode | 0o644) << 16
            file.writestr(entry, content)
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../out.txt", stat.S_IFREG),
        ("a/../../out.txt", stat.S_IFREG),
        ("/etc/out.txt", stat.S_IFREG),
        ("a\\..\\..\\out.txt", stat.S_IFREG),
        ("C:/out.txt", stat.S_IFREG),
        ("link", stat.S_IFLNK),
        ("pipe", stat.S_IFIFO),
        ("device", stat.S_IFCHR),
    ],
)
def test_a_zip_that_would_write_elsewhere_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    crate = packed(tmp_path / "c.zip", (name, b"x", mode))
    with pytest.raises(InputError, match="refused"), extracted(crate):
        pass
    assert [path.name for path in tmp_path.rglob("out.txt")] == []


def test_a_zip_with_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        crate = packed(tmp_path / "c.zip", ("a", b"1", stat.S_IFREG), ("a", b"2", stat.S_IFREG))
    with pytest.raises(InputError, match="twice"), extracted(crate):
        pass


def test_a_zip_larger_than_the_disk_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crate = packed(tmp_path / "c.zip", ("a", b"0" * 5000, stat.S_IFREG))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 4000}))
    with pytest.raises(InputError, match="5002 bytes, and 4000 are free"), extracted(crate):
        pass


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: raw.replace(b"payload", b"PAYLOAD")])
def test_a_damaged_zip_is_an_error_for_people(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    crate = packed(tmp_path / "c.zip", ("a", b"payload" * 9, stat.S_IFREG))
    crate.write_bytes(damage(crate.read_bytes()))
    with pytest.raises(InputError), extracted(crate):
        pass


@pytest.mark.parametrize("to", ["/etc/passwd", METADATA, "missing", "."])
def test_a_folder_with_a_link_is_refused(tmp_path: Path, to: str) -> None:
    (tmp_path / METADATA).write_text("{}")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "link").symlink_to(to)
    with pytest.raises(InputError, match="refused: a link"), extracted(tmp_path):
        pass


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("no crate")])
def test_what_is_no_crate(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path / "c")
    with pytest.raises(InputError), extracted(tmp_path / "c"):
        pass


# -- machines and people


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'"/home/me/data/x"', "/home/me"),
        (b"in /home/me.", "/home/me"),
        (b"/home/me", "/home/me"),
        (b"/home/me-too/x", ""),
        (b"/mnt/home/me/x", ""),
        (b"~/home/you", ""),
    ],
)
def test_folders_of_this_machine_in_bytes(text: bytes, found: str) -> None:
    machine = Machine([Path("/home/me"), Path("/")])
    assert machine.found_in(text) == found
    assert machine.found_in(machine.hidden_in(text)) == ""


def test_absolute_paths_in_records() -> None:
    facts = {
        "a": [
            "/scratch/me/x.mp4",
            "results/a/b",
            "<data>/liris/a",
            "~/x/y",
            "https://a.b/c/d",
            "mean / std, and/or/not",
        ],
        "b": {"/scratch/k/v": 1, "note": "weights from /mnt/w/a.pth, cached"},
        "c": "/usr/share/fonts/x.ttf",
    }
    assert sorted(places(facts)) == ["/mnt/w/a.pth,", "/scratch/k/v", "/scratch/me/x.mp4"]


def facts_of(host: str, gpu: str, path: str) -> dict[str, Any]:
    return {
        "host": host,
        "gpu": [{"uuid": gpu, "name": "X100"}],
        "environment": {"variables": {"OMP_NUM_THREADS": "1", "SLURM_JOB_NODELIST": host}},
        "inputs": [{"path": path, "sha256": "0" * 64, "bytes": 1}],
        "cpu": {"model": "Y"},
    }


def test_anonymous_records_keep_what_ran_together_and_nothing_that_tells_where() -> None:
    before = [
        facts_of("node17.lab", "GPU-1", "/home/eve/a/x.mp4"),
        facts_of("node18.lab", "GPU-2", "/home/eve/b/x.mp4"),
        facts_of("node17.lab", "GPU-1", "<data>/x.mp4"),
    ]
    hide = Anonymous(before)
    after = [hide.record(json.dumps(sealed(facts)).encode()) for facts in before]
    assert all(word not in text for text in after for word in (b"node1", b"eve", b"GPU-", b"SLURM"))
    read = [json.loads(text) for text in after]
    assert [facts["host"] for facts in read] == ["host-1", "host-2", "host-1"]
    assert [facts["gpu"][0]["uuid"] for facts in read] == ["gpu-1", "gpu-2", "gpu-1"]
    assert read[0]["inputs"][0]["path"] != read[1]["inputs"][0]["path"]
    assert read[2]["inputs"][0]["path"] == "<data>/x.mp4"
    assert read[0]["cpu"] == {"model": "Y"}
    assert all(Record(Path("r"), facts).is_intact for facts in read)


def test_nobody_is_named_unless_somebody_said_so() -> None:
    agent, publisher, entities = statement.operators(Agent())
    assert agent == publisher == entities[0]["@id"]
    assert "no person" in entities[0]["name"]
    agent, publisher, entities = statement.operators(Agent("Ada", "https://orcid.org/0", "Lab", "https://lab.example"))
    assert (agent, publisher) == ("https://orcid.org/0", "https://lab.example")
    assert entities[0] == {
        "@id": agent, "@type": "Person", "name": "Ada", "affiliation": {"@id": publisher}
    }  # fmt: skip


def test_authors_as_the_citation_has_them() -> None:
    citation = {
        "url": "https://u.example",
        "authors": [
            {"name": "A group"},
            {"given-names": "Ada", "family-names": "L", "affiliation": "Lab", "orcid": "https://orcid.org/1"},
        ],
    }
    group, ada, lab = statement.authors(citation)
    assert (group["@type"], group["url"]) == ("Organization", "https://u.example")
    assert (ada["@id"], ada["name"], ada["affiliation"]) == ("https://orcid.org/1", "Ada L", {"@id": lab["@id"]})
