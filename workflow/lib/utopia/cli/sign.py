"""`utopia sign`: sign the seal of a finished study with a key of yours; `--check` checks such a signature.

The seal is one digest of all job records, which hold the digests of every file. It is written with the study's name and
the commits of its code to `results/<study>.seal.json`, beside the study, and OpenSSH (`ssh-keygen -Y`) signs that file
into `results/<study>.seal.json.sig`. A study whose files contradict its records, or whose code has changed, is not
signed; today's configuration is not looked at.

Keys of `--json`: `study`, `seal`, `statement` and `signature` (files); with `--check` also `key` (who signed: the key's
fingerprint, or the principal that `--signers` names), `agrees` (whether the records are still those that were signed).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from utopia.cli import audit, show
from utopia.errors import ConfigError, UtopiaError
from utopia.files import read_json, write_json

NAMESPACE = "utopia-seal"
"""What OpenSSH binds a signature to, so that it is not taken for one of something else."""
_PROGRAM = "ssh-keygen"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    audit.add(parser)
    parser.add_argument("--key", metavar="FILE", help="the private key (an SSH key, or its public half in an agent)")
    parser.add_argument("--check", action="store_true", help="check the signature beside the study instead")
    parser.add_argument("--signers", metavar="FILE", help="whom to trust, as ssh-keygen's ALLOWED SIGNERS (--check)")


def run(chosen: argparse.Namespace) -> int:
    """Sign the study, or check its signature; 1 if it is not sound, not signed, or no longer what was signed."""
    from utopia.provenance.verify import verify

    if chosen.check == bool(chosen.key):
        raise ConfigError("name a key to sign with (--key FILE), or ask to check a signature (--check)")
    named = {name: getattr(chosen, name) for name in ("key", "signers")}
    given = {name: Path(value).expanduser().absolute() for name, value in named.items() if value}
    study = audit.locate(chosen)
    graph = audit.graph(study)
    statement = study.root.with_name(f"{study.study}.seal.json")
    if chosen.check:
        return _check(chosen, graph.seal(), study.study, statement, given.get("signers"))
    report = verify(graph, study.root, study.study, current=None, recompute=False)
    if not report.is_sound:
        raise UtopiaError(
            f"the study is not signed: {len(report.findings)} findings contradict its records",
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
    answer = {"study": study.study, "seal": report.seal, "statement": str(statement), "signature": str(signature)}
    lines = [
        f"seal {report.seal}",
        f"signed: {statement} by {signature}",
        "give both files to whoever shall check the study; they are no part of it",
    ]
    show.answer(chosen, answer, lines)
    return 0


def sign(statement: Path, key: Path) -> Path:
    """Sign a file with an SSH key; returns the signature's file.

    Raises:
        UtopiaError: OpenSSH is missing or refuses, in its own words.
    """
    signature = Path(f"{statement}.sig")
    signature.unlink(missing_ok=True)
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


def _check(chosen: argparse.Namespace, seal: str, study: str, statement: Path, signers: Path | None) -> int:
    who = checked(statement, signers)
    facts: dict[str, Any] = read_json(statement)
    agrees = facts.get("seal") == seal and facts.get("study") == study
    if chosen.json:
        files = {"statement": str(statement), "signature": f"{statement}.sig"}
        show.print_json({"study": study, "seal": seal, **files, "key": who, "agrees": agrees})
        return 0 if agrees else 1
    print(f"{statement}: signed by {who} at {facts.get('signed')}")
    if agrees:
        print(f"seal {seal}: the records are those that were signed; `utopia verify` compares the files with them")
    else:
        print(f"NOT what was signed: the seal was {facts.get('seal')} and is {seal}")
    if signers is None:
        print("note: anybody can make a key; name those whom you trust with --signers")
    return 0 if agrees else 1


def _ssh(*arguments: str, where: Path, content: bytes = b"") -> str:
    program = shutil.which(_PROGRAM)
    if program is None:
        raise UtopiaError(f"there is no {_PROGRAM} on this machine", remedy="install OpenSSH 8.1 or newer")
    done = subprocess.run([program, *arguments], input=content, capture_output=True)
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    if done.returncode:
        raise UtopiaError(f"OpenSSH refuses: {said}", where=where)
    return done.stdout.decode(errors="replace").strip()
