"""`utopia sign`: sign the seal of a finished study with a key of yours; `--check` checks such a signature.

The seal is one digest of all job records, which hold the digests of every file. It is written with the study's name and
the commits of its code to `results/<study>.seal.json`, beside the study, and OpenSSH (`ssh-keygen -Y`) signs that file
into `results/<study>.seal.json.sig`. A study whose files contradict its records, or whose code has changed, is not
signed; today's configuration is not looked at. With `--stamp` a time-stamping authority (RFC 3161) says that the
statement existed at a time, into `results/<study>.seal.json.tsr`.

Keys of `--json`: `study`, `seal`, `statement`, `signature` and `stamp` (files; null without a stamp); with `--check`
also `key` (who signed: the key's fingerprint, or the principal that `--signers` names), `agrees` (whether the records
are still those that were signed), `stamped` (the time that the stamp says) and `stamp_is_checked` (whether against the
certificates of `--authority`).
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from utopia.cli import audit, show
from utopia.errors import ConfigError, UtopiaError, counted
from utopia.files import atomic, read_json, write_json

NAMESPACE = "utopia-seal"
"""What OpenSSH binds a signature to, so that it is not taken for one of something else."""
_PATIENCE_S = (10, 60)
"""To reach an authority, and for its answer."""
_BLOCK, _MOST_BLOCKS = 1 << 16, 16
"""Of an answer that is read; a stamp has some thousand bytes with all its certificates."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    audit.add(parser)
    parser.add_argument("--key", metavar="FILE", help="the private key (an SSH key, or its public half in an agent)")
    parser.add_argument("--check", action="store_true", help="check the signature beside the study instead")
    parser.add_argument("--signers", metavar="FILE", help="whom to trust, as ssh-keygen's ALLOWED SIGNERS (--check)")
    parser.add_argument("--stamp", metavar="URL", help="have this authority (RFC 3161) stamp the time, too")
    parser.add_argument("--authority", metavar="FILE", help="the authority's certificates, as PEM (--check)")


