"""A likelihood that cannot be misread: with its unit, its errors, and what it is the law of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ornstein.errors import UsageError

BIT = math.log(2)  # nats


@dataclass(frozen=True, eq=False, repr=False)
class Likelihood:
    """How likely items are under a model.

    Data of levels (8-bit pictures) have probabilities, told in bits: the length of the shortest
    code, less is better. Real numbers have densities, told in nats: more is better, and the number
    depends on the unit of the data.

    Attributes:
        items: Log-likelihood of each item in nats, (n,) float64.
        dims: Dimensions of an item.
        unit: "bits" or "nats".
        probe_errors: Standard error of each item by the probes of the trace, (n,); nan if unknown.
        solver: Error to expect of the integration, mean of the items it was measured on, in nats.
        evaluations: Calls of the network for each item, mean.
        dequantisation: How levels became real numbers; "none" for real numbers.
        of: What this is the likelihood of, and under what law.
        terms: Of a bound, what its value for one dimension is the sum of: "prior" (L_T), "steps"
            (all L_{t-1}), "decoder" (L_0) and, of levels with noise between them, "width", the
            log of the width of a level. Empty where there are none.
    """

    items: Tensor
    dims: int
    unit: str
    probe_errors: Tensor
    solver: float
    evaluations: float
    dequantisation: str
    of: str
    terms: Mapping[str, float] = field(default_factory=dict)

    @property
    def _scale(self) -> float:
        return BIT if self.unit == "bits" else 1.0

    @property
    def value(self) -> float:
        """Mean over the items: bits of their code, or nats of log density."""
        return float(self.items.mean()) / (-BIT if self.unit == "bits" else 1.0)

    @property
    def per_dim(self) -> float:
        """The same for one dimension: bits/dim, or nats/dim."""
        return self.value / self.dims

    @property
    def standard_error(self) -> float:
        """Standard error of the value over the items, with all that is random in each.

        Of one item it is that of the probes.
        """
        n = len(self.items)
        if n == 1:
            return self.probe_error
        return float(self.items.std()) / math.sqrt(n) / self._scale

    @property
    def probe_error(self) -> float:
        """The part of it that comes from the probes of the trace."""
        n = len(self.items)
        return float(self.probe_errors.square().sum().sqrt()) / n / self._scale

    @property
    def solver_error(self) -> float:
        """Error of the value to expect from the integration."""
        return self.solver / self._scale

    def told_in(self, unit: str) -> float:
        """The value for one dimension, if ``unit`` is its unit.

        Raises:
            UsageError: the other one; why it has no meaning here.
        """
        if unit == self.unit:
            return self.per_dim
        if unit not in ("bits", "nats"):
            raise UsageError(f"a likelihood is told in bits or in nats, not in '{unit}'.")
        raise UsageError(WHY[unit])

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values; what is unknown or not finite is null."""
        numbers = {
            "value": self.value,
            "per_dim": self.per_dim,
            "standard_error": self.standard_error,
            "probe_error": self.probe_error,
            "solver_error": self.solver_error,
            "evaluations": self.evaluations,
        }
        return {
            "unit": self.unit,
            **{name: v if math.isfinite(v) else None for name, v in numbers.items()},
            "items": len(self.items),
            "dims": self.dims,
            "dequantisation": self.dequantisation,
            "of": self.of,
            "terms": dict(self.terms),
        }

    def __repr__(self) -> str:
        """Say it in one line."""
        error = self.standard_error / self.dims
        return (
            f"Likelihood({self.per_dim:.4f} ± {error:.4f} {self.unit}/dim of {len(self.items):,} "
            f"items of {self.dims:,} dimensions; {self.of})"
        )


WHY = {
    "bits": "bits per dimension are for data of levels, such as 8-bit pictures: they are the "
    "length of a code, and only levels have codes of finite length. These are real numbers; their "
    "density is told in nats.",
    "nats": "a density in nats is for real numbers. These data are levels, at which a density "
    "grows without bound the less noise is left; their probability is told in bits per dimension.",
}
"""Why the unit of the key does not fit."""
