"""Kinds of options that commands share; each checks what it was given before any work begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import InvalidInput

Option = Callable[[Any], Any]
Number = TypeVar("Number", int, float)

FILE = click.Path(path_type=Path)
EXAMPLES: dict[type, str] = {int: "whole numbers like 3,4,5", float: "numbers like 166,173,180"}


class NewFile(click.Path):
    """A file to write: hours of work must not end at a folder that is not there."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if not path.parent.is_dir():
            self.fail(
                f"there is no folder {str(path.parent)!r} for {path.name!r}; make it, or choose "
                "another place",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


def output(name: str, help: str, required: bool = True) -> Option:
    """A file to write."""
    return click.option(name, type=NewFile(), required=required, help=help)


def choice(name: str, values: Sequence[str], help: str) -> Option:
    """One of some words, the first by default."""
    kind = click.Choice(values)
    return click.option(name, type=kind, default=values[0], show_default=True, help=help)


def count(name: str, default: int, help: str, least: int = 1) -> Option:
    """A whole number, not below ``least``."""
    kind = click.IntRange(min=least)
    return click.option(name, type=kind, default=default, show_default=True, help=help)


def number(name: str, default: float, help: str, least: float) -> Option:
    """A number, not below ``least``."""
    kind = click.FloatRange(min=least)
    return click.option(name, type=kind, default=default, show_default=True, help=help)


def text(name: str, default: str, help: str) -> Option:
    """Any text."""
    return click.option(name, default=default, show_default=True, help=help)


def space(*others: str) -> Option:
    """A search space of the paper that has MnasFPN's cells, or one of some others by name."""
    # The names are not read off the spaces themselves, which take numpy to import.
    names = ("mnasfpn", "no-expand", "conn-search", *others)
    return choice("--space", names, "The paper's search space.")


signature = click.option("--signature", help="Of a .tflite that has several; else its first part.")
seed = count("--seed", 0, "Of everything random.", least=0)


def numbers(given: str | None, option: str, kind: type[Number]) -> list[Number]:
    """Of a text with commas between them.

    Raises:
        InvalidInput: it is something else; the message names the option.
    """
    try:
        return [kind(part) for part in given.split(",")] if given else []
    except ValueError:
        raise InvalidInput(f"{option} takes {EXAMPLES[kind]}, got {given!r}") from None


def dataset_files(function: Callable[..., Any]) -> Callable[..., Any]:
    """A dataset whose folder has a layout of its own: its files by name."""
    for option in (
        click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be used."),
        click.option("--images", type=FILE, help="The folder of the images of --train-json, ..."),
        click.option("--val-json", type=FILE, help="Annotations of the part 'val'."),
        click.option("--train-json", type=FILE, help="Annotations of the part 'train'."),
    ):
        function = option(function)
    return function


def dataset(function: Callable[..., Any]) -> Callable[..., Any]:
    """A dataset, by its folder or by its files."""
    folder = click.option("--data", type=FILE, help="A dataset's folder; layouts: docs/data.md.")
    return folder(dataset_files(function))
