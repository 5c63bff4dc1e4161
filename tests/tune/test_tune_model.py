"""A tuned model: it samples by what was found and keeps it; no damaged file passes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from ornstein.bundle import Bundle, Sampler, TunedGrid, load
from ornstein.bundle.tuning import cost, tuned
from ornstein.cli.app import cli
from ornstein.core import EDM, GRIDS, EDMTarget, Gaussian, Level, Mixture, generator
from ornstein.data.coding import Coding
from ornstein.data.conditions import class_of
from ornstein.errors import LevelError, ModelFileError, UsageError
from ornstein.guide import Guide
from ornstein.model import Conditions, Model, Output
from ornstein.nets import NETS
from ornstein.nets.conditions import of_classes
from ornstein.samples import read_settings
from ornstein.solvers import SOLVERS, sample

PLACES = (80 / 81, 0.7, 0.3, 0.05, 0.0)
KEPT = TunedGrid("deis-2", PLACES, 0.01, schedule="edm", guidance=1.0, before=0.2)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune on 96 items and let 48 of them race; the models here ask for hundreds."""
    monkeypatch.setattr("ornstein.bundle.tuning.NUMBERS", 192)
    monkeypatch.setattr("ornstein.bundle.tuning.RACING", 96)


def make(kept: tuple[TunedGrid, ...] = (), classes: tuple[str, ...] = ()) -> Bundle:
    """A model of vectors with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        net = NETS["mlp"]((2,), of_classes(len(classes)), width=16, layers=2)
        for parameter in net.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return Bundle(
        model=Model(net, EDMTarget()), net="mlp", target="edm", process="edm",
        coding=Coding((0.0, 0.0), (1.0, 1.0), "vector"), shape=(2,),
        conditions=(class_of(classes),) if classes else (),
        sampler=Sampler(steps=4), tuned=kept, provenance={"class_dropout": 0.1},
    )  # fmt: skip


def test_sampling_walks_the_tuned_levels_with_the_tuned_solver() -> None:
    bundle = make((KEPT,))
    walk = bundle.walk(3, seed=5)
    assert walk.levels.rho.tolist() == pytest.approx([80, 7 / 3, 3 / 7, 5 / 95, 0.0])
    end = sample(bundle.denoiser(), walk.start, walk.levels, SOLVERS["deis-2"]())
    made = bundle.sample(3, seed=5)
    assert np.allclose(made.items, end.numpy(), atol=1e-6)
    said = made.settings
    assert (said["solver"], said["grid"], said["steps"]) == ("deis-2", "tuned", 4)
    assert said["levels"] == pytest.approx(walk.levels.rho.tolist())


@pytest.mark.parametrize(
    "asked", [{"steps": 5}, {"solver": "ddim"}, {"grid": "karras"}, {"schedule": "vp"}]
)
def test_what_is_asked_for_or_was_not_tuned_goes_the_usual_way(asked: dict[str, Any]) -> None:
    assert make((KEPT,)).how(**asked) == make().how(**asked)


@pytest.mark.parametrize("steps", [6, 8, 19])
def test_fewer_steps_than_its_own_have_a_way_of_their_own(steps: int) -> None:
    bundle = replace(make(), sampler=Sampler(steps=20))
    few, plain = ("unipc-2", "blend"), ("dpmpp-2m", "karras")

    def way(bundle: Bundle = bundle, **asked: Any) -> tuple[str, str, int]:  # noqa: ANN401
        found = bundle.how(**asked)
        return found.solver, found.grid, found.steps

    assert way(steps=steps) == (*few, steps)
    for other in (5, 20, 30):
        assert way(steps=other) == (*plain, other)
    assert way() == (*plain, 20)
    assert way(steps=steps, solver="ddim") == ("ddim", "karras", steps)
    assert way(steps=steps, grid="uniform") == ("dpmpp-2m", "uniform", steps)
    chosen = replace(bundle, sampler=Sampler(solver="ddim", steps=20))
    assert way(chosen, steps=steps) == ("ddim", "karras", steps)


@pytest.mark.parametrize("steps", [6, 8, 12, 16])
@pytest.mark.parametrize("width", [0.1, 0.3])
def test_that_way_ends_nearer_to_the_truth(steps: int, width: float) -> None:
    """Of a law of deviation 1 with two narrow modes; the truth by hundreds of Heun's steps."""
    place = (1 - width**2) ** 0.5
    covs = torch.full((2, 1, 1), width**2, dtype=torch.float64)
    law = Mixture(torch.tensor([0.5, 0.5]), torch.tensor([[-place], [place]]), covs)
    start = 80 * torch.randn(64, 1, generator=generator(0, "ends"), dtype=torch.float64)

    def ends(solver: str, grid: str, steps: int) -> Tensor:
        return sample(law, start, GRIDS[grid](EDM(), steps), SOLVERS[solver]())

    truth = ends("heun", "log-snr", 400)
    few, plain = (
        float((ends(*way, steps) - truth).square().mean().sqrt())
        for way in (("unipc-2", "blend"), ("dpmpp-2m", "karras"))
    )
    assert few < 0.8 * plain


