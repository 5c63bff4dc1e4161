"""Quality of samples: arrays in, stamped numbers out; never a model.

reference = reference_of(dataset)     # trains a small classifier once, then reads the data
print(score(samples, reference, asked=labels, made={"solver": "heun", "steps": 20}))
"""

from ornstein.evaluate.extractors import AUTO, FEATURES, extractor
from ornstein.evaluate.features import Features, Reading, ValueFeatures
from ornstein.evaluate.frechet import (
    Moments,
    frechet,
    frechet_gaussian,
    frechet_with_error,
    moments,
)
from ornstein.evaluate.kernel import kernel_distance, mean_distance
from ornstein.evaluate.learned import (
    LearnedFeatures,
    cached_features,
    load_features,
    save_features,
    train_features,
)
from ornstein.evaluate.metrics import METRICS, Metric, Pair
from ornstein.evaluate.neighbours import nearest, precision_recall, support
from ornstein.evaluate.novelty import Novelty, novelty
from ornstein.evaluate.number import Number
from ornstein.evaluate.reference import Reference, reference_of
from ornstein.evaluate.report import Quality, Row, score
from ornstein.evaluate.stamp import Stamp

__all__ = [
    "AUTO", "FEATURES", "METRICS", "Features", "LearnedFeatures", "Metric", "Moments",
    "Novelty", "Number", "Pair", "Quality", "Reading", "Reference", "Row", "Stamp",
    "ValueFeatures", "cached_features", "extractor", "frechet", "frechet_gaussian",
    "frechet_with_error", "kernel_distance", "load_features", "mean_distance", "moments",
    "nearest", "novelty", "precision_recall", "reference_of", "save_features", "score",
    "support", "train_features",
]  # fmt: skip
