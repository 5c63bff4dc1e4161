"""What is written or printed as JSON is JSON, which knows no number that is not finite."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ornstein import jsons
from ornstein.cli.app import cli
from ornstein.displays import Json
from ornstein.doctor import course
from ornstein.evaluate import Quality, Row, Stamp
from ornstein.judging.page import told_likelihood
from ornstein.likelihood import Likelihood
from ornstein.run import Run
from ornstein.run.notebook import run_html
from ornstein.training.journal import Journal, read_log

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "ornstein"
OWN = {
    "config/toml.py",  # a text, quoted
    "data/cache.py", "data/metadata.py", "evaluate/features.py", "evaluate/learned.py",
    "judging/making.py", "training/lock.py", "training/manifest.py", "training/ranks.py",
    "training/tensorfile.py",
}  # fmt: skip
"""What is read by this package alone, or is hashed."""


def strict(text: str) -> Any:  # noqa: ANN401
    """Read JSON as other programs do."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


class Pair(NamedTuple):
    """As many facts are."""

    low: float
    high: float


def test_what_is_not_finite_is_null_however_deep_and_all_else_as_it_is() -> None:
    wild = {
        "nan": math.nan,
        "pair": Pair(-math.inf, 0.1),
        "rows": [{"a": (1, math.inf, [math.nan])}],
        "numpy": np.float64("nan"),
        "text": "é NaN Infinity",
        "same": [1, True, None, 0.1 + 0.2, 1e308],
        "path": Path("a"),
    }
    found = strict(jsons.dumps(wild, default=str))
    assert found == {
        "nan": None, "pair": [None, 0.1], "rows": [{"a": [1, None, [None]]}], "numpy": None,
        "text": "é NaN Infinity", "same": [1, True, None, 0.1 + 0.2, 1e308], "path": "a",
    }  # fmt: skip
    assert '"é NaN' in jsons.dumps(wild, default=str, ascii_only=False, indent=1)
    with pytest.raises(TypeError):
        jsons.dumps({"what": object()})


def test_the_log_of_a_training_holds_null_for_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    journal.append({"step": 1, "loss": math.nan, "grad_norm": math.inf, "levels": [math.nan, 0.5]})
    assert strict((tmp_path / "log.jsonl").read_text()) == read_log(tmp_path / "log.jsonl")[0]
    assert read_log(tmp_path / "log.jsonl")[0]["loss"] is None


def test_a_step_for_programs_holds_null_for_a_loss_that_is_not_finite(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Json().step({"step": 1, "steps": 2, "loss": math.nan, "seconds_left": math.inf})
    told = strict(capsys.readouterr().out)
    assert (told["loss"], told["seconds_left"], told["step"]) == (None, None, 1)


def test_a_run_that_logged_what_is_no_json_is_told_as_json(tmp_path: Path) -> None:
    """Older versions wrote such lines."""
    run = tmp_path / "runs" / "old"
    run.mkdir(parents=True)
    (run / "config.toml").touch()
    lines = [f'{{"step": {k}, "loss": NaN, "heldout": Infinity, "rate": 1e-3}}' for k in (1, 2)]
    (run / "log.jsonl").write_text("\n".join([*lines, ""]))
    words = ["runs", "old", "--json", "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert strict(done.output)["heldout"] is None


def test_what_reads_a_log_passes_over_null(tmp_path: Path) -> None:
    log = [{"step": 10 * k, "loss": None, "items_per_s": None} for k in range(1, 60)]
    patient = SimpleNamespace(log=[*log, {"step": 600, "loss": 1.0, "items_per_s": 5.0}])
    assert [*course.losses(patient), *course.pace(patient)] == []  # type: ignore[arg-type]
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "config.toml").touch()
    (folder / "log.jsonl").write_text("".join(jsons.dumps(line) + "\n" for line in log))
    assert "<svg" not in run_html(Run(folder))


def test_numbers_of_a_quality_that_are_not_finite_are_null_and_read_again() -> None:
    row = Row(math.nan, math.nan, (math.nan, 2.0), 1.0, 60, 60, math.inf)
    quality = Quality({"recall": row}, Stamp("values", "0", "1", 60), beside={"x": math.inf})
    text = quality.to_json()
    assert strict(text)["rows"]["recall"]["value"] is None
    read = Quality.from_json(text)
    again = read.rows["recall"]
    assert [math.isnan(v) for v in (again.value, again.matched, again.floor)] == [1, 1, 0]
    assert again.interval is not None
    assert math.isnan(again.interval[0])
    assert again.interval[1] == 2.0
    assert "nan" in str(read)


def test_a_likelihood_that_is_not_finite_is_said_so_beside_the_numbers() -> None:
    """It was null already, of which no digits could be told: the evaluation ended in an error."""
    items = torch.tensor([-1.0, -math.inf], dtype=torch.float64)
    found = Likelihood(items, 2, "bits", items, 0.0, 1.0, "none", "x", terms={"prior": math.inf})
    one = strict(jsons.dumps(found.to_json()))
    assert one["per_dim"] is None
    assert told_likelihood(one, "bits/dim") == "not finite"
    sure = {"per_dim": 1.5, "standard_error": 0.5, "dims": 2}
    assert told_likelihood(sure, "bits/dim") == "1.5000 ± 0.2500 bits/dim"


def loose(path: Path) -> list[int]:
    """Lines on which a module makes JSON that may hold what is no JSON."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("json.dumps", "json.dump")
        and not any(word.arg == "allow_nan" for word in node.keywords)
    ]


def test_all_json_that_others_read_is_made_in_one_place() -> None:
    found = {
        str(path.relative_to(PACKAGE).as_posix()) for path in PACKAGE.rglob("*.py") if loose(path)
    }
    assert found == OWN
