"""R28, R33, R34: whatever is typed, one sentence and a stable exit code, never a traceback."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from figures import figure, times
from ornstein.cli.app import VERBS, cli
from ornstein.cli.faults import guarded
from ornstein.errors import DiskError, OutOfMemoryError, RunLockedError, StoppedEarly


class Answer(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Answer]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    """Runs the command line in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> Answer:
        code = guarded(cli, args)
        return Answer(code, *capfd.readouterr())

    return run


def lay_out(folder: Path) -> None:
    """Bad things to be given to the commands."""
    (folder / "empty").mkdir()
    (folder / "words").mkdir()
    (folder / "words" / "a.jpg").write_text("<html>not a picture</html>")
    (folder / "words" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "tiny").mkdir()
    Image.new("L", (1, 1)).save(folder / "tiny" / "a.png")
    (folder / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00nonsense")
    np.save(folder / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(folder / "scalar.npy", np.float32(3))
    np.save(folder / "nan.npy", np.full((30, 2), np.nan, dtype=np.float32))
    (folder / "text.txt").write_text("hello")
    (folder / "model.ckpt").write_bytes(b"\x80\x04.")
    (folder / "broken.safetensors").write_bytes(b"\xff" * 64)
    (folder / "key.toml").write_text("[train]\nlearning_rte = 1e-3\n")
    (folder / "type.toml").write_text("[train]\nbatch = 'many'\n")
    (folder / "syntax.toml").write_text("[train\nbatch = 3\n")


BAD = [
    # (words of the command, exit code, what the sentence must name)
    ("trian", 2, "Did you mean 'train'"),
    ("--verbos", 2, "--verbos"),
    ("train", 2, "missing argument 'DATA'"),
    ("train digits --steps 0", 2, "'0' is not a whole number from 1"),
    ("train digits --minutes 0", 2, "'0' is not a number from 0.01 to 1,000,000. See"),
    ("train digits --steps ten", 2, "'ten' is not a whole number"),
    ("train digits --minutes nan", 2, "'nan' is not a number"),
    ("train digits --minutes -3", 2, "'-3'"),
    ("train digits --minutes 1 --steps 5", 2, "not both"),
    ("train digits --size 0", 2, "'0'"),
    ("train digits --size 1e3", 2, "'1e3'"),
    ("train digits --seed -1", 2, "'-1'"),
    ("train digits --name ../up", 2, "'../up' cannot name"),
    ("train digits --name .", 2, "'.' cannot name"),
    ("train digits batch", 2, "'batch' is not a setting"),
    ("train digits --set =3", 2, "'=3' is not a setting"),
    ("train digits --naem x", 2, "Did you mean '--name'"),
    ("train digits --steps 2 --set train.bach=3", 2, "batch"),
    ("train digits --steps 2 --set train.batch=many", 2, "train.batch"),
    ("train digits --steps 2 --preset fow", 2, "flow"),
    ("train digits --steps 2 --config no.toml", 2, "no.toml"),
    ("train digits --steps 2 --config key.toml", 2, "learning_rate"),
    ("train digits --steps 2 --config type.toml", 2, "batch"),
    ("train digits --steps 2 --config syntax.toml", 2, "syntax.toml"),
    ("train nowhere --steps 2", 65, "nowhere"),
    ("train empty --steps 2", 65, "empty"),
    ("train words --steps 2", 65, "words"),
    ("data nowhere", 65, "nowhere"),
    ("data digit", 65, "digits"),
    ("data empty", 65, "empty"),
    ("data words", 65, "words"),
    ("data text.txt", 65, "text.txt"),
    ("data bad.npy", 65, "bad.npy"),
    ("data object.npy", 65, "object.npy"),
    ("data scalar.npy", 65, "'scalar'"),
    ("data nan.npy", 65, "not finite"),
    ("data digits --limit 0", 2, "'0'"),
    ("viz", 2, "ornstein viz"),
    ("viz forwrd digits", 2, "forward"),
    ("viz forward digits --schedule linaer", 2, "Did you mean 'linear'"),
    ("viz forward digits --columns 1", 2, "'1'"),
    ("viz forward nowhere", 65, "nowhere"),
    ("viz schedule cosin", 2, "Did you mean 'cosine'"),
    ("viz schedule --item 5000", 2, "no item 5,000"),
    ("viz reverse nowhere", 2, "nowhere"),
    ("sample", 2, "missing argument"),
    ("sample nowhere", 2, "nowhere"),
    ("sample nowhere -n 0", 2, "'0'"),
    ("sample nowhere -n 1000000000", 2, "'1000000000'"),
    ("sample nowhere --steps 0", 2, "'0'"),
    ("sample nowhere --solver huen", 2, "Did you mean 'heun'"),
    ("sample nowhere --grid karas", 2, "Did you mean 'karras'"),
    ("sample nowhere --schedule ddpm", 2, "unknown schedule 'ddpm'"),
    ("sample model.ckpt", 65, "model.ckpt"),
    ("sample broken.safetensors", 65, "broken.safetensors"),
    ("show nowhere", 2, "nowhere"),
    ("show text.txt", 65, "text.txt"),
]


@pytest.mark.parametrize(("words", "code", "named"), BAD, ids=[row[0] for row in BAD])
def test_a_bad_command_is_answered_in_one_sentence(
    call: Call, tmp_path: Path, words: str, code: int, named: str
) -> None:
    lay_out(tmp_path)
    before = sorted(tmp_path.iterdir())
    answer = call(*words.split())
    assert answer.code == code, answer
    assert named in answer.err
    assert answer.err.startswith("error: ")
    assert "Traceback" not in answer.err + answer.out
    assert "0x" not in answer.err
    assert len(answer.err.splitlines()) <= 6
    assert sorted(tmp_path.iterdir()) == before


def raising(fault: BaseException) -> click.Command:
    @click.command()
    @click.option("--debug", is_flag=True)
    def command(debug: bool) -> None:
        raise fault

    return command


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/a"), 74, "disk is full (runs/a)"),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs"),
            74,
            "no permission to use runs",
        ),
        (OSError(errno.EIO, "Input/output error"), 74, "input/output error"),
        (DiskError("the disk is full."), 74, "error: the disk is full."),
        (RunLockedError("run 'a' is being trained."), 73, "error: run 'a'"),
        (OutOfMemoryError("out of memory at batch 64."), 71, "batch 64"),
        (MemoryError(), 71, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 71, "out of memory"),
        (StoppedEarly("stopped at step 213, saved."), 75, "stopped at step 213, saved."),
        (KeyboardInterrupt(), 130, "stopped at once"),
        (click.Abort(), 130, "stopped at once"),
        (ValueError("a\nb"), 1, "error: unexpected ValueError: a b. Run again with --debug"),
    ],
)
def test_every_fault_has_its_sentence_and_exit_code(
    capfd: pytest.CaptureFixture[str], fault: BaseException, code: int, said: str
) -> None:
    assert guarded(raising(fault), []) == code
    out, err = capfd.readouterr()
    assert said in err
    assert (out, len(err.strip().splitlines())) == ("", 1)