def test_levels_found_for_one_guidance_are_not_used_for_another() -> None:
    guided = replace(KEPT, guidance=2.0, solver="dpmpp-3m")
    bundle = make((KEPT, guided), classes=("a", "b"))
    ways = [bundle.how(guidance=scale) for scale in (1.0, 2.0, 3.0)]
    assert [(way.solver, way.grid) for way in ways] == [
        ("deis-2", "tuned"), ("dpmpp-3m", "tuned"), ("dpmpp-2m", "karras"),
    ]  # fmt: skip


def test_levels_found_for_one_manner_of_guidance_are_not_used_for_another(tmp_path: Path) -> None:
    middle, apg = Guide(low=0.3, high=3.0), Guide("apg")
    guided = replace(KEPT, guidance=2.0, guide=middle)
    bundle = load(make((KEPT, guided), classes=("a", "b")).save(tmp_path / "m.safetensors"))
    ways = [bundle.how(guidance=2.0, guide=guide) for guide in (middle, apg, Guide())]
    assert [way.grid for way in ways] == ["tuned", "karras", "karras"]
    # Where nothing is guided, no manner matters.
    assert bundle.how(guidance=1.0, guide=middle).grid == "tuned"


def test_tuned_levels_can_be_asked_for_with_another_solver() -> None:
    bundle = make((KEPT,))
    way = bundle.how(solver="heun", grid="tuned")
    assert (way.solver, way.grid) == ("heun", "tuned")
    assert bundle.levels(way).rho.tolist() == pytest.approx([80, 7 / 3, 3 / 7, 5 / 95, 0.0])
    with pytest.raises(
        UsageError, match=r"not tuned for 7 steps.*but for 4 steps on edm.*--steps 7"
    ):
        bundle.sample(1, steps=7, grid="tuned")


def test_a_tuned_model_comes_back_whole(tmp_path: Path) -> None:
    bundle = make((KEPT, replace(KEPT, guidance=2.0, error=0.1 + 0.2)))
    again = load(bundle.save(tmp_path / "m.safetensors"))
    assert again.tuned == bundle.tuned
    assert np.array_equal(again.sample(4, seed=1).items, bundle.sample(4, seed=1).items)