def run(chosen: argparse.Namespace) -> int:
    """Sign the study, or check its signature; 1 if it is not sound, not signed, or no longer what was signed."""
    from utopia.provenance.verify import verify

    if chosen.check == bool(chosen.key):
        raise ConfigError("name a key to sign with (--key FILE), or ask to check a signature (--check)")
    for option, needed in (("stamp", "key"), ("authority", "check"), ("signers", "check")):
        if getattr(chosen, option) and not getattr(chosen, needed):
            raise ConfigError(f"--{option} needs --{needed}", remedy="see `utopia sign --help`")
    named = {name: getattr(chosen, name) for name in ("key", "signers", "authority")}
    given = {name: Path(value).expanduser().absolute() for name, value in named.items() if value}
    study = audit.locate(chosen)
    graph = audit.graph(study)
    statement = study.root.with_name(f"{study.study}.seal.json")
    if chosen.check:
        return _check(chosen, graph.seal(), study.study, statement, given)
    report = verify(graph, study.root, study.study, current=None, recompute=False)
    if not report.is_sound:
        raise UtopiaError(
            f"the study is not signed:"
            f" {counted(len(report.findings), 'finding contradicts', 'findings contradict')} its records",
            where=study.root,
            why="a signature would say that its records describe it",
            remedy=f"see them: utopia verify --study {study.study} --hash-only",
        )
    commits = {str(git["commit"]) for record in graph.ledger.records if (git := record.facts.get("git"))}
    facts = {
        "study": study.study,
        "seal": report.seal,
        "records": len(graph.ledger.records),
        "commits": sorted(commits),
        "signed": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    write_json(statement, facts)
    signature = sign(statement, given["key"])
    stamp = stamped_by(chosen.stamp, statement) if chosen.stamp else None
    files = {"statement": str(statement), "signature": str(signature), "stamp": stamp and str(stamp)}
    answer = {"study": study.study, "seal": report.seal, **files}
    lines = [
        f"seal {report.seal}",
        f"signed: {statement} by {signature}",
        *([f"stamped: {_time_of(stamp)}, in {stamp}"] if stamp else []),
        "give these files to whoever shall check the study; they are no part of it",
    ]
    show.answer(chosen, answer, lines)
    return 0


def sign(statement: Path, key: Path) -> Path:
    """Sign a file with an SSH key; returns the signature's file.

    Raises:
        UtopiaError: OpenSSH is missing or refuses, in its own words.
    """
    signature = Path(f"{statement}.sig")
    for former in (signature, _stamp_of(statement)):
        former.unlink(missing_ok=True)
    _ssh("-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(statement), where=key)
    return signature


def checked(statement: Path, signers: Path | None) -> str:
    """Check a signature; returns who made it.

    Args:
        statement: the signed file, with `.sig` beside it.
        signers: whom to trust; without, only that the signature fits the key that it names.

    Raises:
        UtopiaError: it does not fit, or the signer is not among those who are trusted.
    """
    signature = Path(f"{statement}.sig")
    for path in (statement, signature):
        if not path.is_file():
            raise UtopiaError("there is no such file", where=path, remedy="sign the study: utopia sign --key FILE")
    words = ["-n", NAMESPACE, "-s", str(signature)]
    content = statement.read_bytes()
    if signers is None:
        said = _ssh("-Y", "check-novalidate", *words, where=signature, content=content)
        return said.rsplit(" key ", 1)[-1].strip()
    names = _ssh("-Y", "find-principals", "-s", str(signature), "-f", str(signers), where=signers).splitlines()
    _ssh("-Y", "verify", "-f", str(signers), "-I", names[0], *words, where=signature, content=content)
    return names[0]


def stamped_by(url: str, statement: Path) -> Path:
    """Have an authority stamp a file (RFC 3161); returns the stamp's file.

    Raises:
        UtopiaError: OpenSSL is missing, the authority cannot be reached, refuses, or stamps something else.
    """
    from utopia.fetch import transfer  # which no other part of this command needs

    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    remedy = "the study is signed all the same; ask again, or another authority"
    query = _openssl("-query", "-data", str(statement), "-sha256", "-cert", where=statement)
    try:
        with transfer.session().post(url, data=query, headers=headers, timeout=_PATIENCE_S, stream=True) as answer:
            answer.raise_for_status()
            content = b"".join(islice(answer.iter_content(_BLOCK), _MOST_BLOCKS))
    except (OSError, ValueError) as error:  # all that `requests` raises, and what an address may be lacking
        raise UtopiaError(f"the authority gives no stamp ({error})", where=url, remedy=remedy) from error
    stamp = _stamp_of(statement)
    with atomic(stamp) as temporary:
        temporary.write_bytes(content)
        granted = "Status: Granted." in _openssl("-reply", "-in", str(temporary), "-text", where=url).decode()
        if not granted or hashlib.sha256(statement.read_bytes()).digest() not in content:
            raise UtopiaError("the authority's answer is no stamp of this file", where=url, remedy=remedy)
    return stamp


def _stamp_of(statement: Path) -> Path:
    return Path(f"{statement}.tsr")


def _time_of(stamp: Path) -> str:
    """The time that a stamp says, in OpenSSL's words."""
    said = _openssl("-reply", "-in", str(stamp), "-text", where=stamp).decode(errors="replace")
    time = re.search(r"^Time stamp: (.+)$", said, re.MULTILINE)
    return time[1] if time else "at no time"


def _check(chosen: argparse.Namespace, seal: str, study: str, statement: Path, trusted: Mapping[str, Path]) -> int:
    signers, authority = trusted.get("signers"), trusted.get("authority")
    who = checked(statement, signers)
    stamp = _stamp_of(statement) if authority or _stamp_of(statement).exists() else None
    if stamp and authority:
        _openssl("-verify", "-data", str(statement), "-in", str(stamp), "-CAfile", str(authority), where=stamp)
    facts: dict[str, Any] = read_json(statement)
    agrees = facts.get("seal") == seal and facts.get("study") == study
    if chosen.json:
        files = {"statement": str(statement), "signature": f"{statement}.sig", "stamp": stamp and str(stamp)}
        time = {"stamped": stamp and _time_of(stamp), "stamp_is_checked": authority is not None}
        show.print_json({"study": study, "seal": seal, **files, "key": who, "agrees": agrees, **time})
        return 0 if agrees else 1
    print(f"{statement}: signed by {who}, who says at {facts.get('signed')}")
    if stamp:
        by = "an authority that was not checked: name its certificates with --authority"
        print(f"{stamp}: it existed on {_time_of(stamp)}, says {authority or by}")
    if agrees:
        print(f"seal {seal}: the records are those that were signed; `utopia verify` compares the files with them")
    else:
        print(f"NOT what was signed: the seal was {facts.get('seal')} and is {seal}")
    if signers is None:
        print("note: anybody can make a key; name those whom you trust with --signers")
    return 0 if agrees else 1


def _ssh(*arguments: str, where: Path, content: bytes = b"") -> str:
    said = _said_by("OpenSSH", "ssh-keygen", *arguments, where=where, content=content)
    return said.decode(errors="replace").strip()


def _openssl(*arguments: str, where: Path | str) -> bytes:
    return _said_by("OpenSSL", "openssl", "ts", *arguments, where=where)


def _said_by(name: str, program: str, *arguments: str, where: Path | str, content: bytes = b"") -> bytes:
    """What a program prints.

    Raises:
        UtopiaError: it is not installed, or refuses.
    """
    path = shutil.which(program)
    if path is None:
        raise UtopiaError(f"there is no {program} on this machine", remedy=f"install {name}")
    done = subprocess.run([path, *arguments], input=content, capture_output=True)
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise UtopiaError(f"{name} refuses: {said}", where=where)
    return done.stdout
