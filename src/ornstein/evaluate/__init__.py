"""Quality of samples: arrays in, stamped numbers out; never a model.

reference = reference_of(dataset)     # trains a small classifier once, then reads the data
print(score(samples, reference, asked=labels, made={"solver": "heun", "steps": 20}))
"""

from ornstein.evaluate.features import (
    ClassifierFeatures,
    Features,
    Reading,
    cached_features,
    load_features,
    save_features,
    train_features,
)
from ornstein.evaluate.frechet import (
    Moments,
    Number,
    frechet,
    frechet_gaussian,
    frechet_with_error,
    moments,
)
from ornstein.evaluate.metrics import METRICS, Metric
from ornstein.evaluate.reference import Reference, reference_of
from ornstein.evaluate.report import Quality, Row, Stamp, score

__all__ = [
    "METRICS",
    "ClassifierFeatures",
    "Features",
    "Metric",
    "Moments",
    "Number",
    "Quality",
    "Reading",
    "Reference",
    "Row",
    "Stamp",
    "cached_features",
    "frechet",
    "frechet_gaussian",
    "frechet_with_error",
    "load_features",
    "moments",
    "reference_of",
    "save_features",
    "score",
    "train_features",
]
