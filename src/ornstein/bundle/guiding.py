"""Guiding a trained model: what leads towards the conditions, and away from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ornstein.bundle.asking import Said, heard
from ornstein.bundle.parts import Sampler
from ornstein.bundle.recogniser import Recogniser
from ornstein.core import Denoiser, Estimate, Level
from ornstein.data.conditions import CLASS
from ornstein.errors import UsageError
from ornstein.guide import Pair, apart, classifier_guided, together, within

if TYPE_CHECKING:
    from ornstein.bundle.bundle import Bundle


@dataclass(frozen=True, eq=False)
class Leads:
    """What guidance leads by, beside the model itself; no part of its file.

    Attributes:
        negative: What to go away from, in the place of "nothing said".
        weak: A smaller or less trained model of the same data to go away from
            (arXiv:2406.02507).
        judge: A classifier of noisy items that leads towards the class (arXiv:2105.05233).
        lent: Whether the model knows no classes of its own but those of the judge.
        words: What ``negative`` says, as JSON; of a picture its hash.
    """

    negative: Said | None = None
    weak: Bundle | None = None
    judge: Recogniser | None = None
    lent: bool = False
    words: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What samples follow from, fit for JSON; empty where nothing leads."""
        other = self.weak or self.judge
        return {
            **({"negative": dict(self.words)} if self.words else {}),
            **({"guided_by": other.fingerprint} if other else {}),
        }


def led(bundle: Bundle, negative: Said | None, by: Bundle | Recogniser | None) -> Leads:
    """Check what is to lead a model.

    Raises:
        UsageError: it is of other data, or the model does not know what is said.
    """
    if negative and by is not None:
        raise UsageError(
            "guidance leads away from a negative condition or from another model's answers; "
            "ask for one of the two."
        )
    told = heard(bundle.conditions, negative or {})
    if by is None:
        words = {name: told[name].text if name in told else None for name in negative or {}}
        return Leads(negative or None, words=words)
    if by.shape != bundle.shape or by.coding != bundle.coding:
        raise UsageError(
            f"a model of {_form(bundle.shape)} cannot be guided by one of {_form(by.shape)}; both "
            "must have been trained on the same data at the same size."
        )
    if not isinstance(by, Recogniser):
        if by.upscales != bundle.upscales:
            raise UsageError(
                "a model that makes large items of small ones cannot guide one that makes its "
                "own, nor be guided by it; both must have been trained for one task."
            )
        return Leads(weak=by)
    if bundle.classes and bundle.classes != by.classes:
        raise UsageError(
            f"the classifier knows the classes {', '.join(by.classes[:10])}, the model "
            f"{', '.join(bundle.classes[:10])}; they must be the same."
        )
    return Leads(judge=by, lent=not bundle.classes)


def guided(bundle: Bundle, cond: Mapping[str, Tensor], way: Sampler) -> Denoiser:
    """Bind conditions, (B, ...) each, and guide as the way says; see :class:`Leads`."""
    leads = bundle.leads
    here = {name: value.to(bundle.device) for name, value in cond.items()}
    own = {n: v for n, v in here.items() if not (leads.lent and n == CLASS)}
    plain = bundle.model.given(own)
    if leads.judge is not None:
        # A model that knows the class has Bayes' rule behind it, so that scale 1 is off.
        scale = way.guidance - (CLASS in own)
        if CLASS not in here or scale == 0:
            return plain
        judge = leads.judge.to(bundle.device).model
        pulled = classifier_guided(plain, judge.of(here[CLASS]), scale)
        everywhere = way.guide.low == 0 and way.guide.high == inf
        return pulled if everywhere else within(pulled, plain, way.guide.low, way.guide.high)
    if leads.weak is not None:
        names = {condition.name for condition in leads.weak.conditions}
        weak = leads.weak.to(bundle.device).model
        pair = apart(plain, weak.given({n: v for n, v in own.items() if n in names}))
    elif own or leads.negative:
        pair = _pair(bundle, own, leads.negative)
    else:
        return plain
    return way.guide.bind(plain, pair, way.guidance, bundle.levels(way))


def _pair(bundle: Bundle, own: Mapping[str, Tensor], negative: Said | None) -> Pair:
    """The model under what is said, and under what to go away from; either may be nothing."""
    against = bundle.cond(1, negative, None).items()
    far = {name: value.to(bundle.device) for name, value in against}

    def both(x: Tensor, level: Level) -> tuple[Estimate, Estimate]:
        away = {name: value.expand(len(x), *value.shape[1:]) for name, value in far.items()}
        null = bundle.null({**away, **own})
        return together(bundle.model, {**null, **own}, {**null, **away})(x, level)

    return both


def calls(bundle: Bundle, cond: Mapping[str, Tensor], way: Sampler, levels: Level) -> int:
    """Calls of the network for one answer of the guided denoiser at each level.

    A classifier's are not counted.
    """
    leads = bundle.leads
    alone = leads.judge is not None or not (cond or leads.weak or leads.negative)
    once, twice = len(levels), int(way.guide.at(levels).sum())
    return once if alone or way.guide.off(way.guidance) else once + twice


def _form(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
