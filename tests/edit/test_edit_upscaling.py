"""E2: models trained to upscale: their law on an exact case, what they are told, the commands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import ornstein as orn
from ornstein.bundle import Bundle, Sampler
from ornstein.bundle.walking import sample
from ornstein.core import TARGETS
from ornstein.data import make_dataset, open_data
from ornstein.data.coding import Coding
from ornstein.data.dataset import Source
from ornstein.data.lowered import lowered, smaller
from ornstein.editing import (
    Ask,
    Workbench,
    bicubic,
    cascade,
    fill,
    impute,
    invert,
    misfit,
    mix,
    psnr,
    upscale,
    vary,
)
from ornstein.errors import DataError, UsageError
from ornstein.model import Model
from ornstein.samples import Samples
from ornstein.training.batches import Batches
from ornstein.training.objective import LAWS, WEIGHTS, Objective
from ornstein.training.ranks import ALONE
from ornstein.training.settings import Settings

PAIRS, FACTOR = 3, 2
CODING = Coding((3.0,), (2.0,), "series")


def series(n: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (3 + 2 * rng.standard_normal((n, 1, FACTOR * PAIRS))).astype(np.float32)


class Posterior(nn.Module):
    """The exact x0 of independent standard normal numbers, given x and noisy means of pairs.

    Of a pair, the half difference knows only x; the half sum knows the mean, low, as well, whose
    noise of share s has variance 2·s²/(1 - s²) as a measurement of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        snr = (8 * noise)[:, None].double().exp()
        alpha = (snr / (1 + snr)).sqrt()
        first, second = x.double()[:, 0, ::2], x.double()[:, 0, 1::2]
        whole, apart = (first + second) / 2**0.5, (first - second) / 2**0.5
        share = cond["low-noise"].double().clamp_min(1e-6)
        known = (1 - share**2) / (2 * share**2)  # precision of the measurement of the sum
        seen = cond["low"].double()[:, 0] * 2**0.5 / (1 - share**2).sqrt().clamp_min(1e-9)
        whole = (snr / alpha * whole + known * seen) / (1 + snr + known)
        apart = alpha * apart
        pairs = torch.stack([whole + apart, whole - apart], dim=2) / 2**0.5
        return pairs.reshape(len(x), 1, -1).float()


def exact() -> Bundle:
    """A model of items of 1x6 that upscales twice and is never wrong."""
    data = lowered(make_dataset("pairs", "series", series(), source=Source("made here")), FACTOR)
    declared = [condition.declared for condition in data.conditions]
    low = next(d for d in declared if d.name == "low")
    known = [type(low)("low", "picture", coding=CODING, shape=low.shape), declared[1]]
    return Bundle(
        Model(Posterior(), TARGETS["x0"]()),
        net="unet",
        target="x0",
        process="edm",
        coding=CODING,
        shape=(1, FACTOR * PAIRS),
        conditions=tuple(known),
        sampler=Sampler(solver="dpmpp-2m", grid="karras", steps=30),
    )


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_e2_samples_follow_the_law_of_items_given_their_small_version(share: float) -> None:
    low = np.tile(np.array([[[5.0, 3.0, -1.0]]], dtype=np.float32), (2000, 1, 1))
    made = upscale(exact(), low, seed=4, noise=share, batch=2000).items
    pairs = torch.as_tensor((made - 3) / 2).double().reshape(-1, PAIRS, 2)
    whole = (pairs[..., 0] + pairs[..., 1]) / 2**0.5
    apart = (pairs[..., 0] - pairs[..., 1]) / 2**0.5
    # The noise on the small version is drawn too, so the law is a mixture over it.
    kept = 0.0 if share == 0 else 1 / (1 + (1 - share**2) / (2 * share**2))  # variance given it
    gain = 1 - kept
    mean = gain * 2**0.5 * (torch.tensor(low[0, 0]).double() - 3) / 2
    spread = kept + gain**2 * (0 if share == 0 else 2 * share**2 / (1 - share**2))
    error = 4 / 2000**0.5
    assert (whole.mean(0) - mean).abs().max() < error * spread**0.5 + 2e-3
    assert whole.var(0).numpy() == pytest.approx(spread, rel=0.15, abs=1e-4)
    assert apart.mean(0).abs().max() < error
    assert apart.var(0).numpy() == pytest.approx(1, rel=0.15)
    if share == 0:
        assert misfit(made, low) < 0.01


