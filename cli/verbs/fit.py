"""``mnasfpn fit``: a profile's predictions, and how good they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console import command, print_table, say
from ..options import FILE

if TYPE_CHECKING:
    from ...latency.profile.device_profile import DeviceProfile


@command
@click.argument("profile", type=FILE)
def fit(profile: Path, as_json: bool) -> Any:
    """Fit a measured profile, and tell how good its predictions are.

    PROFILE is a file made by `mnasfpn profile`; the fit is written into it. The figures are those
    of held-out heads, which were used for nothing else.
    """
    from ...latency.fitting.fit import fit as fit_profile
    from ...latency.profile.device_profile import load_profile, save_profile
    from ...report.summary import unstable_warning

    fitted = fit_profile(load_profile(profile))
    save_profile(fitted, profile)
    warning = unstable_warning(
        fitted, f"the same `mnasfpn profile ... --out {profile}`, then `mnasfpn fit {profile}`"
    )
    if not as_json:
        _print(fitted)
        say(fitted.summary)
        if warning:
            say(warning, "yellow")
    return {
        "profile": str(profile),
        "validation": fitted.validation,
        "unstable_share": fitted.unstable_shares,
        "warning": warning,
    }


def _print(fitted: DeviceProfile) -> None:
    from ...report.summary import validation_rows

    assert fitted.validation is not None
    print_table(
        f"{fitted.validation.accuracy.models} held-out heads, {fitted.provenance} on "
        f"{fitted.device.soc}",
        ("figure", "prediction", "95 % interval", "measured again"),
        validation_rows(fitted.validation),
        words=("figure", "95 % interval"),
    )
    print_table(
        "Regressions, for kernels the table lacks: cross-validated mean relative error",
        ("kind", "kernels", "chosen", "error", "all candidates"),
        [
            (
                kind,
                regressor.count,
                regressor.method,
                f"{regressor.scores.get(regressor.method, float('nan')):.1%}",
                ", ".join(f"{name} {score:.1%}" for name, score in regressor.scores.items()),
            )
            for kind, regressor in fitted.regressors.items()
        ],
        words=("kind", "chosen", "all candidates"),
    )
