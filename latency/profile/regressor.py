"""Regressor: a fitted regression as numbers, evaluated with numpy alone.

What is fitted lives in :mod:`..fitting.regression`; what a profile stores, and an estimate reads,
is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import InvalidProfile
from ..kernels.features import FEATURE_NAMES, Matrix, feature_matrix
from ..kernels.kernel import Kernel

COLUMNS = {name: column for column, name in enumerate(FEATURE_NAMES)}
LEAST_US = 1e-3  # no kernel takes less; keeps ratios finite

Method = Literal["non_negative_linear", "gradient_boosting", "random_forest"]


@dataclass(frozen=True, slots=True)
class Trees:
    """A sum of regression trees over the features; node arrays of all trees one after the other.

    Args:
        roots: index of each tree's first node.
        feature: index into ``names``, or -1 at a leaf.
        threshold: a row goes left where its feature is at most this.
        left, right: indices of the children.
        value: of a leaf.
        baseline: added to the sum of the trees' leaves.
        names: of the features asked for, as in :data:`..kernels.features.KERNEL_FEATURES`.
    """

    roots: tuple[int, ...]
    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]
    baseline: float = 0.0
    names: tuple[str, ...] = FEATURE_NAMES

    def __post_init__(self) -> None:
        nodes = len(self.feature)
        for name in ("threshold", "left", "right", "value"):
            if len(getattr(self, name)) != nodes:
                raise InvalidProfile(
                    f"{name!r} has {len(getattr(self, name))} nodes where 'feature' has {nodes}"
                )
        _check_names("names", self.names)
        if any(not 0 <= root < nodes for root in self.roots):
            raise InvalidProfile(f"a root lies outside the {nodes} nodes")
        for node, feature in enumerate(self.feature):
            if feature >= len(self.names):
                raise InvalidProfile(f"node {node} asks for feature {feature} of {len(self.names)}")
            # A child always comes after its parent, so that walking down must end.
            children = (self.left[node], self.right[node]) if feature >= 0 else ()
            if any(not node < child < nodes for child in children):
                raise InvalidProfile(f"node {node} has a child before it or outside the tree")

    def predict(self, x: Matrix) -> Matrix:
        """Sum over the trees for each row of ``x`` [rows, features]."""
        x = x[:, [COLUMNS[name] for name in self.names]]
        feature, threshold = np.asarray(self.feature), np.asarray(self.threshold)
        left, right = np.asarray(self.left), np.asarray(self.right)
        value = np.asarray(self.value)
        rows = np.arange(len(x))[:, None]
        node = np.broadcast_to(np.asarray(self.roots), (len(x), len(self.roots)))
        while (inner := feature[node] >= 0).any():
            goes_left = x[rows, feature[node]] <= threshold[node]
            node = np.where(inner, np.where(goes_left, left[node], right[node]), node)
        # A running sum in tree order, as scikit-learn adds them.
        total: Matrix = self.baseline + value[node].sum(axis=1)
        return total


@dataclass(frozen=True, slots=True)
class Regressor:
    """Latency of one kind of kernel from its features.

    The linear part is in microseconds: ``intercept + features . coefficients``, none negative.
    Trees, where they were chosen, give the logarithm of a factor on it. They never say that more
    work makes that factor smaller, so the product is monotone where physics is; and beyond the
    measured range they stay what they are at its edge while the linear part goes on.

    Args:
        method: the candidate with the smallest cross-validated error.
        scores: candidate -> its cross-validated mean absolute relative error.
        coefficients: feature -> microseconds per unit; 0 for features that are not named.
        low, high: feature -> smallest and largest value among the kernels fitted on.
        half_width: of the 90 % interval as a ratio: latency within a factor ``1 + half_width``,
            from the residuals of kernels held out in cross-validation.
        count: kernels fitted on; 0 where nothing of the kind was measured, and the coefficients
            follow from other kinds.
    """

    method: Method
    scores: dict[str, float]
    intercept: float
    coefficients: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    half_width: float
    count: int
    trees: Trees | None = None

    def __post_init__(self) -> None:
        for name in ("coefficients", "low", "high"):
            _check_names(name, getattr(self, name))
        if not min((self.intercept, self.half_width, *self.coefficients.values())) >= 0:
            raise InvalidProfile(
                "'intercept', 'coefficients' and 'half_width' must not be negative"
            )
        if (self.trees is None) != (self.method == "non_negative_linear"):
            raise InvalidProfile(f"'trees' and method {self.method!r} contradict each other")

    def predict(self, kernels: Sequence[Kernel]) -> Matrix:
        """Latency in microseconds of each kernel, which must all be of this regressor's kind."""
        return self.predict_features(feature_matrix(kernels))

    def predict_features(self, x: Matrix) -> Matrix:
        linear = self.linear(x)
        return linear if self.trees is None else linear * np.exp(self.trees.predict(x))

    def linear(self, x: Matrix) -> Matrix:
        """The linear part alone, in microseconds."""
        columns = [COLUMNS[name] for name in self.coefficients]
        total: Matrix = self.intercept + x[:, columns] @ np.asarray([*self.coefficients.values()])
        return np.maximum(total, LEAST_US)

    def extrapolates(self, kernel: Kernel) -> bool:
        """Whether any feature lies outside what was measured."""
        if not self.count:
            return True
        x = by_feature(feature_matrix((kernel,))[0])
        return any(x[name] < low for name, low in self.low.items()) or any(
            x[name] > high for name, high in self.high.items()
        )


def by_feature(values: Matrix) -> dict[str, float]:
    """Feature -> number, from one number for each of :data:`..kernels.features.FEATURE_NAMES`."""
    return dict(zip(FEATURE_NAMES, map(float, values), strict=True))


def _check_names(what: str, names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise InvalidProfile(
            f"{what!r} speaks of the unknown features {', '.join(unknown)}; known: "
            f"{', '.join(FEATURE_NAMES)}"
        )