class Rough(Posterior):
    """The same, with an error of 1 in every number of x0."""

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        return super().forward(x, noise, cond) + 1


def test_what_is_given_without_noise_is_kept_whatever_the_network_says() -> None:
    """The error of pairs' sums goes, that of their differences, which low does not see, stays."""
    good = exact()
    bad = replace(good, model=Model(Rough(), TARGETS["x0"]()))
    low = np.tile(np.array([[[5.0, 3.0, -1.0]]], dtype=np.float32), (16, 1, 1))
    assert misfit(upscale(bad, low, seed=4).items, low) < 1e-5
    # With noise on what is given it is no longer known, and the network is to be believed.
    assert misfit(upscale(bad, low, seed=4, noise=0.05).items, low) > 1
    each = {"low": torch.zeros(32, 1, 3), "low-noise": torch.tensor([[0.0], [0.5]] * 16)}
    mixed = sample(
        bad, 32, seed=1, first=0, said={}, sampler=bad.how(), batch=32, progress=None, each=each
    )
    off = smaller(mixed.items, FACTOR) - 3
    assert np.abs(off[::2]).max() < 1e-4
    assert np.abs(off[1::2]).mean() > 0.5


def test_a_small_version_that_is_said_is_said_to_have_no_noise() -> None:
    """An edit told the network of one without saying how noisy, which it never met."""
    low = np.array([[5.0, 3.0, -1.0]], dtype=np.float32)
    assert Workbench(exact(), Ask(cond={"low": low})).cond["low-noise"].tolist() == [[0.0]]
    told = exact().cond(2, {"low": low, "low-noise": 0.25})
    assert told["low-noise"].tolist() == [[0.25]] * 2
    assert exact().cond(2) == {}
    # What guidance leads away from is said alike.
    away = exact().led(negative={"low": low})
    x, cond = torch.zeros(2, 1, 6), exact().cond(2, {"low": low + 1})
    found = away.denoiser(cond, away.how(guidance=2.0))(x, away.levels()[3]).x0
    one, other = (
        exact().denoiser(exact().cond(2, {"low": low + k}))(x, away.levels()[3]).x0 for k in (1, 0)
    )
    torch.testing.assert_close(found, torch.lerp(other, one, 2.0))


@pytest.mark.parametrize("edit", ["vary", "fill"])
def test_noise_that_an_edit_is_told_is_put_on_the_small_version(edit: str) -> None:
    """It was told the network and not put on: sums vary by both, and half of that was missing."""
    low, share = np.array([[5.0, 3.0, -1.0]], dtype=np.float32), 0.6
    ask = Ask(n=2000, seed=4, cond={"low": low, "low-noise": share})
    item = np.full((1, FACTOR * PAIRS), 3.0, dtype=np.float32)
    if edit == "vary":
        made = vary(exact(), item, 1.0, ask).samples
    else:  # only the last pair is open, which knows nothing of the others
        seen = np.arange(FACTOR * PAIRS) < FACTOR * (PAIRS - 1)
        made = fill(exact(), item, seen, ask).samples
    last = torch.as_tensor((made.items - 3) / 2).double().reshape(-1, PAIRS, 2)[:, -1]
    whole = last.sum(1) / 2**0.5
    known = (1 - share**2) / (2 * share**2)
    gain = known / (1 + known)
    assert float(whole.mean()) == pytest.approx(gain * 2**0.5 * (low[0, -1] - 3) / 2, abs=0.1)
    assert float(whole.var()) == pytest.approx(1 / (1 + known) + gain**2 / known, rel=0.15)
    assert made.settings["cond"]["low-noise"] == share
    few = vary(exact(), item, 1.0, replace(ask, n=3)).samples.items
    assert np.array_equal(vary(exact(), item, 1.0, replace(ask, n=20)).samples.items[:3], few)


def test_an_item_comes_back_from_its_code_under_the_same_noise_on_what_was_said() -> None:
    low = np.array([[5.0, 3.0, -1.0]], dtype=np.float32)
    first, last = series(2)
    ask = Ask(n=3, cond={"low": low, "low-noise": 0.5})
    for done in (mix(exact(), first, last, ask), invert(exact(), first, ask)):
        errors = [value for name, value in done.figures.items() if "round trip" in name]
        assert errors == [pytest.approx(0, abs=0.02)]


