"""The verbs together: their help, and the ways to start them."""

from __future__ import annotations

import sys

import click
import pytest

from mnasfpn import __version__
from mnasfpn.cli.main import main
from mnasfpn.tests.cli.processes import BUNDLED, MNASFPN, MODEL, invoke, run


@pytest.mark.parametrize("name", main.commands)
def test_help_explains_every_option(name: str) -> None:
    shown = invoke(name, "--help").stdout
    assert invoke(name, "-h").stdout == shown
    for parameter in main.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert all(option in shown for option in parameter.opts)
        else:
            assert parameter.human_readable_name in shown


def test_help_lists_every_command_with_a_whole_sentence() -> None:
    shown = invoke("--help").stdout
    for name in main.commands:
        (line,) = (line for line in shown.splitlines() if line.startswith(f"  {name} "))
        assert line.endswith(".")
        assert not line.endswith("...")
    assert __version__ in invoke("--version").stdout


def test_help_follows_the_order_of_work() -> None:
    shown = invoke("--help").stdout
    places = [shown.index(f"\n  {name} ") for name in main.commands]
    assert places == sorted(places)
    assert list(main.commands)[:3] == ["models", "devices", "profile"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["estimate", "--help"], 0),
        (["--version"], 0),
        (["estimate", MODEL, "--profile", BUNDLED], 0),
        (["estimate", MODEL], 2),
        (["fit", "nothing.json"], 2),
        (["nothing"], 2),
    ],
)
def test_the_module_is_the_program(arguments: list[str], code: int) -> None:
    """``python -m mnasfpn`` says the same and ends the same, usage line included."""
    program = run(*MNASFPN, *arguments)
    module = run(sys.executable, "-m", "mnasfpn", *arguments)
    assert (module.returncode, module.stdout, module.stderr) == (
        program.returncode,
        program.stdout,
        program.stderr,
    )
    assert module.returncode == code
