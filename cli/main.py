"""The command line: the verbs in the order of a person's work.

Heavy libraries are imported by the verbs that use them, so that ``mnasfpn estimate`` answers at
once.
"""

from __future__ import annotations

import click

from .. import __version__
from .verbs.data import data
from .verbs.devices import devices
from .verbs.doctor import doctor
from .verbs.estimate import estimate
from .verbs.evaluate import evaluate
from .verbs.export import export
from .verbs.fit import fit
from .verbs.frontier import frontier
from .verbs.lut import lut
from .verbs.models import models
from .verbs.profile import profile
from .verbs.quickstart import quickstart
from .verbs.report import report
from .verbs.search import search
from .verbs.train import train


class InOrder(click.Group):
    """Lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="mnasfpn")
def main() -> None:
    """Measure, predict, search and ship mobile detectors (after MnasFPN, CVPR 2020)."""


for verb in (
    models,
    devices,
    profile,
    fit,
    estimate,
    lut,
    search,
    frontier,
    data,
    train,
    evaluate,
    export,
    doctor,
    report,
    quickstart,
):
    main.add_command(verb)
