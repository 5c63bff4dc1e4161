"""The model on disk: one safetensors file whose header describes everything in JSON.

Nothing in a file is code. Names are looked up in our tables, options are checked against
signatures, and the network is laid out without memory first, so that a file cannot ask for more
than it brings.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from ornstein import __version__
from ornstein.bundle.bundle import Bundle
from ornstein.bundle.making import built, described_as, description, limited
from ornstein.bundle.recogniser import Recogniser
from ornstein.errors import ModelFileError, OrnsteinError, UsageError, near
from ornstein.training.disk import explained, make_folder, read_file, write_atomically
from ornstein.training.tensorfile import TensorFile

FORMAT = 2  # 1 had classes in place of conditions
FILE = "model.safetensors"
MAX_FILE = 1 << 36
MAX_HEADER = 100_000_000
PICKLES = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".joblib", ".npz", ".tar"}


def save(bundle: Bundle | Recogniser, path: str | Path) -> Path:
    """Write a model or a classifier to one file, whole or not at all.

    Raises:
        UsageError: the file could never be opened again.
        DiskError: the disk is full, read-only or gone.
    """
    path = Path(path)
    text = text_of(bundle)
    weights = bundle.model.net.state_dict()
    digest = hashlib.sha256(text.encode())
    for piece in TensorFile(weights).body():
        digest.update(piece)
    said = {"format": "pt", "ornstein": text, "sha256": digest.hexdigest()}
    file = TensorFile(weights, said)
    with explained(f"saving {path.name}", path.parent, len(file)):
        make_folder(path.parent)
    write_atomically(path, file)
    return path


def text_of(bundle: Bundle | Recogniser) -> str:
    """All that the header of a file says of a model, as JSON, checked as it is when opened.

    Raises:
        UsageError: the file could never be opened again.
    """
    said = {"format": FORMAT, "ornstein": __version__, **description(bundle)}
    text = json.dumps(said, sort_keys=True, allow_nan=False)
    try:
        limited(described_as(json.loads(text)))
    except (ModelFileError, ValidationError) as error:
        raise UsageError(
            f"a file of this model could never be opened again: {_bound(error)} Change the "
            "setting, or the name in the data, that it comes from."
        ) from error
    return text


def load(source: str | Path, runs: str | Path = "runs") -> Bundle:
    """Load a model from its file, a run directory, or the name of a run in ``runs``.

    Raises:
        UsageError: there is nothing by that name, or it is a classifier, which makes nothing.
        ModelFileError: not one of our files, damaged, or written by a newer version.
    """
    found = load_any(source, runs)
    if isinstance(found, Recogniser):
        raise UsageError(
            f"{source} is a classifier of noisy items and makes nothing by itself; guide a model "
            f"by it: ornstein sample MODEL --guide-by {source}"
        )
    return found


def load_any(source: str | Path, runs: str | Path = "runs") -> Bundle | Recogniser:
    """Load a model or a classifier, as :func:`load` does a model."""
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
                    "the same command."
                )
        elif place.exists():
            return place
    known = sorted(p.parent.name for p in Path(runs).glob(f"*/{FILE}"))
    listed = (
        f" Runs in {runs}/: {', '.join(known[:20])}." if known else f" No runs in {runs}/ yet."
    )
    raise UsageError(f"no model file and no run '{source}'.{near(str(source), known)}{listed}")


def _parse(path: Path, data: bytes) -> Bundle | Recogniser:
    try:
        header, body = _split(data)
        meta = header.get("__metadata__") or {}
        text = meta["ornstein"]
        described = json.loads(text)
        number = described["format"]
        digest = hashlib.sha256(text.encode())
        digest.update(body)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(
            f"{path} is not a model of ornstein, or is cut short. It opens only what it wrote "
            "itself; train a model with: ornstein train DATA"
        ) from error
    if type(number) is int and number > FORMAT:
        raise ModelFileError(
            f"{path} was written by ornstein {str(described.get('ornstein'))[:30]} (format "
            f"{number}); this is {__version__} (format {FORMAT}). Install a newer version of "
            "ornstein."
        )
    if digest.hexdigest() != meta.get("sha256"):
        raise ModelFileError(
            f"{path} is damaged: its content does not match its hash. Copy it again."
        )
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(f"{path} is damaged: its tensors cannot be read.") from error
    return built(described_as(described), tensors)


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON header and the rest of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MAX_HEADER, len(data) - 8):
        raise ValueError("no safetensors header")
    return json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :]


def _pickle(path: Path) -> ModelFileError:
    return ModelFileError(
        f"{path.name} is a pickle file and could run code when opened. ornstein never opens "
        "those. Models are .safetensors files; train one with: ornstein train DATA"
    )


def _reason(error: OrnsteinError | ValidationError) -> str:
    if isinstance(error, OrnsteinError):
        return str(error)
    return f"its description is not ours at '{_place(error)}'."


def _bound(error: OrnsteinError | ValidationError) -> str:
    """What a description exceeds."""
    if isinstance(error, OrnsteinError):
        return str(error)
    return f"{_place(error)}: {error.errors(include_url=False)[0]['msg']}."


def _place(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    return ".".join(map(str, fault["loc"]))