def test_gaps_of_many_items_are_filled_under_noise_of_each() -> None:
    """Each is filled alike in any number of items."""
    low = np.array([[5.0, 3.0, -1.0]], dtype=np.float32)
    items = series(40)
    items[:, :, -FACTOR:] = np.nan
    ask = Ask(n=1, cond={"low": low, "low-noise": 0.6})
    whole = impute(exact(), items, ask).draws[0]
    alone = items.copy()
    alone[:30, :, -FACTOR:] = 0.0  # nothing is missing there
    assert np.array_equal(impute(exact(), alone, ask).draws[0, 30:], whole[30:])


def test_what_is_to_be_enlarged_is_not_said_twice() -> None:
    """It was written into the settings, and the other one was enlarged."""
    small = smaller(series(1), FACTOR)
    for said in ({"low-noise": 0.5}, {"low": small[0]}):
        with pytest.raises(UsageError, match="--noise"):
            upscale(exact(), small, said=said)


def test_item_k_is_the_same_for_any_number_of_items_and_any_batch() -> None:
    low = smaller(series(20), FACTOR)
    together = upscale(exact(), low, noise=0.3)
    assert np.array_equal(upscale(exact(), low, noise=0.3, batch=16).items, together.items)
    assert np.array_equal(upscale(exact(), low[:3], noise=0.3).items, together.items[:3])
    other = upscale(exact(), low, noise=0.3, seed=1)
    assert not (other.items == together.items).any()


def test_a_cascade_keeps_the_numbers_of_its_samples() -> None:
    """Items 4 and 5 met the noise of items 0 and 1, and were saved over them."""
    low = smaller(series(6), FACTOR)
    base = Samples(low, CODING, 7, tuple(range(6)), (None,) * 6, {})
    whole, part = (cascade(exact(), some, noise=0.3) for some in (base, base[4:]))
    assert (part.numbers, part.seed) == ((4, 5), 7)
    assert np.array_equal(part.items, whole.items[4:])
    for some in (base[::2], base[::-1]):
        with pytest.raises(UsageError, match="in the order of their numbers"):
            cascade(exact(), some)
    assert np.array_equal(cascade(exact(), base[2], noise=0.3).items, whole.items[2:3])


def test_a_small_version_is_made_of_the_means_of_blocks() -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 2, 6, 9), dtype=np.uint8)
    wanted = functional.avg_pool2d(torch.as_tensor(x.astype(np.float32)), 3).numpy()
    np.testing.assert_allclose(smaller(x, 3), wanted, rtol=1e-5)
    lines = series()
    np.testing.assert_allclose(smaller(lines, 3), lines.reshape(-1, 1, 2, 3).mean(3), rtol=1e-5)
    for items, factor in ((x, 2), (np.zeros((3, 4)), 2)):
        with pytest.raises(DataError, match="divides their sides"):
            smaller(items, factor)


def batches(**settings: object) -> tuple[Batches, np.ndarray]:
    """Batches of series that are told of their small versions."""
    data = lowered(make_dataset("s", "series", series(), source=Source("made here")), FACTOR)
    process = exact().make_process()
    what = Objective(process, LAWS["uniform"](0.0, 1.0), WEIGHTS["simple"])
    null = {c.name: c.declared.null(1) for c in data.conditions}
    how = Settings(**{"batch": 4000, "condition_dropout": 0.0, **settings})  # type: ignore[arg-type]
    return Batches(data, what, how, null, ALONE), data.items


def test_training_puts_as_much_noise_on_the_small_version_as_it_tells() -> None:
    made, _ = batches(noised=("low",))
    _, clean, _, _, cond = made(step=7)
    share = cond["low-noise"]
    assert bool(((share >= 0) & (share <= 1)).all())
    assert share.sqrt().mean() == pytest.approx(0.5, abs=0.02)  # squares of even draws
    means = clean.reshape(-1, PAIRS, FACTOR).mean(2)
    eps = (cond["low"][:, 0] - (1 - share**2).sqrt() * means) / share
    seen = share[:, 0] > 0.05  # below, rounding is all there is
    eps, means = eps[seen], means[seen]
    assert float((eps * means).mean()) == pytest.approx(0, abs=0.04)
    assert float(eps.mean()) == pytest.approx(0, abs=0.04)
    assert float(eps.std()) == pytest.approx(1, abs=0.03)
    assert not torch.equal(made(step=8).cond["low"], cond["low"])


def test_a_mirrored_item_has_a_mirrored_small_version() -> None:
    made, _ = batches(flip=True)
    _, clean, _, _, cond = made(step=0)
    torch.testing.assert_close(cond["low"], clean.reshape(-1, 1, PAIRS, FACTOR).mean(3))
    assert bool((cond["low-noise"] == 0).all())


