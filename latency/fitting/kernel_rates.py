"""Kernel regressions from whole models alone: what published tables of latencies allow.

Where nobody has measured single kernels, the latency of a model is still the sum of its kernels'.
With each kernel's latency a non-negative combination of a few rates (nanoseconds per
multiply-accumulate of a pointwise convolution, per byte of weights, ...), many models of different
make-up determine the rates. Models timed with different versions of a runtime must not be mixed
(MobileNetV2 on a Pixel 1: 73.8 ms in 2018, 49 ms with XNNPACK in 2020), so every group of models
timed together has one factor of its own, fitted along with the rates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import InvalidInput, NotCovered
from ..kernels.features import FEATURE_NAMES, Matrix, feature_matrix
from ..kernels.kernel import Kernel
from ..profile.regressor import Regressor, by_feature
from .held_out import Chosen, held_out

ITERATIONS = 100
CONVERGED = 1e-10


@dataclass(frozen=True, slots=True)
class TimedModel:
    """A model's kernels and its measured latency.

    Args:
        architecture: what it is a variant of, for validation that leaves an architecture out.
        group: models timed together, with the same version of the runtime.
        weight: of its squared relative error.
    """

    name: str
    kernels: tuple[Kernel, ...]
    latency_ms: float
    architecture: str = ""
    group: str = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.latency_ms > 0:
            raise InvalidInput(f"{self.name}: latency must be positive, got {self.latency_ms} ms")


@dataclass(frozen=True, slots=True)
class Rate:
    """One unknown: microseconds per unit of the given features, for kernels of the given kinds.

    Args:
        kinds: of kernels; empty for every kind that is not one of :data:`BOUND_OTHERWISE`.
        also: kinds beside those.
    """

    name: str
    kinds: tuple[str, ...]
    features: tuple[str, ...]
    also: tuple[str, ...] = ()

    def applies(self, kind: str) -> bool:
        if kind in self.also:
            return True
        return kind in self.kinds if self.kinds else kind not in BOUND_OTHERWISE


CONVOLUTION_KINDS = ("conv_1x1", "conv_kxk", "conv_grouped", "depthwise_conv")
POOL_KINDS = ("max_pool", "average_pool")
BOUND_OTHERWISE = (*CONVOLUTION_KINDS, *POOL_KINDS, "fully_connected")
BYTES_MOVED = ("bytes_in", "bytes_out")
#: Convolutions are bound by arithmetic and by reading their weights once; dense layers by their
#: weights; pools by their windows; the rest by moving data. Few enough for a few dozen models.
FEW_RATES = (
    Rate("pointwise arithmetic", ("conv_1x1",), ("vector_madds",)),
    Rate("convolution arithmetic", ("conv_kxk",), ("vector_madds",)),
    Rate("grouped convolution arithmetic", ("conv_grouped",), ("vector_madds",)),
    Rate("depthwise arithmetic", ("depthwise_conv",), ("vector_madds",)),
    Rate("convolution weights", CONVOLUTION_KINDS, ("bytes_weights",)),
    Rate("dense weights", ("fully_connected",), ("bytes_weights",)),
    Rate("pooling", POOL_KINDS, ("window_reads",)),
    Rate("moving data", (), BYTES_MOVED),
)


def rates_by_kind(kinds: Sequence[str]) -> tuple[Rate, ...]:
    """Rates of its own for every kind of kernel: for many models that differ much.

    Kinds whose rates the models cannot tell apart only share out the same sum between them.
    """
    return tuple(
        Rate(f"{kind} {what}", (kind,), features)
        for kind in kinds
        for what, features in (
            ("arithmetic", ("vector_madds",)),
            ("moving data", BYTES_MOVED),
            ("weights", ("bytes_weights",)),
        )
    )


@dataclass(frozen=True, slots=True)
class RateModel:
    """Fitted rates.

    Args:
        rates: those that the models determine.
        us_per_unit: rate name -> microseconds per unit, at the speed of the reference group.
        intercept_us: of every model, whatever its kernels.
        factors: group -> latency in that group over latency in the reference group.
    """

    rates: tuple[Rate, ...]
    us_per_unit: dict[str, float]
    intercept_us: float
    factors: dict[str, float]

    def predict_ms(self, models: Sequence[Sequence[Kernel]]) -> Matrix:
        """Latency of each model's kernels at the speed of the reference group, milliseconds.

        Raises:
            NotCovered: a kernel is of a kind that no rate is for.
        """
        for kind in sorted({kernel.kind for kernels in models for kernel in kernels}):
            if not any(rate.applies(kind) for rate in self.rates):
                raise NotCovered(
                    f"no model that the rates were fitted on has a kernel of kind {kind!r}; fit "
                    "them on models that have"
                )
        amounts = design(models, self.rates)
        rates = np.asarray([self.us_per_unit[rate.name] for rate in self.rates])
        predicted: Matrix = (self.intercept_us + amounts @ rates) / 1e3
        return predicted

    def regressors(self, models: Sequence[TimedModel], half_width: float) -> dict[str, Regressor]:
        """The same as one linear regressor for each kind of kernel, as a profile stores them.

        Args:
            half_width: of the 90 % interval as a ratio, from validation.
        """
        by_kind: dict[str, list[Kernel]] = {}
        for model in models:
            for kernel in model.kernels:
                by_kind.setdefault(kernel.kind, []).append(kernel)
        found = {}
        for kind, kernels in sorted(by_kind.items()):
            coefficients = dict.fromkeys(FEATURE_NAMES, 0.0)
            for rate in self.rates:
                if rate.applies(kind):
                    for feature in rate.features:
                        coefficients[feature] += self.us_per_unit[rate.name]
            x = feature_matrix(kernels)
            found[kind] = Regressor(
                method="non_negative_linear",
                scores={},
                intercept=0.0,
                coefficients=coefficients,
                low=by_feature(x.min(axis=0)),
                high=by_feature(x.max(axis=0)),
                half_width=half_width,
                count=len(kernels),
            )
        return found


def fit_rates(
    models: Sequence[TimedModel],
    rates: tuple[Rate, ...] = FEW_RATES,
    reference: str = "",
    intercept: bool = False,
) -> RateModel:
    """Rates and group factors that minimise the weighted squared relative error.

    Alternates between non-negative least squares for the rates and one factor for each group but
    the reference; both steps lower the same sum of squares. Kernels whose own rate no model
    determines count as moving their data, where there is such a rate: at least that they do.

    Args:
        reference: the group whose factor is 1.
        intercept: whether every model has a constant of its own beside its kernels.

    Raises:
        InvalidInput: no model belongs to the reference group.
    """
    from scipy.optimize import nnls

    groups = np.asarray([model.group for model in models])
    if reference not in groups:
        raise InvalidInput(
            f"no model belongs to the reference group {reference!r}; groups: {sorted(set(groups))}"
        )
    y = np.asarray([model.latency_ms * 1e3 for model in models])
    root_weight = np.sqrt([model.weight for model in models]) / y
    rates = _determined(rates, models)
    amounts = design([model.kernels for model in models], rates)
    if intercept:
        amounts = np.column_stack([amounts, np.ones(len(y))])
    unit = np.maximum(amounts.max(axis=0), 1.0)
    factors = dict.fromkeys(sorted(set(groups)), 1.0)
    for _ in range(ITERATIONS):
        factor = np.asarray([factors[group] for group in groups])
        solution = nnls(amounts / unit * (factor * root_weight)[:, None], y * root_weight)[0]
        predicted = amounts / unit @ solution * root_weight
        updated = {
            group: 1.0
            if group == reference
            else float(_ratio(predicted[groups == group], (y * root_weight)[groups == group]))
            for group in factors
        }
        moved = max(abs(updated[group] - factors[group]) for group in factors)
        factors = updated
        if moved < CONVERGED:
            break
    solution = solution / unit
    return RateModel(
        rates=rates,
        us_per_unit={rate.name: float(v) for rate, v in zip(rates, solution, strict=False)},
        intercept_us=float(solution[-1]) if intercept else 0.0,
        factors=factors,
    )


def _determined(rates: tuple[Rate, ...], models: Sequence[TimedModel]) -> tuple[Rate, ...]:
    """The rates that some model has units of; the one for every other kind takes in the rest."""
    present = design([model.kernels for model in models], rates).sum(axis=0) > 0
    orphans = {
        kind for rate, there in zip(rates, present, strict=True) if not there for kind in rate.kinds
    }
    return tuple(
        rate if rate.kinds else replace(rate, also=tuple(sorted(orphans)))
        for rate, there in zip(rates, present, strict=True)
        if there
    )


def design(models: Sequence[Sequence[Kernel]], rates: tuple[Rate, ...]) -> Matrix:
    """[models, rates]: how many units of each rate a model has."""
    columns = {name: index for index, name in enumerate(FEATURE_NAMES)}
    result = np.zeros((len(models), len(rates)))
    for row, kernels in enumerate(models):
        x = feature_matrix(kernels)
        for column, rate in enumerate(rates):
            chosen = np.asarray([rate.applies(kernel.kind) for kernel in kernels], dtype=bool)
            features = [columns[feature] for feature in rate.features]
            result[row, column] = x[chosen][:, features].sum()
    return result


def predict_held_out(
    models: Sequence[TimedModel],
    splits: Iterable[tuple[Chosen, Chosen]],
    fit: Callable[[list[TimedModel]], RateModel],
) -> Matrix:
    """[models], milliseconds of each by rates of models that it was left out of."""

    def predict(kept: Chosen, left: Chosen) -> Matrix:
        rates = fit([models[i] for i in kept])
        return rates.predict_ms([models[i].kernels for i in left])

    return held_out(splits, predict)


def geometric_factor(measured: Matrix, predicted: Matrix) -> float:
    """The one factor on predictions that makes their relative errors balance."""
    return float(np.exp(np.log(measured / predicted).mean()))


def _ratio(predicted: Matrix, measured: Matrix) -> float:
    """Least squares through the origin."""
    return float((predicted @ measured) / (predicted @ predicted))
