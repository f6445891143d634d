"""The generated schemas and the reference page are what the typed models say."""

from __future__ import annotations

from utopia.config import schema


def test_generated_files_are_up_to_date() -> None:
    outdated = [str(path) for path in schema.stale()]
    assert outdated == [], "run: python -m utopia.config.schema --fix"


def test_editors_are_told_of_the_schemas() -> None:
    from utopia.config.load import CONFIG, RESOURCES

    files = {CONFIG: schema.STUDY, **dict.fromkeys((RESOURCES / "studies").glob("*.yaml"), schema.OVERLAY)}
    for file, expected in files.items():
        first = file.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema="), f"{file.name} does not name its schema"
        assert (file.parent / first.partition("=")[2]).resolve() == schema.REPOSITORY / expected
