"""Who is timed: libraries at their defaults, and with the options that make them faster."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import check_python
from ornstein.errors import UsageError, near

PEERS = Path(__file__).parent / "peers"
OWN = "ornstein"


@dataclass(frozen=True)
class Variant:
    """A library, and how it is asked to work.

    Attributes:
        library: Key of SCRIPTS, or "ornstein".
        title: What the table calls it.
        options: What its program is asked for.
        alike: Whether its network is that of diffusers.
        dear: Why it is run only when asked for: all of these must be.
        tasks: What it can do.
    """

    library: str
    title: str
    options: tuple[str, ...] = ()
    alike: bool = False
    dear: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("train", "sample")

    def command(self, peer_python: Path) -> list[str]:
        """What starts its program; the request is still to be added."""
        if self.library == OWN:
            return [sys.executable, "-m", "benchmarks.own_work"]
        return [str(peer_python), str(PEERS / SCRIPTS[self.library])]


SCRIPTS = {
    "diffusers": "diffusers_work.py",
    "lucidrains": "lucidrains_work.py",
    "azula": "azula_work.py",
}
LAST, HALF, FUSED = "channels_last", "bfloat16", "compile"
WEIGHTS = "bfloat16_weights"  # faster than autocast, and no way to train

VARIANTS: dict[str, Variant] = {
    "diffusers": Variant("diffusers", "diffusers, default", (), True),
    "diffusers-cl": Variant("diffusers", "diffusers, channels_last", (LAST,), True),
    "diffusers-bf16": Variant("diffusers", "diffusers, bfloat16", (HALF,), True, (HALF,)),
    "diffusers-cl-bf16": Variant(
        "diffusers", "diffusers, channels_last, bfloat16", (LAST, HALF), True, (HALF,)
    ),
    "diffusers-compile": Variant(
        "diffusers", "diffusers, channels_last, compiled", (LAST, FUSED), True, (FUSED,)
    ),
    "diffusers-compile-bf16": Variant(
        "diffusers",
        "diffusers, channels_last, bfloat16, compiled",
        (LAST, HALF, FUSED),
        True,
        (FUSED, HALF),
    ),
    "diffusers-weights-bf16": Variant(
        "diffusers",
        "diffusers, channels_last, bfloat16 weights",
        (LAST, WEIGHTS),
        True,
        (HALF,),
        ("sample",),
    ),
    "diffusers-compile-weights-bf16": Variant(
        "diffusers",
        "diffusers, channels_last, bfloat16 weights, compiled",
        (LAST, WEIGHTS, FUSED),
        True,
        (FUSED, HALF),
        ("sample",),
    ),
    "lucidrains": Variant("lucidrains", "denoising-diffusion-pytorch, default"),
    "lucidrains-cl": Variant("lucidrains", "denoising-diffusion-pytorch, channels_last", (LAST,)),
    "lucidrains-cl-bf16": Variant(
        "lucidrains",
        "denoising-diffusion-pytorch, channels_last, bfloat16",
        (LAST, HALF),
        False,
        (HALF,),
    ),
    "azula": Variant("azula", "azula, default (a smaller net)"),
    "azula-cl": Variant("azula", "azula, channels_last (a smaller net)", (LAST,)),
    "azula-cl-bf16": Variant(
        "azula", "azula, channels_last, bfloat16 (a smaller net)", (LAST, HALF), False, (HALF,)
    ),
    "twin": Variant(OWN, "**ornstein, the same architecture**", ("twin",), True),
    "twin-bf16": Variant(
        OWN, "ornstein, the same architecture, bfloat16", ("twin", HALF), True, (HALF,)
    ),
    "own": Variant(OWN, "ornstein, its own default network"),
}


def chosen(
    names: tuple[str, ...], extras: set[str], peer_python: Path, task: str = "sample"
) -> dict[str, Variant]:
    """The variants of these names; of no names, all but the dear ones that were not asked for.

    Raises:
        UsageError: no such variant, one that cannot do the task, or no such Python for the peers.
    """
    for name in names:
        if name not in VARIANTS:
            raise UsageError(
                f"unknown variant '{name}'; there are {', '.join(VARIANTS)}.{near(name, VARIANTS)}"
            )
        if task not in VARIANTS[name].tasks:
            able = ", ".join(VARIANTS[name].tasks)
            raise UsageError(f"the variant '{name}' is for {able}, not for {task}; leave it out.")
    every = {
        name: variant
        for name, variant in VARIANTS.items()
        if task in variant.tasks and extras.issuperset(variant.dear)
    }
    found = {name: VARIANTS[name] for name in names} or every
    check_python(tuple(v.library for v in found.values() if v.library != OWN), peer_python)
    return found
