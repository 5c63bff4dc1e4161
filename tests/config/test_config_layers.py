"""Layers of settings, their order, and the file that keeps them."""

from __future__ import annotations

import math
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ornstein.config import RECIPES, Config, fields, load_config, recipe_about, resolve, to_toml
from ornstein.core import DDPM, EDM, VP, Flow
from ornstein.errors import ConfigError


def test_each_layer_wins_over_the_one_before_and_says_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('recipe = "ddpm"\n[train]\nbatch = 16\nclip = 2.0\nema = 0.2\nseed = 1\n')
    found = resolve(
        file=file,
        sets=["train.clip=3", "train.ema=0.05", "train.seed=2"],
        flags={"train.ema": 0.15, "train.seed": None},
    )
    train = found.config.train
    assert (train.warmup, train.batch, train.clip, train.ema) == (0.01, 16, 3.0, 0.15)
    assert train.seed == 2  # a flag that was not given says nothing
    told = {name: found.origins[f"train.{name}"] for name in ("accumulate", "warmup", "batch")}
    assert told == {"accumulate": "default", "warmup": "recipe ddpm", "batch": "my.toml line 3"}
    assert (found.origins["train.clip"], found.origins["train.ema"]) == ("--set", "--ema")
    assert set(found.origins) == set(found.config.flat())


def test_a_recipe_asked_for_wins_over_the_one_the_file_names(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('recipe = "ddpm"')
    assert resolve(file=file).config.model.target == "eps"
    assert resolve(file=file, recipe="flow").config.model.target == "velocity"


def test_a_recipe_is_chosen_by_a_setting_too_and_says_who_chose_it(tmp_path: Path) -> None:
    """As a setting it was not heard."""
    file = tmp_path / "my.toml"
    file.write_text('recipe = "ddpm"')
    found = [
        resolve(file=file, sets=sets, recipe=recipe)
        for sets, recipe in (((), None), (('recipe="flow"',), None), (("recipe=flow",), "edm"))
    ]
    said = [(one.config.recipe, one.config.model.target, one.origins["recipe"]) for one in found]
    assert said == [
        ("ddpm", "eps", "my.toml line 1"),
        ("flow", "velocity", "--set"),
        ("edm", "edm", "--preset"),
    ]
    assert resolve().origins["recipe"] == "default"
    for wrong in ("recipe=flwo", "recipe="):
        with pytest.raises(ConfigError, match=r"unknown recipe .* \(from --set\)"):
            resolve(sets=[wrong])


@pytest.mark.parametrize("text", ["batch=32", "train.batch=32", "train.batch = 32", " batch=32 "])
def test_the_section_may_be_left_out_where_the_name_is_unique(text: str) -> None:
    assert resolve(sets=[text]).config.train.batch == 32


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("betas=[0.8, 0.9]", (0.8, 0.9)),
        ("betas=(0.8, 0.9)", (0.8, 0.9)),
        ("flip=true", True),
        ("flip=True", True),
        ("batch=auto", None),
        ("batch=None", None),
        ("source=photos/a=b.png", "photos/a=b.png"),
        ('source="7"', "7"),
        ("minutes=10", 10.0),
        ("data.size=64", 64),
        ("data.size=[32, 64]", (32, 64)),
        ("process_options={sigma_max=20.0}", {"sigma_max": 20.0}),
        ("model.process_options.sigma_max=20.0", {"sigma_max": 20.0}),
    ],
)
def test_values_are_read_as_toml_or_python_would_write_them(text: str, value: object) -> None:
    key = text.partition("=")[0]
    flat = resolve(sets=[text]).config.flat()
    found = next(v for name, v in flat.items() if name == key or name.endswith(f".{key}")) if (
        "process_options." not in key
    ) else flat["model.process_options"]  # fmt: skip
    assert found == value


def test_a_later_length_replaces_an_earlier_one() -> None:
    train = resolve(sets=["train.steps=100"], flags={"train.minutes": 2}).config.train
    assert (train.steps, train.minutes, train.images) == (None, 2.0, None)


def test_a_new_process_drops_the_options_of_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[model]\nprocess = "vp"\nprocess_options = { beta_min = 0.2 }')
    assert resolve(file=file).config.model.make_process() == VP(beta_min=0.2)
    assert resolve(file=file, sets=["process=flow"]).config.model.make_process() == Flow()


@pytest.mark.parametrize("turned", [1, -1])
def test_options_may_be_said_before_what_they_are_for(turned: int) -> None:
    sets = ["net.name=unet", "net.options={dropout=0.1}", "process=vp",
            "model.process_options.beta_min=0.2"]  # fmt: skip
    config = resolve(sets=sets[::turned]).config
    assert (config.net.name, config.net.options) == ("unet", {"dropout": 0.1})
    assert config.model.make_process() == VP(beta_min=0.2)


def test_options_of_what_was_said_before_are_not_dropped_in_silence() -> None:
    with pytest.raises(ConfigError, match="unknown option 'blind' of the net 'mlp'"):
        resolve(sets=["net.name=unet", "net.options={blind=true}", "net.name=mlp"])


