"""Fitting a regression for one kind of kernel with scikit-learn, chosen by held-out error.

All candidates aim at relative error: latencies of one kind span four decades. The linear model is
weighted by the inverse of what was measured, outliers damped by reweighting (Huber). Boosting and
forest learn the logarithm of what the linear model leaves over: they need no depth to follow sizes,
only to correct for what is not proportional.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidInput
from ..kernels.features import MONOTONE, Matrix, feature_matrix
from ..kernels.kernel import Kernel
from ..profile.regressor import Method, Regressor, Trees, by_feature
from .held_out import FOLDS, Chosen, held_out
from .intervals import conformal_half_width
from .robust_least_squares import robust_least_squares

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

LEAST_KERNELS = 3  # below this there is nothing to hold out
LEAST_FOR_ALL_FEATURES = 12  # below, only those that measure work: others fit what is accidental
LEAST_FOR_TREES = 20


class KernelRegression:
    """The usual ``fit / predict / score`` for kernels of one kind.

    Args:
        seed: of folds, boosting and forest.

    After ``fit``: ``regressor`` holds the numbers a profile stores, ``estimator`` what
    scikit-learn fitted (None for the linear model).
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.regressor: Regressor | None = None
        self.estimator: Any = None

    def fit(
        self, kernels: Sequence[Kernel], latencies_us: Sequence[float] | Matrix
    ) -> KernelRegression:
        """Choose the best candidate by cross-validation and fit it on everything.

        Raises:
            InvalidInput: fewer than three kernels, a latency that is not positive, mixed kinds.
        """
        # Limits reach only what is loaded, so scikit-learn comes first.
        import sklearn.ensemble  # noqa: F401
        from threadpoolctl import threadpool_limits

        x, y = feature_matrix(kernels), np.asarray(latencies_us, dtype=np.float64)
        _check(kernels, y)
        with threadpool_limits(1):  # threads only wait for each other on tables this small
            return self._fit(x, y)

    def _fit(self, x: Matrix, y: Matrix) -> KernelRegression:
        candidates = _candidates(len(y))
        guesses = {method: self._held_out(fit, x, y) for method, fit in candidates.items()}
        scores = {method: float(np.abs(guess / y - 1).mean()) for method, guess in guesses.items()}
        best = min(scores, key=lambda method: scores[method])
        self.regressor, self.estimator = candidates[best](x, y, self.seed)
        self.regressor = replace(
            self.regressor,
            scores={str(method): score for method, score in scores.items()},
            half_width=conformal_half_width(guesses[best], y),
        )
        return self

    def _held_out(self, fit: Candidate, x: Matrix, y: Matrix) -> Matrix:
        return held_out(
            _shuffled_folds(len(y), self.seed),
            lambda kept, left: fit(x[kept], y[kept], self.seed)[0].predict_features(x[left]),
        )

    def predict(self, kernels: Sequence[Kernel]) -> Matrix:
        """Microseconds."""
        return self._fitted().predict(kernels)

    def score(self, kernels: Sequence[Kernel], latencies_us: Sequence[float] | Matrix) -> float:
        """R2, as in scikit-learn."""
        y = np.asarray(latencies_us, dtype=np.float64)
        residual = ((y - self.predict(kernels)) ** 2).sum()
        return float(1 - residual / ((y - y.mean()) ** 2).sum())

    def _fitted(self) -> Regressor:
        if self.regressor is None:
            raise InvalidInput("this regression has no numbers yet; call fit first")
        return self.regressor


Fitted = tuple[Regressor, Any]
Candidate = Callable[[Matrix, Matrix, int], Fitted]


def _candidates(count: int) -> dict[Method, Candidate]:
    candidates: dict[Method, Candidate] = {"non_negative_linear": _fit_linear}
    if count >= LEAST_FOR_TREES:
        candidates |= {"gradient_boosting": _fit_boosting, "random_forest": _fit_forest}
    return candidates


def _check(kernels: Sequence[Kernel], latencies_us: Matrix) -> None:
    kinds = {kernel.kind for kernel in kernels}
    if len(kinds) > 1:
        raise InvalidInput(f"one regression is for one kind of kernel, got {', '.join(kinds)}")
    if len(kernels) < LEAST_KERNELS or len(kernels) != len(latencies_us):
        raise InvalidInput(
            f"a regression needs at least {LEAST_KERNELS} kernels and as many latencies, "
            f"got {len(kernels)} and {len(latencies_us)}"
        )
    if not (np.isfinite(latencies_us).all() and (latencies_us > 0).all()):
        raise InvalidInput("latencies must be positive and finite")


