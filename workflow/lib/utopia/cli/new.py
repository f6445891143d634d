"""`utopia new loss NAME`: start a loss of your own: its file, its treatment and its row in a table.

The file is a loss that works as it is, to be edited. Keys of `--json`: `written` (the files, in order), `row` (the
address of the new row, `table/row`).
"""

from __future__ import annotations

import argparse
import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utopia.cli import options, show
from utopia.errors import ConfigError

_LOSS = '''\
"""NAME: TODO say in one sentence what this loss does, and where it is published."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from utopia.config.base import Strict
from utopia.losses._common import Batch, Loss


class Config(Strict):
    """NAME: errors to a power between those of the mean absolute and the mean squared error."""

    power: float = Field(1.5, ge=1, le=4)
    """The power of an error: 1 is the mean absolute error, 2 the mean squared error."""


class CLASS(Loss):
    """1/m sum_t w_t |y_t - y^_t|^power for each video, with w = 1."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.power = config.power

    def forward(self, batch: Batch) -> Tensor:
        """The sum over the batch's videos; a row's weight is already divided by the number of rows of its video."""
        error_R = (batch.target_R - batch.prediction_R).abs().pow(self.power)
        return (batch.weight_R * error_R).sum()


def build(config: Config) -> Loss:
    """The loss."""
    return CLASS(config)
'''
_ROW = """\
  - id: {model}.{name}
{group}    title: {name}
    run: {{model: {model}, treatment: {name}}}
    against: {against}
    printed: false
    note: Added to the published rows.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("kind", metavar="KIND", choices=("loss",), help="what to start: loss")
    parser.add_argument("name", metavar="NAME", help="its name: lower-case letters, digits and _, such as my_loss")
    parser.add_argument(
        "--table", metavar="ID", default="ulda_table_3", help="the table that shows it (default: %(default)s)"
    )
    options.add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    """Write the loss, its treatment, its row, and the generated schemas and pages of settings."""
    from utopia.config import schema
    from utopia.config.load import CONFIG, REPOSITORY, RESOURCES
    from utopia.files import write_text

    file = REPOSITORY / "workflow/lib/utopia/losses" / f"{chosen.name}.py"
    table = RESOURCES / "tables" / f"{chosen.table}.yaml"
    _refuse_name(chosen.name, file)
    config = _with_treatment(CONFIG, chosen.name)
    rows, row = with_row(table, chosen.name)
    words = chosen.name.split("_")
    loss = _LOSS.replace("NAME", " ".join(words).capitalize()).replace("CLASS", "".join(map(str.capitalize, words)))
    for path, text in ((file, loss), (CONFIG, config), (table, rows)):
        write_text(path, text)
    generated = [REPOSITORY / path for path in schema.stale()]
    for path, text in schema.documents().items():
        if REPOSITORY / path in generated:
            write_text(REPOSITORY / path, text)
    written = [str(path.relative_to(REPOSITORY)) for path in (file, CONFIG, table, *generated)]
    if chosen.json:
        show.print_json({"written": written, "row": f"{chosen.table}/{row}"})
        return 0
    print(f"written: {written[0]}: the loss; edit `forward` and `Config`")
    print(f"         {written[1]}: the treatment {chosen.name}")
    print(f"         {written[2]}: the row {row}")
    print(f"         {len(generated)} generated files: schemas and pages of settings")
    print(f"next:    python -m pytest -q tests/contract -k {chosen.name}   # what every loss must keep")
    print(f"         utopia run --tables {chosen.table}   # its row, in the miniature")
    return 0


def _refuse_name(name: str, file: Path) -> None:
    """Refuse what is no name of a module, and a name that is taken.

    Raises:
        ConfigError: saying which.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a loss",
            why="it becomes the name of a Python file and of a treatment",
            remedy="use lower-case letters, digits and _, at most 40, and begin with a letter",
        )
    if file.exists():
        raise ConfigError("there is a loss of this name already", where=file, remedy="edit it, or choose another name")


def _with_treatment(config: Path, name: str) -> str:
    """The text of config.yaml with a treatment more, as the last one.

    Raises:
        ConfigError: there is a treatment of this name.
    """
    from utopia.config import yaml_file

    if name in yaml_file.read(config).data["treatments"]:
        raise ConfigError(f"there is a treatment {name!r} already", where=config, remedy="choose another name")
    text = config.read_text(encoding="utf-8")
    section = re.search(r"^treatments:\n(?:(?:[ #].*)?\n)*", text, re.MULTILINE)
    if section is None:
        raise ConfigError("has no section `treatments`", where=config, remedy="add the line `treatments:`")
    end = section.start() + len(section[0].rstrip()) + 1
    return f"{text[:end]}  {name}: {{loss: {name}}}\n{text[end:]}"


def with_row(table: Path, name: str) -> tuple[str, str]:
    """The text of a table with a row for the loss, after the rows of the first model that has a baseline; its id.

    Raises:
        ConfigError: there is no such table, or none of its rows is a baseline.
    """
    from utopia.config import yaml_file
    from utopia.config.suggest import nearest

    if not table.is_file():
        known = sorted(path.stem for path in table.parent.glob("*.yaml"))
        hint = nearest(table.stem, known)
        raise ConfigError(f"there is no table {table.stem!r}{hint}", remedy=f"use one of: {', '.join(known)}")
    rows = yaml_file.read(table).data.get("rows") or []
    base = next((row for row in rows if _run(row).get("treatment") == "baseline"), None)
    text = table.read_text(encoding="utf-8")
    starts = [match.start() for match in re.finditer(r"^  - ", text[text.index("\nrows:") :], re.MULTILINE)]
    if base is None or len(starts) != len(rows):
        raise ConfigError(
            "none of its rows is a model without a treatment",
            where=table,
            why="the new row shows the difference to it",
            remedy="choose another table (--table ulda_table_1), or add the row by hand",
        )
    model, group = base["run"]["model"], base.get("group")
    same = [at for at, row in enumerate(rows) if _run(row).get("model") == model and row.get("group") == group]
    ends = [text.index("\nrows:") + start for start in starts[1:]] + [len(text)]
    heading = f"    group: {_quoted(group)}\n" if group else ""
    more = _ROW.format(name=name, model=model, against=base["id"], group=heading)
    end = ends[same[-1]]
    return f"{text[:end].rstrip()}\n{more}{text[end:]}", f"{model}.{name}"


def _run(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return row.get("run") or {}


def _quoted(text: str) -> str:
    """A heading as a YAML string in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
