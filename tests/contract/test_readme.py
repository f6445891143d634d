"""The front of the repository: README's generated part is that of the tracked study, and what it states is so."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import shutil
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from utopia.cli.main import COMMANDS
from utopia.errors import InputError
from utopia.files import sha256

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", REPOSITORY / "docs" / "readme.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


readme = load()


def tracked_study(root: Path, value: str = "0.4567") -> Path:
    """A root with a README and a tracked miniature of one table, whose first cell has a value. Returns the table."""
    (root / "README.md").write_text(f"# A\n\n{readme.BEGIN}\nold\n{readme.END}\n\nrest\n")
    table = root / "results/reference/miniature/tables/ulda_table_1.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "cell": f"ulda_table_1/{row}/{column}",
            "value": value,
            "std": "0.01",
            "decimals": "3",
            "published": "0.5",
            "difference_verdict": "" if "baseline" in row else "better",
            "verdict": "not comparable",
        }
        for row in readme.ROWS
        for column in readme.COLUMNS
    ]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


def test_the_table_has_six_rows_with_value_published_value_and_verdict(tmp_path: Path) -> None:
    tracked_study(tmp_path)
    text = readme.with_block((tmp_path / "README.md").read_text(), readme.block(tmp_path))
    assert text.startswith("# A\n\n") and text.endswith("\n\nrest\n") and "old" not in text
    rows = re.findall(r"^\| (?:ET|PGL-SUM|RMN).*\|$", text, re.MULTILINE)
    assert len(rows) == 6
    assert rows[0] == "| ET | 0.457 ± 0.010 | 0.500 |  | 0.457 ± 0.010 | 0.500 |  |"
    assert rows[1] == "| ET + ULDA | 0.457 ± 0.010 | 0.500 | ▲ better | 0.457 ± 0.010 | 0.500 | ▲ better |"
    assert "results/reference/miniature/figures/ulda_figure_4.png" in text and "planted" not in text


def test_planted_effects_are_counted_where_the_study_has_them(tmp_path: Path) -> None:
    table = tracked_study(tmp_path)
    rows = [
        "cell,verdict",
        *(f"planted_truth/{name}/measured,{'fails' if name == 'c' else 'passes'}" for name in "abc"),
    ]
    table.with_name("planted_truth.csv").write_text("\n".join(rows) + "\n")
    assert "2 found, 1 not found" in readme.block(tmp_path)


def test_what_is_out_of_date_is_named(tmp_path: Path) -> None:
    table = tracked_study(tmp_path)
    assert [fault.split(":")[0] for fault in readme.faults(tmp_path)] == [
        "README.md",
        "docs/pictures/page.png is missing",
    ]
    picture = tmp_path / readme.PICTURE
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"a picture")
    facts = {"cell": readme.CELL, "table_sha256": sha256(table), "picture_sha256": sha256(picture)}
    picture.with_suffix(".json").write_text(str(facts).replace("'", '"'))
    text = (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text(readme.with_block(text, readme.block(tmp_path)))
    assert readme.faults(tmp_path) == []
    tracked_study(tmp_path, "0.4578")
    (tmp_path / "README.md").write_text(readme.with_block(text, readme.block(tmp_path)).replace("0.458", "0.457"))
    assert len(readme.faults(tmp_path)) == 2, "the table, and the picture of another table"
    picture.write_bytes(b"another picture")
    assert len(readme.faults(tmp_path)) == 3


def test_a_page_of_another_study_is_refused(tmp_path: Path) -> None:
    table = tracked_study(tmp_path)
    page = tmp_path / "results/miniature/report/index.html"
    with pytest.raises(InputError, match=r"is not there(?s:.*)make reference"):
        readme.take_picture(tmp_path, page)
    page.parent.mkdir(parents=True)
    page.write_text("<p>")
    made = page.parents[1] / "tables" / table.name
    made.parent.mkdir()
    made.write_text(table.read_text() + "\n")
    with pytest.raises(InputError, match="is not the page of the tracked study"):
        readme.take_picture(tmp_path, page)


def test_the_picture_shows_the_page_with_a_number_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not os.environ.get("UTOPIA_CHROMIUM") and not any(map(shutil.which, readme.BROWSERS)):
        pytest.skip("needs a Chromium (Debian: apt-get install chromium), or its path in UTOPIA_CHROMIUM")
    table = tracked_study(tmp_path)
    page = tmp_path / "results/miniature/report/index.html"
    page.parent.mkdir(parents=True)
    script = 'document.getElementById("panel-title").textContent = decodeURIComponent(location.hash)'
    page.write_text(f'<body style="background: #00f"><h2 id="panel-title"></h2><script>{script}</script>')
    shutil.copy(table, (page.parents[1] / "tables").mkdir() or page.parents[1] / "tables")
    with ThreadPoolExecutor(1) as thread:  # Playwright refuses a thread in which another of its browsers is open
        thread.submit(readme.take_picture, tmp_path, page).result()
    picture = (tmp_path / readme.PICTURE).read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 100_000
    assert [fault.split(":")[0] for fault in readme.faults(tmp_path)] == ["README.md"]


def test_readme_and_its_picture_are_up_to_date() -> None:
    if not readme.reference(REPOSITORY).is_dir():
        pytest.skip("no miniature is tracked in results/reference (make reference): there is nothing to compare with")
    assert readme.faults(REPOSITORY) == []


def test_the_links_of_the_front_pages_lead_somewhere() -> None:
    for page in (README, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "ARCHITECTURE.md", REPOSITORY / "CHANGELOG.md"):
        links = re.findall(r"\]\((?!https?:|\.\./\.\./actions/)([^)#]+)\)", page.read_text(encoding="utf-8"))
        assert links
        missing = [link for link in links if not (REPOSITORY / link).exists()]
        assert missing == [], page.name


def test_the_commands_and_the_rules_it_names_exist() -> None:
    text = README.read_text(encoding="utf-8")
    assert set(re.findall(r"`utopia (\w+)", text)) <= set(COMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) <= targets
    studies = {path.stem for path in (REPOSITORY / "workflow/resources/studies").glob("*.yaml")}
    assert set(re.findall(r"STUDY=(\w+)", text)) <= studies
    (diagram,) = re.findall(r"^```mermaid\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    scripts = {path.stem for path in (REPOSITORY / "workflow" / "scripts").glob("*.py")}
    assert len(drawn := set(re.findall(r"\b[a-z]+_[a-z]+\b", diagram))) > 7
    assert drawn <= scripts


def test_the_badges_say_what_the_project_says() -> None:
    text = README.read_text(encoding="utf-8")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert f"licence-{project['license']}-" in text
    assert f"python-{project['requires-python'].removeprefix('>=')}%20or%20newer" in text
    snakemake = re.search(r"^snakemake==(\d+)", (REPOSITORY / "envs/requirements.in").read_text(), re.MULTILINE)
    assert snakemake and f"snakemake-{snakemake[1]}-" in text
    assert (REPOSITORY / ".github/workflows/ci.yml").is_file() and "workflows/ci.yml/badge.svg" in text


def test_the_workflow_of_the_forge_runs_what_must_hold_and_nothing_else() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(REPOSITORY / ".ci" / "run", os.X_OK)


def test_hooks_are_targets_of_the_project() -> None:
    (repo,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert repo["repo"] == "local"
    assert {hook["entry"].removeprefix("make ") for hook in repo["hooks"]} <= targets


def test_citations_agree_and_have_keys_that_bibtex_takes() -> None:
    cff = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    text = (REPOSITORY / "CITATION.bib").read_text()
    entries = re.findall(r"^@(\w+)\{([^,]+),\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _, _ in entries] == ["software", "article", "article"]
    keys = [key for _, key, _ in entries]
    assert len(set(keys)) == 3 and all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_:-]*", key) for key in keys)
    assert cff["version"] == tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    for (_, _, body), cited in zip(entries, [cff, *cff["references"]], strict=True):
        fields = dict(re.findall(r"^\s+(\w+)\s*= \{(.*)\},?$", body, re.MULTILINE))
        assert fields["title"] == cited["title"]
        assert int(fields["year"]) == cited.get("year", cff["date-released"].year)
        for author in cited["authors"]:
            assert author.get("name") or f"{author['family-names']}, {author['given-names']}" in fields["author"]
        names = [author.get("name", author.get("family-names")) for author in cited["authors"]]
        assert len(fields["author"].split(" and ")) == len(names) and all(name in fields["author"] for name in names)