def _shuffled_folds(count: int, seed: int) -> Iterator[tuple[Chosen, Chosen]]:
    from sklearn.model_selection import KFold

    order = np.random.default_rng(seed).permutation(count)
    for kept, left in KFold(min(FOLDS, count)).split(order):
        yield np.sort(order[kept]), order[left]


def _fit_linear(x: Matrix, y: Matrix, seed: int) -> Fitted:
    """Non-negative least squares on relative error, outliers damped."""
    unit = np.maximum(x.max(axis=0), 1.0)
    used = np.asarray(MONOTONE) | (len(y) >= LEAST_FOR_ALL_FEATURES)
    design = np.column_stack([np.ones(len(x)), np.where(used, x / unit, 0.0)])
    coefficients = robust_least_squares(design, y, y)
    regressor = Regressor(
        method="non_negative_linear",
        scores={},
        intercept=float(coefficients[0]),
        coefficients=by_feature(coefficients[1:] / unit),
        low=by_feature(x.min(axis=0)),
        high=by_feature(x.max(axis=0)),
        half_width=0.0,
        count=len(y),
    )
    return regressor, None


def _fit_boosting(x: Matrix, y: Matrix, seed: int) -> Fitted:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=100,
        max_leaf_nodes=6,
        min_samples_leaf=1,
        monotonic_cst=[int(monotone) for monotone in MONOTONE],
        early_stopping=False,
        random_state=seed,
    )
    return _fit_on_linear(x, y, seed, "gradient_boosting", model, boosted_trees)


def _fit_forest(x: Matrix, y: Matrix, seed: int) -> Fitted:
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(
        n_estimators=40,
        max_leaf_nodes=64,
        max_features=0.7,
        monotonic_cst=[int(monotone) for monotone in MONOTONE],
        random_state=seed,
    )
    return _fit_on_linear(x, y, seed, "random_forest", model, forest_trees)


def _fit_on_linear(
    x: Matrix, y: Matrix, seed: int, method: Method, model: Any, trees: Callable[[Any], Trees]
) -> Fitted:
    linear, _ = _fit_linear(x, y, seed)
    model.fit(x, np.log(y / linear.linear(x)))
    return replace(linear, method=method, trees=trees(model)), model


def boosted_trees(model: HistGradientBoostingRegressor) -> Trees:
    """The numbers of scikit-learn's histogram gradient boosting."""
    nodes = [stage[0].nodes for stage in model._predictors]
    return _joined(
        [
            (
                np.where(tree["is_leaf"], -1, tree["feature_idx"].astype(int)),
                tree["num_threshold"],
                tree["left"].astype(int),
                tree["right"].astype(int),
                tree["value"],
            )
            for tree in nodes
        ],
        baseline=float(np.ravel(model._baseline_prediction)[0]),
    )


def forest_trees(model: RandomForestRegressor) -> Trees:
    """The numbers of a random forest: the mean of its trees as a sum."""
    trees = [estimator.tree_ for estimator in model.estimators_]
    return _joined(
        [
            (
                np.where(tree.children_left < 0, -1, tree.feature),
                tree.threshold,
                tree.children_left,
                tree.children_right,
                tree.value[:, 0, 0] / len(trees),
            )
            for tree in trees
        ],
        baseline=0.0,
    )


def _joined(trees: list[tuple[Any, Any, Any, Any, Any]], baseline: float) -> Trees:
    """Node arrays of single trees behind each other; leaves lose what they do not use."""
    roots: list[int] = []
    columns: list[list[Any]] = [[], [], [], [], []]
    for feature, threshold, left, right, value in trees:
        first, inner = len(columns[0]), feature >= 0
        roots.append(first)
        new = (
            feature,
            np.where(inner, threshold, 0.0),
            np.where(inner, left + first, 0),
            np.where(inner, right + first, 0),
            np.where(inner, 0.0, value),
        )
        for column, values in zip(columns, new, strict=True):
            column.extend(values.tolist())
    features, thresholds, lefts, rights, leaves = map(tuple, columns)
    return Trees(tuple(roots), features, thresholds, lefts, rights, leaves, baseline)