def test_a_stop_is_not_called_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    guarded(raising(StoppedEarly("stopped at step 213, saved.")), [])
    assert "error" not in capfd.readouterr().err


def test_debug_shows_where_it_happened(capfd: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(ValueError("here")), ["--debug"]) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert "test_cli_faults.py" in err


WORDS = st.one_of(
    st.sampled_from([*VERBS, "forward", "reverse", "schedule", "digits", "two-moons", "nowhere"]),
    st.sampled_from(
        ["--steps", "--minutes", "--size", "--seed", "-n", "--class", "--grid", "--json"]
    ),
    st.sampled_from(["--dry-run", "--help", "--set", "--name", "--limit", "--columns", "--runs"]),
    st.sampled_from(
        ["0", "-1", "1e9", "nan", "x=1", "=", "batch=", "--", "-", "..", "/dev", "*", ""]
    ),
    st.text(max_size=8).filter(lambda t: "\0" not in t),
)


def begun(*given: object, **named: object) -> None:
    raise StoppedEarly("the words were understood; the work itself would take minutes.")


@pytest.mark.torture
def test_r34_no_words_at_all_lead_to_a_traceback(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for work in ("evaluate.reference_of", "benching.report"):  # of compare and evaluate; of bench
        monkeypatch.setattr(f"ornstein.{work}", begun)
    codes: Counter[int] = Counter()

    @settings(
        max_examples=times(50, 2000), deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(words=st.lists(WORDS, max_size=6))
    def check(words: list[str]) -> None:
        if "train" in words and not {"--dry-run", "--help"} & set(words):
            words = [*words, "--dry-run"]
        answer = call(*words)
        assert answer.code in {0, 2, 65, 74, 75}, (words, answer)
        assert "Traceback" not in answer.err
        codes[answer.code] += 1

    check()
    said = ", ".join(f"{count:,} exit {code}" for code, count in sorted(codes.items()))
    figure("R34", f"{sum(codes.values()):,} random command lines", f"no traceback; {said}")
