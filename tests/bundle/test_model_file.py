"""The one-file model: complete, whole, and never code (R15, R16)."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from makers import CODINGS, make_bundle
from torch import Tensor

from ornstein.bundle import Bundle, Recogniser, Sampler, load, load_any
from ornstein.core import PROCESSES, TARGETS
from ornstein.data.conditions import Declared, class_of
from ornstein.errors import ModelFileError, UsageError
from ornstein.guide import Guide
from ornstein.model import Classifier, Model
from ornstein.nets import DiT, UNet
from ornstein.nets.conditions import of_classes
from ornstein.nets.encoder import Encoder


def rewritten(path: Path, change: Callable[[dict[str, Any]], None], *, sign: bool = True) -> Path:
    """The file with its description changed, and its hash put right again."""
    import hashlib

    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    said = json.loads(header["__metadata__"]["ornstein"])
    change(said)
    text = json.dumps(said)
    header["__metadata__"]["ornstein"] = text
    if sign:
        header["__metadata__"]["sha256"] = hashlib.sha256(text.encode() + body).hexdigest()
    head = json.dumps(header).encode()
    other = path.with_name("changed.safetensors")
    other.write_bytes(len(head).to_bytes(8, "little") + head + body)
    return other


def guide(**changes: object) -> dict[str, object]:
    return {"kind": "cfg", "low": 0.3, "high": 3.0, "rescale": 0.0, **changes}


def number(**coding: object) -> dict[str, object]:
    return {"name": "size", "kind": "numbers", "names": [], "coding": coding, "shape": [1],
            "low": [0.0], "high": [1.0]}  # fmt: skip


@pytest.mark.parametrize("kind", CODINGS)
def test_a_model_comes_back_whole(kind: str, tmp_path: Path) -> None:
    way = Sampler("ddim", "blend", None, 9, 2.5, Guide("apg", 0.3, 3.0, 0.7))
    bundle = make_bundle(
        kind, process="vp", process_options={"beta_max": 15.0}, target="v", sampler=way
    )
    found = load(bundle.save(tmp_path / "new" / "model.safetensors"))
    names = ("net", "target", "process", "process_options", "coding", "shape", "conditions",
             "classes", "kind", "sampler",
             "weights", "provenance", "fingerprint", "parameters")  # fmt: skip
    for name in names:
        assert getattr(found, name) == getattr(bundle, name), name
    assert found.make_process() == bundle.make_process()
    for (name, a), (other, b) in zip(
        bundle.model.state_dict().items(), found.model.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(a, b)
    assert not found.model.training


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("process", PROCESSES)
def test_every_target_and_process_survives_the_file(
    target: str, process: str, tmp_path: Path
) -> None:
    bundle = make_bundle("vector", target=target, process=process)
    found = load(bundle.save(tmp_path / "m.safetensors"))
    assert (found.target, found.process) == (target, process)
    assert type(found.make_process()) is type(bundle.make_process())


def test_models_are_opened_and_sampled_without_torchs_compiler(tmp_path: Path) -> None:
    """It takes as long to import as torch itself, and what is built on "meta" may ask for it."""
    for kind in ("image", "series", "vector"):
        make_bundle(kind).save(tmp_path / f"{kind}.safetensors")
    plain = make_bundle("image")
    kinds = of_classes(3)
    few = {"widths": (8,), "blocks": (1,), "attention": ()}
    nets = {
        "guess": UNet(plain.shape, kinds, **few, wiener=3, gaussians=2),  # type: ignore[arg-type]
        "cut": UNet((1, 33, 33), kinds, **few, wiener=3, gaussians=2),  # type: ignore[arg-type]
        "dit": DiT(plain.shape, kinds, width=16, depth=1, head=8, patch=3),
    }
    for name, net in nets.items():
        model, kind = Model(net, plain.model.target), "dit" if name == "dit" else "unet"
        made = replace(plain, model=model, net=kind, shape=tuple(net.shape))
        made.save(tmp_path / f"{name}.safetensors")
    judge = Classifier(Encoder(plain.shape, 3, widths=(8,), blocks=(1,), attention=()))
    Recogniser(judge, plain.coding, plain.shape, plain.classes, "raw", {}).save(
        tmp_path / "judge.safetensors"
    )
    code = f"""
