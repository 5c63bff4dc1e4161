"""From the description in a model file to the model: names looked up, options checked first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ornstein.bundle.bundle import Bundle
from ornstein.bundle.description import (
    Description,
    Made,
    Recognition,
    TunedLevels,
    bounded,
    known,
)
from ornstein.bundle.parts import TunedGrid
from ornstein.bundle.recogniser import Recogniser
from ornstein.config.options import bind, check_options
from ornstein.core import GRIDS, PROCESSES, TARGETS, Level, Uncertainty, check_descent
from ornstein.data.codings import coding_from_json
from ornstein.data.conditions import Declared, class_of
from ornstein.errors import ModelFileError
from ornstein.guide import Guide
from ornstein.model import Classifier, Model
from ornstein.nets import NETS
from ornstein.nets.conditions import of_classes
from ornstein.nets.encoder import Encoder
from ornstein.solvers import SOLVERS


def description(bundle: Bundle | Recogniser) -> dict[str, Any]:
    """All of a model or a classifier but its weights, as JSON for the header of its file."""
    net = bundle.model.net.options()  # type: ignore[operator]
    common = {
        "data_std": float(bundle.model.data_std),
        "coding": bundle.coding.to_json(),
        "shape": list(bundle.shape),
        "weights": bundle.weights,
        "provenance": dict(bundle.provenance),
    }
    if isinstance(bundle, Recogniser):
        return {**common, "classifier": net, "classes": list(bundle.classes)}
    measured = bundle.model.uncertainty
    return {
        **common,
        "net": {"name": bundle.net, "options": net},
        "target": bundle.target,
        "process": {"name": bundle.process, "options": dict(bundle.process_options)},
        "learned": bundle.model.learned,
        "uncertainty": asdict(measured) if measured else None,
        "conditions": [declared.to_json() for declared in bundle.own],
        "sampler": bundle.sampler.settings,
        "tuned": [found.settings for found in bundle.tuned],
    }


def described_as(fields: dict[str, Any]) -> Description | Recognition:
    """Check a header, of a model or of a classifier."""
    kind = Recognition if "classifier" in fields else Description
    return kind.model_validate(fields)


def limited(said: Description | Recognition) -> None:
    """Refuse a description whose network could ask for endless work."""
    bounded(said.classifier if isinstance(said, Recognition) else said.net.options)


def built(said: Description | Recognition, tensors: dict[str, Tensor]) -> Bundle | Recogniser:
    """Build the model or the classifier that a file describes.

    Raises:
        OrnsteinError: a name, an option or a tensor that cannot be.
    """
    limited(said)
    return _recogniser(said, tensors) if isinstance(said, Recognition) else _bundle(said, tensors)


def _recogniser(said: Recognition, tensors: dict[str, Tensor]) -> Recogniser:
    net = _filled("the classifier", Encoder, said.classifier, tensors)
    if [net.options()[name] for name in ("shape", "answers")] != [said.shape, len(said.classes)]:
        raise ModelFileError("the shape or the classes in the file do not fit its network.")
    return Recogniser(
        Classifier(net, said.data_std),
        coding_from_json(said.coding),
        tuple(said.shape),
        tuple(said.classes),
        said.weights,
        said.provenance,
    )


def _bundle(said: Description, tensors: dict[str, Tensor]) -> Bundle:
    known("net", said.net.name, NETS)
    known("target", said.target, TARGETS)
    known("process", said.process.name, PROCESSES)
    known("solver", said.sampler.solver, SOLVERS)
    known("grid", said.sampler.grid, GRIDS)
    known("schedule", said.sampler.schedule or "edm", PROCESSES)
    made = _with_conditions(said.net)
    net = _filled(f"net '{made.name}'", NETS[made.name], made.options, tensors)
    _check_process(said.process)
    options = net.options()
    conditions = _conditions(said)
    if (list(options["shape"]), options["conditions"]) != (
        said.shape,
        {declared.name: declared.net for declared in conditions},
    ):
        raise ModelFileError("the shape or the conditions in the file do not fit its network.")
    if options["outputs"] != (2 if said.learned else 1):
        raise ModelFileError(
            f"the file says that the variance is {'' if said.learned else 'not '}learned, which "
            "does not fit the outputs of its network."
        )
    return Bundle(
        model=_model(said, net),
        net=said.net.name,
        target=said.target,
        process=said.process.name,
        process_options=said.process.options,
        coding=coding_from_json(said.coding),
        shape=tuple(said.shape),
        conditions=conditions,
        sampler=said.sampler.made,
        tuned=tuple(_tuned(found, said.process) for found in said.tuned),
        weights=said.weights,
        provenance=said.provenance,
    )


def _check_process(said: Made) -> None:
    """Refuse options of which no process can be made, or none with a noisiest level."""
    make = PROCESSES[said.name]
    check_options("the file", f"process '{said.name}'", make, said.options)

    def noisiest(**options: Any) -> Level:  # noqa: ANN401 - whatever the file says
        return make(**options)(1.0)

    bind("the options of the process in the file", noisiest, said.options)


def _with_conditions(said: Made) -> Made:
    """A network as it is described now: the first files had a number of classes."""
    if "classes" not in said.options:
        return said
    options = {name: value for name, value in said.options.items() if name != "classes"}
    conditions = of_classes(said.options["classes"])
    return Made(name=said.name, options={**options, "conditions": conditions})


def _conditions(said: Description) -> tuple[Declared, ...]:
    """What may be said of the items; the first files had names of classes only."""
    known = [Declared.from_json(declared.model_dump()) for declared in said.conditions]
    return (*([class_of(said.classes)] if said.classes else []), *known)


def _tuned(said: TunedLevels, process: Made) -> TunedGrid:
    """The levels found for the model, after a look at whether its schedule has them."""
    known("solver", said.solver, SOLVERS)
    known("schedule", said.schedule, PROCESSES)
    options = process.options if said.schedule == process.name else {}
    guide = said.guide.made if said.guide else Guide()
    plain = said.model_dump(exclude={"guide"})
    found = TunedGrid(**{**plain, "places": tuple(said.places)}, guide=guide)
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


def _filled(
    what: str,
    make: Callable[..., nn.Module],
    options: dict[str, Any],
    tensors: dict[str, Tensor],
) -> Any:  # noqa: ANN401 - one of NETS
    """Build the network, after its layout was compared with the tensors that came."""
    check_options("the file", what, make, options)
    _check_layers(options, tensors)
    where = "the options of the net in the file"
    with torch.device("meta"), _Unset():
        expected = {n: t.shape for n, t in bind(where, make, options).state_dict().items()}
    found = {name: value.shape for name, value in tensors.items()}
    if expected != found:
        odd = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        raise ModelFileError(
            f"the weights in the file do not fit its network: {odd[0][:80]} and "
            f"{len(odd) - 1} others."
        )
    # Loading a model must not move the caller's stream.
    with torch.random.fork_rng(devices=[]), _Unset():
        net = bind(where, make, options)
    net.load_state_dict(tensors)
    return net


class _Unset(TorchFunctionMode):
    """Within it weights get no first values: they are about to be filled.

    On the device "meta" there is no memory for any, and to find that out torch would load its
    compiler, which takes as long as torch itself.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        """Leave out what ``torch.nn.init`` does; call all else."""
        named = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def _check_layers(options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse more layers than tensors came: even without weights each takes time and memory."""
    blocks = options.get("blocks")
    counts = [options.get("depth"), options.get("layers")]
    counts += blocks if isinstance(blocks, list) else []
    # What is no number is refused where the network is made.
    layers = sum(count for count in counts if isinstance(count, int))
    if layers > len(tensors):
        raise ModelFileError(
            f"the weights in the file do not fit its network: {len(tensors):,} tensors for "
            f"{layers:,} layers."
        )
