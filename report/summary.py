"""A validation as rows for people: command line and report print the same."""

from __future__ import annotations

from collections.abc import Callable

from ..latency.fitting.accuracy import share
from ..latency.profile.device_profile import DeviceProfile
from ..latency.profile.validation import Figure, Validation

#: Share of UNSTABLE measurements from which on figures say more of the noise than of the device.
MOST_UNSTABLE = 0.2

SummaryRow = tuple[str, str, str, str]
Write = Callable[[float], str]


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _decimal(value: float) -> str:
    return f"{value:.4f}"


#: Field of an Agreement -> what people call it, and how its value is written.
FIGURES: dict[str, tuple[str, Write]] = {
    "r2": ("R2", _decimal),
    "rmse_ms": ("RMSE, ms", _decimal),
    "rmspe": ("RMSPE", _percent),
    "mape": ("MAPE", _percent),
    "within_5": ("within 5 %", _percent),
    "within_10": ("within 10 %", _percent),
    "within_15": ("within 15 %", _percent),
    "kendall_tau": ("Kendall tau", _decimal),
    "spearman": ("Spearman", _decimal),
}


def unstable_warning(profile: DeviceProfile, again: str) -> str:
    """What to do about a profile that is too noisy; empty if it is not.

    Args:
        again: how it is measured again.
    """
    shares = profile.unstable_shares
    bad = [f"{share:.0%} of {name}" for name, share in shares.items() if share > MOST_UNSTABLE]
    if not bad:
        return ""
    return (
        f"{' and '.join(bad)} are UNSTABLE (more than {MOST_UNSTABLE:.0%}): these figures and the "
        "estimates are as uncertain as the measurements. Make the device quiet (a PC: no other "
        f"programs at work; a phone: cool, and left alone), then measure again: {again}"
    )


def validation_rows(validation: Validation) -> list[SummaryRow]:
    """(figure, of the predictions, its 95 % interval, of a second measurement)."""
    noise = validation.noise_floor
    rows = []
    for field, (name, write) in FIGURES.items():
        figure: Figure = getattr(validation.accuracy, field)
        floor = write(getattr(noise, field).value) if noise else "not measured"
        rows.append((name, *_written(figure, write), floor))
    held = {
        "inside their interval": sum(point.inside for point in validation.points),
        "below it": sum(point.measured_ms < point.low_ms for point in validation.points),
        "above it": sum(point.measured_ms > point.high_ms for point in validation.points),
    }
    shares = {name: share(hits, len(validation.points)) for name, hits in held.items()}
    worst = next(p for p in validation.points if p.name == validation.largest_error)
    error = worst.predicted_ms / worst.measured_ms - 1
    where = f"{worst.name}: {worst.predicted_ms:.2f} for {worst.measured_ms:.2f} ms"
    return [
        *rows,
        ("largest error", f"{error:+.1%}", where, ""),
        *((name, *_written(figure, _percent), "") for name, figure in shares.items()),
    ]


def _written(figure: Figure, write: Write) -> tuple[str, str]:
    return write(figure.value), f"{write(figure.low)} to {write(figure.high)}"