import sys
from pathlib import Path
from ornstein.bundle import Bundle, load_any
for path in sorted(Path({str(tmp_path)!r}).glob("*.safetensors")):
    model = load_any(path)
    if isinstance(model, Bundle):
        model.sample(1, steps=2, guidance=2.0)
    print(path.stem, [m for m in ("torch._dynamo", "sympy") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    names = sorted([*nets, "image", "series", "vector", "judge"])
    assert (done.stderr, done.stdout.split("\n")[:-1]) == ("", [f"{name} []" for name in names])


@pytest.mark.parametrize(
    ("process", "options"), [("ve", {"sigma_max": 100_000}), ("linear", {"steps": 100_000})]
)
def test_a_model_of_any_process_that_can_be_opens_again(
    process: str, options: dict[str, int], tmp_path: Path
) -> None:
    """Numbers above 65,536 were trained with, saved, and refused for ever after."""
    bundle = make_bundle("vector", process=process, process_options=options)
    found = load(bundle.save(tmp_path / "m.safetensors"))
    assert found.process_options == options
    assert torch.equal(found.make_process()(1.0).sigma, bundle.make_process()(1.0).sigma)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditions": (class_of(("a", "b", "c"), "n" * 201),)}, r"conditions\.0\.name: .* 200"),
        ({"sampler": Sampler(steps=10**6)}, r"sampler\.steps: .* 100000"),
    ],
)
def test_what_could_never_be_opened_again_is_not_saved(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"could never be opened again: {words}"):
        replace(make_bundle("vector"), **changes).save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_the_file_alone_makes_the_same_picture_in_a_fresh_process(tmp_path: Path) -> None:
    bundle = make_bundle("image")
    path = bundle.save(tmp_path / "m.safetensors")
    code = (
        "import sys, torch, ornstein; torch.set_num_threads(1)\n"
        "s = ornstein.load(sys.argv[1]).sample(3, seed=5, steps=4)\n"
        "sys.stdout.buffer.write(s.items.tobytes())"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = bundle.sample(3, seed=5, steps=4).items.tobytes()
    finally:
        torch.set_num_threads(threads)
    run = [sys.executable, "-c", code, str(path)]
    assert subprocess.run(run, capture_output=True, check=True, cwd=tmp_path).stdout == here


def test_a_model_is_found_by_file_run_directory_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_bundle("vector").save("runs/moons/model.safetensors")
    for source in ("runs/moons/model.safetensors", "runs/moons", Path("runs/moons"), "moons"):
        assert load(source).net == "mlp"
    with pytest.raises(UsageError, match=r"no run 'mons'\. Did you mean 'moons'\? Runs in runs/"):
        load("mons")
    (tmp_path / "runs" / "new").mkdir()
    (tmp_path / "runs" / "new" / "config.toml").touch()
    with pytest.raises(UsageError, match="has no model yet"):
        load("new")


class Trap:
    """Unpickling this would make a directory."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize(
    "name", ["model.ckpt", "m.pt", "m.pth", "m.pkl", "m.bin", "m.safetensors"]
)
@pytest.mark.parametrize("way", ["pickle", "torch"])
def test_pickles_are_refused_whatever_they_are_called(name: str, way: str, tmp_path: Path) -> None:
    path, canary = tmp_path / name, tmp_path / "canary"
    if way == "pickle":
        path.write_bytes(pickle.dumps(Trap(canary)))
    else:
        torch.save({"w": Trap(canary)}, path)
    with pytest.raises(ModelFileError) as caught:
        load(path)
    assert str(caught.value).startswith(
        f"{name} is a pickle file and could run code when opened. ornstein never opens those."
    )
    assert caught.value.exit_code == 65
    assert not canary.exists()


def test_cut_files_and_flipped_bits_are_all_detected(tmp_path: Path) -> None:
    path = make_bundle("vector").save(tmp_path / "m.safetensors")
    whole = path.read_bytes()
    rng = random.Random(0)
    for cut in range(20):
        path.write_bytes(whole[: len(whole) * cut // 20])
        with pytest.raises(ModelFileError):
            load(path)
    for place in rng.sample(range(8 * len(whole)), 200):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(ModelFileError):
            load(path)


def test_special_files_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(ModelFileError, match="not a regular file"):
        load(tmp_path / "pipe.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2)}, foreign)
    with pytest.raises(ModelFileError, match="not a model of ornstein"):
        load(foreign)
    foreign.write_bytes((10**9).to_bytes(8, "little") + b"{" * 100)
    with pytest.raises(ModelFileError, match="not a model of ornstein"):
        load(foreign)


def set_at(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def change(said: dict[str, Any]) -> None:
        for part in path[:-1]:
            said = said[part]
        said[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_at("format", to=999), r"format 999.*Install a newer version of ornstein\.$"),
        (set_at("format", to="x"), "description is not ours at 'format'"),
        (
            set_at("net", "name", to="os.system"),
            r"a net 'os.system'.*A newer version of ornstein may",
        ),
        (set_at("net", "options", "evil", to=1), "unknown option 'evil'"),
        (set_at("net", "options", "width", to=10**9), "larger than anything"),
        (set_at("net", "options", "width", to=65_000), "do not fit its network"),
        (set_at("net", "options", "shape", to=[10**9]), "larger than anything"),
        (set_at("net", "options", "shape", to=[10**8]), "do not fit its network"),
        (set_at("net", "options", "shape", to=[10**8] * 4), "an MLP takes items of shape"),
        (set_at("net", "options", "width", to="32"), "must be a whole number"),
        (set_at("net", "options", "layers", to=3), "do not fit its network"),
        (set_at("target", to="X"), "names a target"),
        (set_at("process", "name", to="X"), "names a process"),
        (set_at("process", "options", to={"sigma_max": -1.0}), "sigma_min < sigma_max"),
        (set_at("process", "options", to={"x": 1}), "unknown option 'x'"),
        (set_at("process", "options", to={"sigma_max": 10**400}), "a value that cannot be"),
        (
            set_at("process", to={"name": "linear", "options": {"steps": 10**12}}),
            "a chain has at most 1,000,000 steps",
        ),
        (set_at("sampler", "solver", to="X"), "names a solver"),
        (set_at("sampler", "steps", to=10**9), "sampler.steps"),
        (set_at("sampler", "guide", to=guide(kind="X")), "unknown guidance 'X'"),
        (set_at("sampler", "guide", to=guide(low=4.0)), "not 4 to 3"),
        (set_at("sampler", "guide", to=guide(rescale=2.0)), "sampler.guide.rescale"),
        (set_at("shape", to=[3]), "do not fit its network"),
        (set_at("conditions", 0, "names", to=["a"]), "do not fit its network"),
        (set_at("conditions", to=[]), "do not fit its network"),
        (set_at("conditions", 0, "kind", to="numbers"), "cannot be of kind"),
        (set_at("conditions", 0, "names", to=["a", "a", "b"]), "are the same"),
        (set_at("conditions", 0, "shape", to=[0]), "conditions.0.shape"),
        (set_at("coding", to={}), "coding in the file is damaged"),
        (set_at("coding", to={"coding": ["x"]}), r"a coding '\['x'\]', unknown here"),
        (set_at("coding", "levels", to=math.inf), "coding in the file is damaged"),
        (set_at("conditions", 0, to=number()), "coding in the file is damaged"),
        (set_at("more", to=1), "'more'"),
        (lambda said: said.pop("coding"), "'coding'"),
        (lambda said: said.pop("net"), "'net'"),
    ],
)
def test_a_description_that_cannot_be_is_refused_by_a_sentence(
    change: Callable[[dict[str, Any]], None], words: str, tmp_path: Path
) -> None:
    path = make_bundle("vector").save(tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match=words) as caught:
        load(rewritten(path, change))
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_that_no_file_can_hold_is_none_of_ours(tmp_path: Path) -> None:
    """Half of a pair of UTF-16, which JSON can name and UTF-8 cannot hold."""
    data = make_bundle("vector").save(tmp_path / "m.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    half = data[8 : 8 + size].replace(b"CC0-1.0", rb"\ud800")
    (tmp_path / "half.safetensors").write_bytes(
        len(half).to_bytes(8, "little") + half + data[8 + size :]
    )
    with pytest.raises(ModelFileError, match="is not a model of ornstein"):
        load(tmp_path / "half.safetensors")


def test_an_unsigned_change_is_damage(tmp_path: Path) -> None:
    path = make_bundle("vector").save(tmp_path / "m.safetensors")
    changed = rewritten(path, set_at("weights", to="other"), sign=False)
    with pytest.raises(ModelFileError, match="does not match its hash"):
        load(changed)


def test_loading_does_not_move_the_callers_random_numbers(tmp_path: Path) -> None:
    path = make_bundle("image").save(tmp_path / "m.safetensors")

    def draw(opened: bool) -> Tensor:
        torch.manual_seed(3)
        if opened:
            load(path)
        return torch.rand(3)

    assert torch.equal(draw(True), draw(False))


def test_the_fingerprint_names_the_weights() -> None:
    one, two = make_bundle("vector", seed=0), make_bundle("vector", seed=1)
    assert one.fingerprint == make_bundle("vector", seed=0).fingerprint
    assert one.fingerprint != two.fingerprint
    assert isinstance(one, Bundle)


SECONDS = (1, 88_200)  # of sound, two


@pytest.mark.parametrize("beside", [False, True])
def test_a_model_of_long_items_opens_again(tmp_path: Path, beside: bool) -> None:
    """One was saved that no version could open: its length was taken for a width."""
    rough = Declared("rough", "picture", (), CODINGS["series"], SECONDS)
    told = (rough,) if beside else ()
    net = UNet(SECONDS, {d.name: d.net for d in told}, widths=(8,), blocks=(1,), attention=())
    bundle = replace(
        make_bundle("series"), model=Model(net, TARGETS["edm"]()), shape=SECONDS, conditions=told
    )
    found = load(bundle.save(tmp_path / "m.safetensors"))
    assert (found.shape, found.conditions) == (SECONDS, told)
    judge = Classifier(Encoder(SECONDS, 2, widths=(8,), blocks=(1,), attention=()))
    whole = Recogniser(judge, CODINGS["series"], SECONDS, ("a", "b"), "raw", {})
    assert load_any(whole.save(tmp_path / "c.safetensors")).shape == SECONDS


def test_a_shape_beyond_any_memory_is_refused_before_it_is_made(tmp_path: Path) -> None:
    net = UNet((1, 8, 8), {}, widths=(8,), blocks=(1,), attention=(), wiener=4)
    bundle = replace(
        make_bundle("image"), model=Model(net, TARGETS["edm"]()), shape=(1, 8, 8), conditions=()
    )
    path = bundle.save(tmp_path / "m.safetensors")
    for side in (10**4, 10**8):
        shape = [1, *[side] * 3]
        both = [set_at("net", "options", "shape", to=shape), set_at("shape", to=shape)]
        with pytest.raises(ModelFileError, match="do not fit its network"):
            load(rewritten(path, lambda said, both=both: [change(said) for change in both]))


def mixed() -> Bundle:
    """A model that sees the guess of two Gaussians for each of thirty classes."""
    few: dict[str, Any] = {"widths": (8,), "blocks": (1,), "attention": ()}
    net = UNet((1, 8, 8), of_classes(30), **few, wiener=1, gaussians=2)
    classes = (class_of([str(k) for k in range(30)]),)
    return replace(
        make_bundle("image"),
        model=Model(net, TARGETS["edm"]()),
        shape=(1, 8, 8),
        conditions=classes,
    )


@pytest.mark.parametrize(
    ("bundle", "option", "huge"),
    [(make_bundle("vector"), "layers", 4000), (make_bundle("image"), "blocks", [4000, 4000]),
     (mixed(), "gaussians", 65_536)],
)  # fmt: skip
def test_a_small_file_that_asks_for_much_is_refused_in_little_memory(
    bundle: Bundle, option: str, huge: object, tmp_path: Path
) -> None:
    path = bundle.save(tmp_path / "m.safetensors")
    assert load(path).fingerprint == bundle.fingerprint
    changed = rewritten(path, set_at("net", "options", option, to=huge))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="do not fit its network"):
            load(changed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6
