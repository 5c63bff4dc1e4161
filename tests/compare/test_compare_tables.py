"""Comparing: what is planted is reported, what is done stays done, and the command."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.text import Text
from PIL import Image
from torch import Tensor

from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.comparing import FAMILIES, Budget, Comparison, Family, Part, Spent, Task, compare
from ornstein.comparing import families as families_module
from ornstein.comparing.measuring import LIKELY, likelihood_of
from ornstein.data import Dataset, open_data
from ornstein.errors import DivergedError, StoppedEarly, UsageError
from ornstein.evaluate import Reference, reference_of
from ornstein.viz.compared import Panel, draw_comparison

CLOCKED = ("ms/sample", "seconds")  # columns that a clock gives


@pytest.fixture(scope="module")
def data() -> Dataset:
    return open_data("gaussians:2000")


@pytest.fixture(scope="module")
def reference(data: Dataset) -> Reference:
    return reference_of(data)


class Planted:
    """A model that answers with chosen training items."""

    spent = Spent(1, 1, 0.0)
    evaluations = 1

    def __init__(self, items: np.ndarray) -> None:
        self.items = items

    def sample(self, n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        picked = self.items[rng.integers(len(self.items), size=n)]
        noise = 1e-3 * rng.normal(size=picked.shape)
        return (picked + noise).astype(np.float32)

    def log_density(self, raw: np.ndarray, seed: int) -> Tensor | None:
        return None


def test_the_likelihood_is_of_all_classes_where_data_are_in_the_order_of_their_classes(
    tmp_path: Path,
) -> None:
    labels = np.repeat(np.arange(5), 400)
    points = np.stack([labels, np.random.default_rng(0).normal(size=2000)], 1)
    seen: list[np.ndarray] = []

    class Watching(Planted):
        def log_density(self, raw: np.ndarray, seed: int) -> Tensor | None:
            seen.append(raw)
            return None

    task = Task(points, open_data(points), tmp_path)
    assert likelihood_of(Watching(points), task, 0) is None
    assert len(seen[0]) == LIKELY
    assert set(seen[0][:, 0].round()) == set(range(5))


def honest(task: Task, budget: Budget, seed: int) -> Planted:
    return Planted(task.data.raw(task.data.train))


def collapsed(task: Task, budget: Budget, seed: int) -> Planted:
    """One of eight modes."""
    items = task.data.raw(task.data.train)
    return Planted(items[np.linalg.norm(items - [2.0, 0.0], axis=1) < 0.4])


class Falling(Planted):
    """A model whose samples are fine, and whose likelihood no integration reaches."""

    def log_density(self, raw: np.ndarray, seed: int) -> Tensor | None:
        raise DivergedError("the walk takes more than 100,000 steps.")


def falling(task: Task, budget: Budget, seed: int) -> Planted:
    return (Falling if seed == 1 else Planted)(task.data.raw(task.data.train))


class Impossible(Planted):
    """A model that holds held-out items impossible."""

    def log_density(self, raw: np.ndarray, seed: int) -> Tensor | None:
        return torch.full((len(raw),), -1.0 if seed != 1 else -math.inf)


def impossible(task: Task, budget: Budget, seed: int) -> Planted:
    return Impossible(task.data.raw(task.data.train))


def breaking(task: Task, budget: Budget, seed: int) -> Planted:
    if seed == 1:
        raise DivergedError("the loss is nan after 7 steps.")
    return honest(task, budget, seed)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for fit in (honest, collapsed, breaking, falling, impossible):
        monkeypatch.setitem(FAMILIES, fit.__name__, Family(fit.__name__, "none", fit))


def column(found: Comparison, family: str, name: str) -> list[float]:
    return [part.numbers[name] for part in found.of(family)]


@pytest.mark.usefixtures("planted")
def test_d12_a_collapsed_generator_is_reported_as_precise_and_of_low_recall(
    data: Dataset, reference: Reference, tmp_path: Path
) -> None:
    names = ("honest", "collapsed")
    found = compare(
        Task("gaussians:2000", data, tmp_path), Budget(steps=1), reference,
        families=names, seeds=2, n=400,
    )  # fmt: skip
    assert max(column(found, "collapsed", "recall")) < 0.2
    assert min(column(found, "collapsed", "precision")) > 0.8
    assert min(column(found, "honest", "recall")) > 0.8
    assert found.floor["recall"] > 0.8
    assert min(column(found, "collapsed", "frechet")) > 20 * max(
        column(found, "honest", "frechet")
    )


@pytest.mark.usefixtures("planted")
def test_seeds_that_diverge_are_counted_and_leave_the_numbers_of_the_others(
    data: Dataset, reference: Reference, tmp_path: Path
) -> None:
    task = Task("gaussians:2000", data, tmp_path)
    found = compare(task, Budget(steps=1), reference, families=("breaking",), seeds=3, n=200)
    (_, line, _) = found.cells()
    assert line[1:3] == ["breaking", "2/3"]
    assert [part.trouble for part in found.parts] == [None, "the loss is nan after 7 steps.", None]
    assert [len(part.numbers) > 5 for part in found.parts] == [True, False, True]
    again = compare(task, Budget(steps=1), reference, families=("breaking",), seeds=3, n=200)
    assert again.cells() == found.cells()


@pytest.mark.usefixtures("planted")
def test_a_likelihood_that_diverges_is_the_trouble_of_its_part_alone(
    data: Dataset, reference: Reference, tmp_path: Path
) -> None:
    task = Task("gaussians:2000", data, tmp_path)
    found = compare(task, Budget(steps=1), reference, families=("falling",), seeds=3, n=200)
    assert [part.trouble for part in found.parts] == [
        None, "the walk takes more than 100,000 steps.", None,
    ]  # fmt: skip


@pytest.mark.usefixtures("planted")
def test_a_likelihood_that_is_not_finite_is_counted_and_not_left_out_of_a_mean(
    data: Dataset, reference: Reference, tmp_path: Path
) -> None:
    task = Task("gaussians:2000", data, tmp_path)

    def go() -> Comparison:
        names = ("honest", "impossible")
        return compare(task, Budget(steps=1), reference, families=names, seeds=3, n=200)

    found = go()
    head, honest, line, _ = found.cells()
    place = head.index("nats/dim")
    assert line[1:3] == ["impossible", "3/3"]
    assert (honest[place], line[place]) == ("–", "not finite in 1 of 3")
    assert found.to_json()["not_finite"] == {"impossible": {"likelihood": 1}}
    text = (tmp_path / "parts" / "impossible-1.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["numbers"]["likelihood"] is None
    again = go()  # from what was kept, as null
    assert again.cells() == found.cells()


def test_the_figure_says_how_many_numbers_are_not_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    whole = Axes.text

    def text(self: Axes, *args: Any, **how: Any) -> Text:  # noqa: ANN401
        said.append(args[2])
        return whole(self, *args, **how)

    monkeypatch.setattr(Axes, "text", text)
    values = {"one": [1.0, math.inf, 1.1], "other": [math.nan], "third": [], "good": [0.5]}
    sheets = {"real": Image.new("L", (8, 8))}
    draw_comparison(sheets, [Panel("bits/dim", values)], tmp_path / "compared.png")
    assert said == ["1 of 3\nnot finite", "1 of 1\nnot finite", "none"]


@pytest.mark.usefixtures("planted")
def test_parts_that_had_other_threads_for_the_same_time_are_not_mixed(
    data: Dataset, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fits into a minute depends on what the minute is spent with; steps are steps."""

    def go(budget: Budget, folder: str) -> Comparison:
        task = Task("gaussians:2000", data, tmp_path / folder)
        return compare(task, budget, reference, families=("honest",), seeds=1, n=60)

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    for budget in (Budget(seconds=1.0), Budget(steps=1)):
        go(budget, str(budget.steps))
    older = tmp_path / "older" / "protocol.json"
    older.parent.mkdir()
    protocol = json.loads((tmp_path / "None" / "protocol.json").read_text())
    older.write_text(json.dumps({k: v for k, v in protocol.items() if k != "threads"}))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    go(Budget(steps=1), "1")
    go(Budget(seconds=1.0), "older")  # which did not say its threads
    with pytest.raises(UsageError, match="threads 1 and not 8"):
        go(Budget(seconds=1.0), "None")