def test_other_factors_are_other_data_and_a_name_is_not_taken_twice() -> None:
    prints = {open_data("digits", limit=20, upscale=factor).fingerprint for factor in (2, 4)}
    assert len({*prints, open_data("digits", limit=20).fingerprint}) == 3
    with pytest.raises(DataError, match="'low' already"):
        lowered(open_data("digits", limit=20, upscale=2), 2)


def test_bicubic_keeps_ramps_and_psnr_is_that_of_a_constant_error() -> None:
    ramp = np.arange(8.0)[None, None] * np.ones((1, 1, 8, 1))
    large = bicubic(ramp, 4)[0, 0, 16, 8:-8]
    assert np.diff(large) == pytest.approx(0.25, abs=1e-5)
    assert bicubic(ramp[:, :, 0], 4)[0, 0, 8:-8] == pytest.approx(large, abs=1e-5)
    flat = np.full((2, 1, 4, 4), 100.0)
    assert psnr(flat + 2.55, flat, 255.0) == pytest.approx(40)


def test_the_grids_of_a_training_show_items_from_all_over_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They showed the first held-out items, which are of one class where the classes follow."""
    given: list[np.ndarray] = []

    def seen(bundle: Bundle, small: np.ndarray, **how: object) -> Samples:
        given.append(small)
        return upscale(bundle, small, **how)  # type: ignore[arg-type]

    monkeypatch.setattr("ornstein.session.previews.upscale", seen)
    noise = np.random.default_rng(0).integers(0, 9, (300, 8, 8, 1))
    values = (np.repeat(np.arange(3) * 100, 100)[:, None, None, None] + noise).astype(np.uint8)
    settings = {"net.size": "tiny", "batch": 8, "sample.count": 3, "sample.steps": 1}
    orn.train(values, name="r", runs=tmp_path, steps=1, upscale=2, settings=settings,
              progress=orn.Silent())  # fmt: skip
    assert (given[-1].mean((1, 2, 3)) // 100).tolist() == [0, 1, 2]


def test_small_versions_of_another_size_and_models_of_another_task_are_refused() -> None:
    with pytest.raises(UsageError, match="makes 1x6 of 1x3, 2 times larger; got 1x4"):
        upscale(exact(), np.zeros((1, 1, 4), dtype=np.float32))
    with pytest.raises(UsageError, match="share from 0 to 1"):
        upscale(exact(), np.zeros((1, 1, 3), dtype=np.float32), noise=2)
    with pytest.raises(UsageError, match="trained for one task"):
        replace(exact(), conditions=()).led(by=exact())


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with a model of 4x4 digits and one that makes 8x8 of them, barely trained."""
    from ornstein.cli.app import cli, guarded

    place = tmp_path_factory.mktemp("cascade")
    quick = [
        "net.size=tiny",
        "batch=16",
        "sample.count=2",
        "log_every=1",
        "--quiet",
        "--steps",
        "2",
    ]
    for words in ("digits --size 4 --name base", "digits --task upscale --factor 2 --name above"):
        assert guarded(cli, ["train", *words.split(), *quick, "--runs", str(place)]) == 0
    return place


def run(
    capsys: pytest.CaptureFixture[str], runs: Path, words: str, code: int = 0
) -> tuple[str, str]:
    from ornstein.cli.app import cli, guarded

    capsys.readouterr()
    assert guarded(cli, [*words.split(), "--runs", str(runs)]) == code
    return capsys.readouterr()


