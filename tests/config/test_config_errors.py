"""Bad settings: one sentence with key, place and the near name; never a traceback (R33)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ornstein.config import resolve
from ornstein.errors import ConfigError

# Name, file, and what the sentence must say.
BAD: dict[str, tuple[str, list[str]]] = {
    "unknown key": ("[train]\n\nlearning_rte = 1e-3\n", ["rte", "line 3", "'learning_rate'"]),
    "key of another section": ("[sample]\nbatch = 3", ["sample.batch", "line 2", "'train.batch'"]),
    "key without section": ("batch = 3", ["'batch'", "line 1", "'train.batch'"]),
    "unknown section": ("[trian]\nbatch = 3", ["'trian'", "line 1", "'train'"]),
    "section that is a number": ("train = 3", ["'train' must be a section", "line 1"]),
    "section that is a list": ("[[train]]\nbatch = 3", ["'train' must be a section", "line 1"]),
    "text for a number": ('[train]\nbatch = "32"', ["train.batch", "line 2", "whole", "'32'"]),
    "truth for a number": ("[train]\nbatch = true", ["train.batch", "line 2", "whole number"]),
    "number for text": ("[data]\nsource = 3", ["data.source", "line 2", "text"]),
    "number for truth": ("[data]\nflip = 1", ["data.flip", "line 2", "true or false"]),
    "fraction for a whole number": ("[train]\nsteps = 2.5", ["train.steps", "line 2", "whole"]),
    "date for a number": ("[train]\nbatch = 1979-05-27", ["train.batch", "line 2"]),
    "table for a number": ("[train.batch]\nx = 3", ["train.batch", "line 1"]),
    "too small": ("[train]\nbatch = 0", ["train.batch", "line 2", "from 1 to 1,000,000"]),
    "too large": ("[sample]\nsteps = 100_001", ["sample.steps", "line 2", "100,000"]),
    "negative": ("[train]\nminutes = -1", ["train.minutes", "line 2", "above 0"]),
    "not a number": ("[train]\nema = nan", ["train.ema", "line 2"]),
    "infinite": ("[train]\nlearning_rate = inf", ["train.learning_rate", "line 2"]),
    "huge": (f"[train]\nseed = {10**400}", ["train.seed", "line 2"]),
    "three of two": ("[data]\nsize = [32, 32, 32]", ["data.size", "line 2", "or two of them"]),
    "interval upside down": (
        "[sample]\ninterval = [3.0, 0.3]", ["sample", "from a low to a higher", "from 3 to 0.3"],
    ),
    "pair out of range": ("[train]\nbetas = [0.9, 1.5]", ["train.betas", "line 2", "below 1"]),
    "unknown name": ('[sample]\nsolver = "huen"', ["sample.solver", "line 2", "'heun'", "ddim"]),
    "unknown process": ('[model]\nprocess = "cosin"', ["model.process", "line 2", "'cosine'"]),
    "unknown recipe": ('recipe = "edmm"', ["recipe", "line 1", "'edm'"]),
    "option of the process": (
        '[model]\nprocess = "vp"\nprocess_options = { beta_mim = 0.1 }',
        ["'beta_mim'", "line 3", "'beta_min'"],
    ),
    "value of that option": (
        '[model]\nprocess = "vp"\nprocess_options = { beta_min = -3.0 }',
        ["model.process_options", "line 3", "beta_min <= beta_max"],
    ),
    "option of the net": (
        '[net]\nname = "unet"\noptions = { widht = [32] }', ["'widht'", "line 3", "'widths'"],
    ),
    "options of no net": ("[net]\noptions = { width = 3 }", ["net.name", "line 2"]),
    "two lengths": ("[train]\nsteps = 3\nminutes = 3", ["only one of", "line 2", "line 3"]),
    "shares above one": ("[train]\nwarmup = 0.7\ndecay = 0.7", ["must not exceed 1", "line 2"]),
    "duplicate key": ("[train]\nbatch = 1\nbatch = 2", ["line 3", "not valid TOML", "overwrite"]),
    "not TOML": ("[train\nbatch = 1", ["line 1", "not valid TOML"]),
    "YAML": ("train:\n  batch: 3", ["line 1", "not valid TOML"]),
    "a bomb": ("a = " + "[" * 100_000, ["not valid TOML", "too deep"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_one_sentence_with_key_and_line(name: str, tmp_path: Path) -> None:
    text, needed = BAD[name]
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve(file=path)
    said = str(caught.value)
    assert caught.value.exit_code == 2
    assert "my.toml" in said
    for part in needed:
        assert part in said, said
    assert "\n" not in said
    assert len(said) < 600  # the longest lists every solver
    assert "pydantic" not in said
    assert "Traceback" not in said


def test_there_are_at_least_thirty_bad_files() -> None:
    assert len(BAD) >= 30


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"[train]\n# caf\xe9\n")
    (tmp_path / "big.toml").write_bytes(b"#" * 2_000_000)
    cases = {
        "gone.toml": "there is no file of settings",
        ".": "cannot read",
        "latin.toml": "line 2 is not UTF-8",
        "big.toml": "larger than 1 MB",
    }
    for name, words in cases.items():
        with pytest.raises(ConfigError, match=words):
            resolve(file=tmp_path / name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("foo=3", ["unknown setting 'foo'", "--set"]),
        ("foo", ["key=value"]),
        ("=3", ["key=value"]),
        ("steps=3", ["train.steps or sample.steps"]),
        ("data.size=3", ["data.size", "a whole number from 4 to 4,096", "--set"]),
        ("batch=many", ["train.batch", "'many'", "--set"]),
        ("train.batsh=3", ["train.batsh", "Did you mean 'batch'?"]),
        ("optim.rate=3", ["optim.rate", "Did you mean 'train.learning_rate' or"]),
        ("lr=3", ["'lr'", "Did you mean 'train.learning_rate'?"]),
        ("model.process_options.beta_min=1", ["no option", "edm"]),
    ],
)
def test_a_bad_assignment_is_refused_by_one_sentence(text: str, words: list[str]) -> None:
    if words[0] == "no option":
        words = ["unknown option 'beta_min'", "edm", "sigma_min"]
    with pytest.raises(ConfigError) as caught:
        resolve(sets=[text])
    for word in words:
        assert word in str(caught.value)


def test_a_bad_flag_is_called_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"train\.minutes .* not -1 \(from --minutes\)"):
        resolve(flags={"train.minutes": -1})
    with pytest.raises(ConfigError, match=r"unknown recipe 'edmm'\. Did you mean 'edm'\?"):
        resolve(recipe="edmm")
