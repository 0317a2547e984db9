"""The verbs together: their help, and the ways to start them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import pytest

from mnasfpn import __version__
from mnasfpn.cli.main import main
from mnasfpn.tests.cli.processes import BUNDLED, MNASFPN, MODEL, invoke, run


def leaves(group: click.Group) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """(words, command) of every command that does something."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from (((name, *words), leaf) for words, leaf in leaves(command))
        else:
            yield (name,), command


@pytest.mark.parametrize(("words", "command"), list(leaves(main)), ids=str)
def test_help_explains_every_option(words: tuple[str, ...], command: click.Command) -> None:
    shown = invoke(*words, "--help").stdout
    assert invoke(*words, "-h").stdout == shown
    for parameter in command.params:
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