def damaged(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the description and sign it anew, as a forger would."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    said = json.loads(header["__metadata__"]["ornstein"])
    change(said["tuned"][0])
    text = json.dumps(said)
    digest = hashlib.sha256(text.encode() + body).hexdigest()
    header["__metadata__"] |= {"ornstein": text, "sha256": digest}
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + body)
    return path


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"places": [80 / 81, 0.3, 0.7, 0.0]}, "tuned.0.places"),
        ({"places": [80 / 81, 0.3, 0.3, 0.0]}, "tuned.0.places"),
        ({"places": [80 / 81, 0.3, 0.1]}, "tuned.0.places"),
        ({"places": [80 / 81, 0.3, -0.1, 0.0]}, "tuned.0.places"),
        ({"places": [0.0]}, "tuned.0.places"),
        ({"places": [1 - k / 5000 for k in range(5001)]}, "tuned.0.places"),
        ({"places": ["a", 0.0]}, "tuned.0.places"),
        ({"places": [0.9, 0.3, 0.0]}, "these levels start at"),
        ({"schedule": "vp"}, "these levels start at"),
        ({"schedule": "X"}, "names a schedule 'X'"),
        ({"solver": "X"}, "names a solver 'X'"),
        ({"guidance": -1.0}, "tuned.0.guidance"),
        ({"error": None}, "tuned.0.error"),
        ({"more": 1}, "tuned.0.more"),
    ],
)
def test_damaged_levels_are_refused_by_a_sentence(
    wrong: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = make((KEPT,)).save(tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match=words) as caught:
        load(damaged(path, lambda said: said.update(wrong)))
    assert "\n" not in str(caught.value)


def test_levels_for_another_process_are_refused_when_walked() -> None:
    bundle = make((replace(KEPT, schedule="vp"),))
    with pytest.raises(LevelError, match="Use the process they were found for"):
        bundle.sample(1, schedule="vp")


class Known(Model):
    """A network that knows the law of its data, and another law for each class."""

    laws = tuple(
        Gaussian(torch.tensor([m, 0.0]), torch.diag(torch.tensor([1.0, 0.04])))
        for m in (-1.0, 1.0, 0.0)
    )

    def output(self, x: Tensor, level: Level, cond: Conditions | None = None) -> Output:
        kinds = (cond or {}).get("class", torch.full((len(x),), 2))
        exact = torch.stack([law(x, level).x0 for law in self.laws])[kinds, torch.arange(len(x))]
        eps = (x - level.alpha * exact) / level.sigma
        return Output(self.target.of(exact, eps, level), None)


def known() -> Bundle:
    plain = make(classes=("left", "right"))
    return replace(plain, model=Known(plain.model.net, EDMTarget()))


@pytest.mark.usefixtures("few")
def test_a_model_is_tuned_as_it_is_sampled_guidance_and_classes_and_all() -> None:
    bundle, asked = known(), []
    ways = [bundle.how(steps=3, guidance=scale) for scale in (1.0, 2.0)]
    better, reports = tuned(bundle, ways, ["angle-ab-3"], asked=asked.append)
    assert [(t.steps, t.guidance) for t in better.tuned] == [(3, 1.0), (3, 2.0)]
    assert 0.3 < sum(asked) / cost(bundle, ways, ["angle-ab-3"]).evaluations <= 1
    for way, report in zip(ways, reports, strict=True):
        assert report.best.error < 0.7 * report.usual.error
        # On samples, by the model's own walks: those of 100 steps are the truth.
        plan = [way, better.how(steps=3, guidance=way.guidance), replace(way, steps=100)]
        usual, found, true = (better.sample(192, seed=9, **vars(one)).items for one in plan)
        off = [float(((ends - true) ** 2).mean() ** 0.5) for ends in (usual, found)]
        assert off[1] < 0.8 * off[0]
        assert off[0] == pytest.approx(report.usual.error, rel=0.3)
    assert reports[0].best.places != reports[1].best.places


@pytest.mark.usefixtures("few")
def test_tuning_again_replaces_and_keeps_the_rest() -> None:
    bundle = replace(known(), tuned=(KEPT, replace(KEPT, places=(80 / 81, 0.1, 0.0))))
    again, _ = tuned(bundle, [bundle.how(solver="ddim", grid="karras", steps=2)], ["ddim"])
    assert [t.steps for t in again.tuned] == [4, 2]  # the newest last
    assert again.tuned[0] == KEPT
    assert again.tuned[1].solver == "ddim"


@pytest.mark.usefixtures("few")
def test_the_command_tunes_the_file_and_sampling_says_that_it_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make().save("m.safetensors")
    run = CliRunner()
    words = ["tune", "m.safetensors", "--steps", "2", "--evaluations", "3", "--solver", "ddim"]
    told = run.invoke(cli, words, catch_exceptions=False).output
    assert "evaluations of the network" in told
    assert "ornstein sample m.safetensors --steps 2" in told
    first = [line.split() for line in told.splitlines() if " tuned " in line]
    assert [row[:3] for row in first] == [["tuned", "ddim", "tuned"]] * 2
    assert [t.steps for t in load("m.safetensors").tuned] == [2, 3]
    told = run.invoke(cli, ["sample", "m.safetensors", "-n", "2", "--steps", "3", "--out", "a"])
    assert "ddim, 3 steps on edm (tuned grid)" in told.output
    told = run.invoke(cli, ["sample", "m.safetensors", "-n", "2", "--steps", "4", "--out", "b"])
    assert "(karras grid)" in told.output
    facts = json.loads(
        run.invoke(
            cli, [*words[:4], "--solver", "ddim", "--json", "--out", "n.safetensors"]
        ).output
    )
    assert facts["tuned"][0]["steps"] == 2
    assert facts["tuned"][0]["error"] <= facts["tuned"][0]["usual"]["error"] * 1.01
    assert Path(facts["file"]) == Path("n.safetensors")
    assert load("n.safetensors").tuned[-1].places == tuple(facts["tuned"][0]["places"])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("solver", ["ddpm", "heun"])
def test_what_stands_in_for_a_solver_that_draws_noise_is_not_told_as_what_was(
    solver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    replace(make(), sampler=Sampler(solver=solver, steps=2)).save("m.safetensors")
    run = CliRunner()
    words = ["tune", "m.safetensors", "--solver", "ddim"]
    told = run.invoke(cli, words, catch_exceptions=False).output
    shown = run.invoke(cli, ["show", "m.safetensors"], catch_exceptions=False).output
    noisy = solver == "ddpm"
    assert ("as it was   heun " in told) is not noisy
    assert ("noiseless   dpmpp-2m " in told) is noisy
    assert ("as it was, ddpm drew noise" in told) is noisy
    assert ("without noise before" in shown) is noisy


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--solver", "dimm"], "unknown solver 'dimm'"),
        (["--solver", "ddpm"], "name one that draws none, such as dpmpp-2m"),
        (["--steps", "0"], "'0' is not a whole number"),
        (["--steps", "1001"], "tuned for at most 1,000 steps, not 1,001"),
        (["--evaluations", "1", "--solver", "heun"], "one step takes 2 evaluations"),
        (["--guidance", "2"], "no classes to be guided to"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_before_anything_is_spent(
    words: list[str], says: str, tmp_path: Path
) -> None:
    from ornstein.cli.faults import guarded

    path = make().save(tmp_path / "m.safetensors")
    before = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        spoken: list[str] = []
        patch.setattr("click.echo", lambda text="", **_: spoken.append(str(text)))
        assert guarded(cli, ["tune", str(path), *words]) == 2
    assert says in " ".join(spoken)
    assert path.read_bytes() == before


def test_a_picture_of_a_tuned_walk_says_its_levels(tmp_path: Path) -> None:
    bundle = make((KEPT,))
    made = bundle.sample(2, seed=1)
    path = made.save_sheet(tmp_path / "sheet.png")
    inside = read_settings(path)
    assert inside is not None
    assert inside["grid"] == "tuned"
    assert inside["levels"] == pytest.approx([80, 7 / 3, 3 / 7, 5 / 95, 0.0])


class Counted(Known):
    """The same, and how many rows it was asked for."""

    rows = 0

    def output(self, x: Tensor, level: Level, cond: Conditions | None = None) -> Output:
        Counted.rows += len(x)
        return super().output(x, level, cond)


def guided_in_the_middle() -> Bundle:
    way = Sampler(steps=4, guidance=2.0, guide=Guide(low=0.3, high=3.0))
    plain = make(classes=("left", "right"))
    return replace(plain, model=Counted(plain.model.net, EDMTarget()), sampler=way)


@pytest.mark.parametrize("many", [3, 8, 15])
def test_evaluations_count_only_the_guided_levels_twice(many: int) -> None:
    from ornstein.cli.tune import ways_of

    bundle, spent = guided_in_the_middle(), []
    (way,) = ways_of(bundle, (), (many,), (), None, None)
    for steps in (way.steps, way.steps + 1):
        before = Counted.rows
        bundle.sample(16, **{**vars(way), "steps": steps})
        spent.append((Counted.rows - before) / 16)
    assert spent[0] <= many < spent[1]


@pytest.mark.usefixtures("few")
def test_the_newest_that_a_file_holds_are_kept_and_each_question_is_counted(
    tmp_path: Path,
) -> None:
    old = tuple(replace(KEPT, before=k / 100, guidance=1 + k / 100) for k in range(100))
    bundle, asked = replace(guided_in_the_middle(), tuned=old), []
    before, way = Counted.rows, bundle.how(solver="ddim", grid="karras", steps=2)
    better, _ = tuned(bundle, [way], ["ddim"], asked=asked.append)
    assert sum(asked) == Counted.rows - before
    assert len(asked) > 100
    assert better.tuned[:-1] == old[1:]
    assert load(better.save(tmp_path / "m.safetensors")).tuned == better.tuned
    with pytest.raises(UsageError, match="at most 1,000 steps, not 1,001"):
        tuned(bundle, [bundle.how(steps=1001)])
