"""The families of generative models that are compared: one line each."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import NamedTuple

from ornstein.comparing.diffusion import fit_diffusion
from ornstein.comparing.family import Fit
from ornstein.comparing.flow import fit_flow
from ornstein.comparing.gan import fit_gan
from ornstein.comparing.vae import fit_vae
from ornstein.errors import UsageError


class Family(NamedTuple):
    """One family.

    Attributes:
        title: What a figure calls it.
        likelihood: What it can say of the likelihood of an item.
        fit: Trains it.
        needs: Library that it cannot do without.
    """

    title: str
    likelihood: str
    fit: Fit
    needs: str | None = None


FAMILIES = {
    "gan": Family("GAN", "none", fit_gan),
    "vae": Family("VAE", "bound, importance-weighted", fit_vae),
    "flow": Family("flow", "exact", fit_flow, "zuko"),
    "diffusion": Family("diffusion", "by its ODE, of levels a bound", fit_diffusion),
}


def check_needs(names: Iterable[str]) -> None:
    """Refuse families whose library is not installed, before anything is spent.

    Raises:
        UsageError: which, and what to do.
    """
    for name in names:
        needs = FAMILIES[name].needs
        if needs is not None and find_spec(needs) is None:
            others = " ".join(other for other in FAMILIES if not FAMILIES[other].needs)
            raise UsageError(
                f"the family '{name}' needs the library {needs}: pip install {needs}, or "
                f"name the others: ornstein compare DATA {others}"
            )