def test_every_recipe_resolves_and_says_what_it_is() -> None:
    assert set(RECIPES) == {"default", "adm", "classifier", "ddpm", "edm", "flow", "iddpm"}
    kinds = {"ddpm": DDPM, "edm": EDM, "flow": Flow, "iddpm": DDPM, "adm": DDPM}
    for name in RECIPES:
        config = resolve(recipe=name).config
        assert config.recipe == name
        assert isinstance(config.model.make_process(), kinds.get(name, EDM))
        assert len(recipe_about(name)) > 40


def test_the_recipes_hold_the_papers_numbers() -> None:
    ddpm, edm, flow = (resolve(recipe=name).config for name in ("ddpm", "edm", "flow"))
    for config, meant in (
        (ddpm, ("eps", "linear", "simple", "uniform")),
        (edm, ("edm", "edm", "edm", "log-normal")),
        (flow, ("velocity", "flow", "flow", "log-normal")),
    ):
        model, loss = config.model, config.objective
        assert (model.target, model.process, loss.weight, loss.law) == meant
        assert (model.variance, loss.loss) == ("small", "weighted")
    # arXiv:2006.11239, appendix B: rate 2e-4; arXiv:2206.00364, tables 1 and 2 and section 5.
    assert (ddpm.train.learning_rate, ddpm.model.process) == (2e-4, "linear")
    assert edm.objective.location == pytest.approx(-1.2 - math.log(0.5), abs=1e-3)
    assert (edm.objective.scale, edm.train.learning_rate) == (1.2, 1e-3)
    assert (edm.sample.solver, edm.sample.grid, edm.sample.steps) == ("heun", "karras", 18)
    assert (flow.objective.location, flow.objective.scale) == (0.0, 1.0)
    # arXiv:2102.09672, section 3 and appendix A: 4,000 cosine steps, rate 1e-4, L_hybrid.
    iddpm = resolve(recipe="iddpm").config
    assert iddpm.model.process_options == {"steps": 4000}
    assert (iddpm.model.variance, iddpm.objective.loss) == ("learned", "hybrid")
    assert (iddpm.train.learning_rate, iddpm.sample.solver) == (1e-4, "ddpm")
    # arXiv:2105.05233, section 3 and table 11: BigGAN's blocks, AdaGN, heads of 64 channels.
    adm = resolve(recipe="adm").config
    wanted = {"resample": "biggan", "modulation": "adagn", "head": 64, "dropout": 0.1}
    assert adm.net.options == wanted
    assert (adm.model.variance, adm.objective.loss) == ("learned", "hybrid")


def test_the_written_file_reads_back_equal_with_the_meaning_of_every_key(tmp_path: Path) -> None:
    config = resolve(
        recipe="ddpm",
        sets=[
            'net.name="unet"',
            "net.options={widths=[32, 64], dropout=0.1}",
            "data.size=[28, 30]",
        ],
        flags={"train.minutes": 0.1 + 0.2, "data.source": 'a"b\\c\n\t\x7f\u2028é😀'},
    ).config
    text = to_toml(config)
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    assert load_config(path) == config
    assert resolve(file=path).config == config
    for field in fields():
        if field.section:
            assert f"{field.leaf} = " in text
            assert field.about in text
    assert tomllib.loads(text)["train"]["minutes"] == 0.1 + 0.2


@given(
    source=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    minutes=st.floats(1e-3, 1e5),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    batch=st.none() | st.integers(1, 10**6),
    seed=st.integers(0, 2**63 - 1),
)
@settings(max_examples=60, deadline=None)
def test_any_settings_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory,
    source: str,
    minutes: float,
    betas: tuple[float, float],
    batch: int | None,
    seed: int,
) -> None:
    train = {"minutes": minutes, "betas": betas, "batch": batch, "seed": seed}
    config = Config.model_validate({"data": {"source": source}, "train": train})
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8", newline="")
    assert load_config(path) == config


def test_differences_are_listed_by_full_name() -> None:
    mine, other = resolve(sets=["batch=8"]).config, resolve(sets=["batch=9"]).config
    assert mine.changes(other) == {"train.batch": (8, 9)}
    assert mine.changes(mine) == {}


def test_settings_cannot_be_changed_after_they_were_checked() -> None:
    config = resolve().config
    with pytest.raises(Exception, match="frozen"):
        config.train.batch = 3  # type: ignore[misc]


def test_every_number_has_a_least_and_a_greatest_value() -> None:
    for field in fields():
        if "number" in field.kind:
            assert "from" in field.kind or "above" in field.kind, field
            assert "to " in field.kind or "below" in field.kind or "two of" in field.kind, field
        assert field.about.endswith("."), field


def test_reading_what_settings_there_are_does_not_import_torch() -> None:
    code = (
        "import sys; from ornstein.config import RECIPES, recipe_about, Config\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