def unclocked(found: Comparison) -> list[list[str]]:
    lines = found.cells()
    places = [k for k, title in enumerate(lines[0]) if title not in CLOCKED]
    return [[line[k] for k in places] for line in lines]


def test_what_was_interrupted_goes_on_to_the_same_table(
    data: Dataset, reference: Reference, tmp_path: Path
) -> None:
    def run(folder: str, say: Callable[[Part, int, int], None] | None = None) -> Comparison:
        task = Task("gaussians:2000", data, tmp_path / folder)
        return compare(
            task, Budget(steps=3), reference, families=("gan", "vae"), seeds=2, n=60, say=say
        )

    def interrupt(part: Part, ready: int, total: int) -> None:
        assert total == 4
        if ready == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("stopped", interrupt)
    torn = tmp_path / "stopped" / "parts" / "gan-0.json"
    torn.write_text(torn.read_text()[:300])
    told: list[tuple[str, int]] = []
    gone_on = run("stopped", lambda part, ready, total: told.append((part.family, part.seed)))
    assert told == [("gan", 0), ("vae", 1)]
    assert unclocked(gone_on) == unclocked(run("whole"))


def test_a_stop_says_what_is_kept(
    data: Dataset, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(task: Task, budget: Budget, seed: int) -> Planted:
        raise StoppedEarly("stopped in the middle of a training.")

    monkeypatch.setitem(FAMILIES, "gan", Family("GAN", "none", stopping))
    with pytest.raises(StoppedEarly, match=r"stopped in gan, seed 0: 1 of 2 parts are done"):
        compare(
            Task("gaussians:2000", data, tmp_path), Budget(steps=1), reference,
            families=("vae", "gan"), seeds=1, n=60,
        )  # fmt: skip


@pytest.mark.usefixtures("planted")
def test_a_folder_holds_comparisons_of_one_protocol_only(
    data: Dataset, reference: Reference, tmp_path: Path
) -> None:
    task = Task("gaussians:2000", data, tmp_path)
    compare(task, Budget(steps=1), reference, families=("honest",), seeds=1, n=60)
    compare(task, Budget(steps=1), reference, families=("honest", "collapsed"), seeds=2, n=60)
    with pytest.raises(UsageError, match=r"n 60 and not 70\. Put this one elsewhere: --out"):
        compare(task, Budget(steps=1), reference, families=("honest",), seeds=1, n=70)


def test_a_missing_library_is_one_sentence_before_anything_is_spent(
    data: Dataset, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families_module, "find_spec", lambda name: None)
    task = Task("gaussians:2000", data, tmp_path / "new")
    with pytest.raises(
        UsageError, match=r"^the family 'flow' needs the library zuko: pip install zuko, or name"
    ):
        compare(task, Budget(steps=1), reference, families=("flow",), seeds=1, n=60)
    assert not task.folder.exists()


Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Say:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = guarded(cli, ["compare", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_d12_the_command_compares_all_four_and_goes_on_where_it_was(
    say: Say, tmp_path: Path
) -> None:
    words = ("gaussians:400", "--steps", "2", "-n", "50")
    code, out, err = say(*words, "gan", "vae", "--seeds", "1")
    assert (code, err) == (0, "")
    assert "1 seed x 2 families x 2 steps" in out
    code, out, err = say(*words, "--seeds", "1")
    assert (code, err) == (0, "")
    assert "2 of 4 are done" in out
    assert "gan        seed 0" not in out
    folder = tmp_path / "gaussians-400-compare"
    assert (folder / "compare.png").read_bytes()[:4] == b"\x89PNG"
    assert "| VAE | 1/1 |" in (folder / "compare.md").read_text()
    assert not (folder / "diffusion-0" / "classes").exists()
    code, out, _ = say(*words, "--seeds", "1", "--json")
    facts = json.loads(out)
    parts = {part["family"]: part["numbers"] for part in facts["parts"]}
    assert list(parts) == ["gan", "vae", "flow", "diffusion"]
    assert {name for name in parts if "likelihood" in parts[name]} == {"vae", "flow", "diffusion"}
    assert facts["likelihood"]["gan"] == "none"
    assert parts["diffusion"]["steps"] == 2
    from ornstein.bundle import load

    assert load(folder / "diffusion-0").classes == ()


def test_a_missing_library_is_said_before_a_judge_is_trained(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families_module, "find_spec", lambda name: None)
    monkeypatch.setattr("ornstein.cli.evaluate.judged", lambda *_: pytest.fail("it was trained"))
    code, out, err = say("gaussians:400", "--steps", "2")
    assert (code, out) == (2, "")
    assert "pip install zuko, or name the others: ornstein compare DATA gan vae diffusion" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("digits", "gans"), "unknown family 'gans'. Did you mean 'gan'?"),
        (("digits", "--minutes", "1", "--steps", "2"), "give --minutes or --steps, not both"),
        (("digits", "--seeds", "0"), "'0' is not a whole number from 1"),
        (("nothing-here",), "neither a path that exists nor a known data set"),
    ],
)
def test_wrong_words_are_one_sentence(say: Say, words: tuple[str, ...], says: str) -> None:
    code, _, err = say(*words)
    assert code in (2, 65)
    assert says in err
    assert len(err.strip().splitlines()) == 1