def test_e2_a_cascade_makes_pictures_of_both_models_and_says_how_well_they_agree(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(run(capsys, here, "sample base -n 3 --then above --json")[0])
    assert told["settings"]["base"]["seed"] == told["settings"]["seed"] == 0
    assert told["settings"]["noise"] == 0.1
    assert Path(told["files"]["small"]).is_file()
    assert "misfit to the small ones" in run(capsys, here, "sample base -n 3 --then above")[0]
    steps = json.loads(
        run(capsys, here, "sample base -n 3 --then above --steps 3 --then-steps 2 --json")[0]
    )["settings"]
    assert (steps["base"]["steps"], steps["steps"]) == (3, 2)
    places = {
        json.loads(run(capsys, here, f"sample base -n 3 --then above --json {more}")[0])["files"][
            "items"
        ]
        for more in ("", "--noise 0.1", "--noise 0.2", "--noise 0.3", "--then-steps 2")
    }
    assert len(places) == 4
    # An upscaler that is given nothing says so, and what to type.
    alone = run(capsys, here, "sample above -n 1")[1]
    assert "ornstein edit above PICTURE --upscale 2" in alone
    for words, fix in (
        ("sample nobody --then-steps 3", "--then MODEL"),  # before anything is opened or made
        ("sample nobody --noise 0.2", "--then MODEL"),
        ("sample above -n 2 --then base", "--task upscale"),
        ("sample above -n 2 --then above", "makes 1x8x8 of 1x4x4"),
    ):
        assert fix in run(capsys, here, words, code=2)[1]


@pytest.mark.parametrize("lead", ["--guide-by base", "--negative 3"])
def test_e2_what_leads_guidance_leads_the_first_model_of_a_cascade(
    here: Path, capsys: pytest.CaptureFixture[str], lead: str
) -> None:
    words = f"sample base -n 2 --then above --guidance 2 {lead} --json"
    told = json.loads(run(capsys, here, words)[0])["settings"]
    led = {"negative", "guided_by"}
    assert led & told["base"].keys()
    assert not led & told.keys()


def test_e2_a_batch_bounds_both_models_of_a_cascade_and_changes_no_picture(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ornstein.bundle import walking

    asked: list[int] = []
    walk = walking.walk

    def counted(bundle: Bundle, n: int, **how: object) -> object:
        asked.append(n)
        return walk(bundle, n, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(walking, "walk", counted)
    places = []
    for name, batch, sizes in (("few", "--batch 2", [2, 2, 1] * 2), ("all", "", [5] * 2)):
        asked.clear()
        run(capsys, here, f"sample base -n 5 --then above {batch} --out {here / name}")
        assert asked == sizes
        places.append(sorted((here / name).glob("seed*.png")))
    assert len(places[0]) == 5
    assert [p.read_bytes() for p in places[0]] == [p.read_bytes() for p in places[1]]


def test_e2_edit_takes_the_model_that_was_trained_for_it_and_compares_with_bicubic(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    picture = here / "eight.png"
    Image.fromarray(open_data("digits").items[8, 0]).save(picture)
    words = f"edit above {picture} --spoil -n 2 --json --upscale"
    told = json.loads(run(capsys, here, f"{words} 2")[0])
    assert told["settings"]["edit"] == "upscale"
    assert {"misfit to what was given", "PSNR of bicubic to the original in dB"} <= set(
        told["figures"]
    )
    assert "upscales 2 times; say --upscale 2" in run(capsys, here, f"{words} 4", code=2)[1]
    noisy = f"edit base {picture} --upscale 2 --noise 0.2"
    assert "models trained to upscale" in run(capsys, here, noisy, code=2)[1]


def test_the_doctor_opens_the_data_as_they_were_trained_on_and_the_judge_refuses(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ornstein.doctor.patient import admit

    patient = admit("above", here, 1.0, here / "above")
    assert patient.data is not None
    assert patient.bundle is not None
    assert not patient.wounds
    told = [condition.declared for condition in patient.data.conditions]
    assert {d.name for d in told} == {d.name for d in patient.bundle.conditions}
    assert "has no samples of its own" in run(capsys, here, "evaluate above", code=2)[1]


def test_what_to_type_next_fits_the_task(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = "net.size=tiny batch=16 sample.count=2 --steps 2"
    for words, then in (
        ("--name a", f"ornstein sample {here}/a -n 64 --film"),
        ("--task upscale --factor 2 --name b", f"ornstein edit {here}/b PICTURE --upscale 2"),
        ("--task classifier --name c", f"ornstein sample MODEL --guide-by {here}/c --guidance 2"),
    ):
        assert f"next       {then}" in run(capsys, here, f"train digits {words} {quick}")[0]
    listed = run(capsys, here, "leaderboard")[0]
    assert "ornstein evaluate a" in listed
    assert not any(f"evaluate {name}" in listed for name in ("above", "b\n", "c\n"))


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("--task upscale", "--factor go together"),
        ("--factor 4", "--factor go together"),
        ("--task upscal --factor 4", "Did you mean 'upscale'"),
    ],
)
def test_a_task_and_its_factor_go_together(
    here: Path, capsys: pytest.CaptureFixture[str], words: str, fix: str
) -> None:
    assert fix in run(capsys, here, f"train digits --name other {words}", code=2)[1]
