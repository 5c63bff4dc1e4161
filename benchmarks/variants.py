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
        dear: Why it is run only when asked for, if it is.
    """

    library: str
    title: str
    options: tuple[str, ...] = ()
    alike: bool = False
    dear: str = ""

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
LAST, HALF = "channels_last", "bfloat16"

VARIANTS: dict[str, Variant] = {
    "diffusers": Variant("diffusers", "diffusers, default", (), True),
    "diffusers-cl": Variant("diffusers", "diffusers, channels_last", (LAST,), True),
    "diffusers-bf16": Variant("diffusers", "diffusers, bfloat16", (HALF,), True, "bfloat16"),
    "diffusers-cl-bf16": Variant(
        "diffusers", "diffusers, channels_last, bfloat16", (LAST, HALF), True, "bfloat16"
    ),
    "diffusers-compile": Variant(
        "diffusers", "diffusers, channels_last, compiled", (LAST, "compile"), True, "compile"
    ),
    "lucidrains": Variant("lucidrains", "denoising-diffusion-pytorch, default"),
    "lucidrains-cl": Variant("lucidrains", "denoising-diffusion-pytorch, channels_last", (LAST,)),
    "lucidrains-cl-bf16": Variant(
        "lucidrains",
        "denoising-diffusion-pytorch, channels_last, bfloat16",
        (LAST, HALF),
        False,
        "bfloat16",
    ),
    "azula": Variant("azula", "azula, default (a smaller net)"),
    "azula-cl": Variant("azula", "azula, channels_last (a smaller net)", (LAST,)),
    "azula-cl-bf16": Variant(
        "azula", "azula, channels_last, bfloat16 (a smaller net)", (LAST, HALF), False, "bfloat16"
    ),
    "twin": Variant(OWN, "**ornstein, the same architecture**", ("twin",), True),
    "twin-bf16": Variant(
        OWN, "ornstein, the same architecture, bfloat16", ("twin", HALF), True, "bfloat16"
    ),
    "own": Variant(OWN, "ornstein, its own default network"),
}


def chosen(names: tuple[str, ...], extras: set[str], peer_python: Path) -> dict[str, Variant]:
    """The variants of these names; of no names, all but the dear ones that were not asked for.

    Raises:
        UsageError: no such variant, or no such Python for the peers among them.
    """
    for name in names:
        if name not in VARIANTS:
            raise UsageError(
                f"unknown variant '{name}'; there are {', '.join(VARIANTS)}.{near(name, VARIANTS)}"
            )
    every = {k: v for k, v in VARIANTS.items() if not v.dear or v.dear in extras}
    found = {name: VARIANTS[name] for name in names} or every
    check_python(tuple(v.library for v in found.values() if v.library != OWN), peer_python)
    return found
