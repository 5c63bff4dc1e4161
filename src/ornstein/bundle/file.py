"""The model on disk: one safetensors file whose header describes everything in JSON.

Nothing in a file is code. Names are looked up in our tables, options are checked against
signatures, and the network is laid out without memory first, so that a file cannot ask for more
than it brings.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ornstein import __version__
from ornstein.bundle.bundle import Bundle
from ornstein.bundle.description import Description, Made, TunedLevels, bounded, known
from ornstein.bundle.parts import Sampler, TunedGrid
from ornstein.config.options import bind, check_options
from ornstein.core import GRIDS, PROCESSES, TARGETS, Uncertainty, check_descent
from ornstein.data.codings import coding_from_json
from ornstein.errors import ModelFileError, OrnsteinError, UsageError, near
from ornstein.model import Model
from ornstein.nets import NETS
from ornstein.nets.conditions import of_classes
from ornstein.solvers import SOLVERS
from ornstein.training.disk import explained, make_folder, read_file, write_atomically

FORMAT = 1
FILE = "model.safetensors"
MAX_FILE = 1 << 36
MAX_HEADER = 100_000_000
PICKLES = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".joblib", ".npz", ".tar"}


def save(bundle: Bundle, path: str | Path) -> Path:
    """Write a bundle to one file, whole or not at all.

    Raises:
        DiskError: the disk is full, read-only or gone.
    """
    path, measured = Path(path), bundle.model.uncertainty
    described = {
        "format": FORMAT,
        "ornstein": __version__,
        "net": {"name": bundle.net, "options": bundle.model.net.options()},  # type: ignore[operator]
        "target": bundle.target,
        "process": {"name": bundle.process, "options": dict(bundle.process_options)},
        "data_std": float(bundle.model.data_std),
        "learned": bundle.model.learned,
        "uncertainty": asdict(measured) if measured else None,
        "coding": bundle.coding.to_json(),
        "shape": list(bundle.shape),
        "classes": list(bundle.classes),
        "sampler": asdict(bundle.sampler),
        "tuned": [asdict(found) for found in bundle.tuned],
        "weights": bundle.weights,
        "provenance": dict(bundle.provenance),
    }
    text = json.dumps(described, sort_keys=True, allow_nan=False)
    weights = bundle.model.net.state_dict()
    raw = save_tensors({n: t.detach().cpu().contiguous().clone() for n, t in weights.items()})
    header, body = _split(raw)
    digest = hashlib.sha256(text.encode() + body).hexdigest()
    header["__metadata__"] = {"format": "pt", "ornstein": text, "sha256": digest}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with explained(f"saving {path.name}", path.parent, len(raw)):
        make_folder(path.parent)
    write_atomically(path, len(head).to_bytes(8, "little") + head + body)
    return path


def load(source: str | Path, runs: str | Path = "runs") -> Bundle:
    """Load a model from its file, a run directory, or the name of a run in ``runs``.

    Raises:
        UsageError: there is nothing by that name.
        ModelFileError: not one of our files, damaged, or written by a newer version.
    """
    path = find(source, runs)
    if path.suffix.lower() in PICKLES:
        raise _pickle(path)
    try:
        data = read_file(path, MAX_FILE)
    except ModelFileError as error:
        raise ModelFileError(f"cannot read {path}: {str(error).partition(': ')[2]}.") from error
    # Ours begin with a length and a brace; a length may well begin with a pickle's 0x80.
    if data[8:9] != b"{" and (data[:1] == b"\x80" or data[:4] == b"PK\x03\x04"):
        raise _pickle(path)
    try:
        return _parse(path, data)
    except (OrnsteinError, ValidationError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path} cannot be used: {_reason(error)}") from error


def find(source: str | Path, runs: str | Path = "runs") -> Path:
    """Return the model file that ``source`` means.

    Raises:
        UsageError: there is nothing by that name; the runs there are are named.
    """
    for place in (Path(source), Path(runs) / str(source)):
        if place.is_dir():
            if (place / FILE).exists():
                return place / FILE
            if (place / "config.toml").exists():
                raise UsageError(
                    f"the run {place} has no model yet: nothing was saved. Start it again with "
                    f"the "
                    "same command."
                )
        elif place.exists():
            return place
    known = sorted(p.parent.name for p in Path(runs).glob(f"*/{FILE}"))
    listed = (
        f" Runs in {runs}/: {', '.join(known[:20])}." if known else f" No runs in {runs}/ yet."
    )
    raise UsageError(f"no model file and no run '{source}'.{near(str(source), known)}{listed}")


def _parse(path: Path, data: bytes) -> Bundle:
    try:
        header, body = _split(data)
        meta = header.get("__metadata__") or {}
        text = meta["ornstein"]
        described = json.loads(text)
        number = described["format"]
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(
            f"{path} is no model of ornstein, or is cut short. It opens only what it wrote "
            f"itself; "
            "train a model with: ornstein train DATA"
        ) from error
    if type(number) is int and number > FORMAT:
        raise ModelFileError(
            f"{path} was written by ornstein {str(described.get('ornstein'))[:30]} (format "
            f"{number}); "
            f"this is {__version__} (format {FORMAT}).  pip install -U ornstein"
        )
    if hashlib.sha256(text.encode() + body).hexdigest() != meta.get("sha256"):
        raise ModelFileError(
            f"{path} is damaged: its content does not fit its hash. Copy it again."
        )
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(f"{path} is damaged: its tensors cannot be read.") from error
    return _build(Description.model_validate(described), tensors)


def _build(said: Description, tensors: dict[str, Tensor]) -> Bundle:
    known("net", said.net.name, NETS)
    known("target", said.target, TARGETS)
    known("process", said.process.name, PROCESSES)
    known("solver", said.sampler.solver, SOLVERS)
    known("grid", said.sampler.grid, GRIDS)
    known("schedule", said.sampler.schedule or "edm", PROCESSES)
    bounded(said.net.options)
    bounded(said.process.options)
    net = _net(_with_conditions(said.net), tensors)
    make = PROCESSES[said.process.name]
    check_options("the file", f"process '{said.process.name}'", make, said.process.options)
    bind("the options of the process in the file", make, said.process.options)
    options = net.options()
    if list(options["shape"]) != said.shape or options["conditions"] != of_classes(
        len(said.classes)
    ):
        raise ModelFileError("the shape or the classes in the file do not fit its network.")
    if options["outputs"] != (2 if said.learned else 1):
        raise ModelFileError("the file has no network with the variance that it says is learned.")
    return Bundle(
        model=_model(said, net),
        net=said.net.name,
        target=said.target,
        process=said.process.name,
        process_options=said.process.options,
        coding=coding_from_json(said.coding),
        shape=tuple(said.shape),
        classes=tuple(said.classes),
        sampler=Sampler(**said.sampler.model_dump()),
        tuned=tuple(_tuned(found, said.process) for found in said.tuned),
        weights=said.weights,
        provenance=said.provenance,
    )


def _with_conditions(said: Made) -> Made:
    """A network as it is described now: the first files had a number of classes."""
    if "classes" not in said.options:
        return said
    options = {name: value for name, value in said.options.items() if name != "classes"}
    conditions = of_classes(said.options["classes"])
    return Made(name=said.name, options={**options, "conditions": conditions})


def _tuned(said: TunedLevels, process: Made) -> TunedGrid:
    """The levels found for the model, after a look at whether its schedule has them."""
    known("solver", said.solver, SOLVERS)
    known("schedule", said.schedule, PROCESSES)
    options = process.options if said.schedule == process.name else {}
    found = TunedGrid(**{**said.model_dump(), "places": tuple(said.places)})
    check_descent(found.levels(PROCESSES[said.schedule](**options)))
    return found


def _model(said: Description, net: nn.Module) -> Model:
    known = said.uncertainty
    return Model(
        net,
        TARGETS[said.target](),
        said.data_std,
        learned=said.learned,
        uncertainty=Uncertainty(tuple(known.log_snr), tuple(known.ratio)) if known else None,
    )


def _net(said: Made, tensors: dict[str, Tensor]) -> Any:  # noqa: ANN401 - one of NETS
    """Build the network, after its layout was compared with the tensors that came."""
    make = NETS[said.name]
    check_options("the file", f"net '{said.name}'", make, said.options)
    where = "the options of the net in the file"
    with torch.device("meta"):
        expected = {n: t.shape for n, t in bind(where, make, said.options).state_dict().items()}
    found = {name: value.shape for name, value in tensors.items()}
    if expected != found:
        odd = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        raise ModelFileError(
            f"the weights in the file do not fit its network: {odd[0][:80]} and {len(odd) - 1} "
            f"others."
        )
    with torch.random.fork_rng(devices=[]):  # loading a model must not move the caller's stream
        net = bind(where, make, said.options)
    net.load_state_dict(tensors)
    return net


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON header and the rest of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MAX_HEADER, len(data) - 8):
        raise ValueError("no safetensors header")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _pickle(path: Path) -> ModelFileError:
    return ModelFileError(
        f"{path.name} is a pickle file and could run code when opened. ornstein never opens "
        f"those. "
        "Models are .safetensors files; train one with: ornstein train DATA"
    )


def _reason(error: OrnsteinError | ValidationError) -> str:
    if isinstance(error, OrnsteinError):
        return str(error)
    fault = error.errors(include_url=False)[0]
    return f"its description is not ours at '{'.'.join(map(str, fault['loc']))}'."
