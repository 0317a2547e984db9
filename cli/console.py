"""What every command shares: one JSON object or a table, progress bars, errors as one line."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..errors import MnasFpnError

if TYPE_CHECKING:
    from rich.console import Console

FAILED = 1  # exit code of a job that did not reach its end
PIPE_WIDTH = 160
EXTRAS = {  # which extra of setup.cfg brings a library that not every installation has
    "keras": "train",
    "pycocotools": "train",
    "faster_coco_eval": "metrics",
    "tensorboard": "train",
    "tensorflow": "train",
    "torch": "train",
    "ray": "dist",
    "jinja2": "report",
    "matplotlib": "report",
}


def command(function: Callable[..., Any]) -> click.Command:
    """A command with ``--json``, whose return value is what that prints.

    The function gets ``as_json`` and prints its own tables when it is False. Errors of ours become
    one line on stderr and their exit code; Ctrl-C says that nothing is lost and exits with 1.
    """

    @functools.wraps(function)
    def run(as_json: bool, **arguments: Any) -> None:
        # TensorFlow's remarks about its own build tell our users nothing.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            result = function(as_json=as_json, **arguments)
        except MnasFpnError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail("interrupted; what was finished is stored, the same command continues", FAILED)
        except BrokenPipeError:
            raise  # whoever read our output has seen enough, as ``head`` does
        except ModuleNotFoundError as error:
            library = (error.name or "").partition(".")[0]
            if library not in EXTRAS:
                raise
            extra = EXTRAS[library]
            _fail(
                f"this needs {library}, which is not installed; run `pip install "
                f"'mnasfpn[{extra}]'` (or 'mnasfpn[all]' for all commands)",
                FAILED,
            )
        except OSError as error:
            # The system's own words name what and where.
            _fail(
                f"{error.strerror or error}: {error.filename or 'no file named'}; check the "
                "path, its permissions and the free space; what was finished is kept",
                FAILED,
            )
        else:
            if as_json:
                click.echo(to_json(result))

    option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
    return click.command()(option(run))


def _fail(message: str, code: int) -> None:
    click.echo(f"mnasfpn: {message}", err=True)
    sys.exit(code)


def to_json(result: Any) -> str:
    """One line of JSON; dataclasses are objects, and what is no finite number is null."""
    import msgspec

    return msgspec.json.encode(result, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)  # numpy, paths


@functools.cache
def stdout() -> Console:
    from rich.console import Console

    # Into a file or a pipe there is no window to fit: lines stay whole.
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def say(text: str, style: str = "") -> None:
    """Plain text, whole lines: brackets in a file's name are no markup."""
    stdout().print(text, style=style, markup=False, soft_wrap=True)


def say_unused(runs: int) -> None:
    """That a store has runs that are not used, if it has: they are measured again."""
    if runs:
        say(
            f"the store has {runs} runs of this device from before 0.2, which do not say what file "
            "was measured: they are kept and not used, and what they measured is measured anew",
            "yellow",
        )


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    words: Collection[str] = (),
    note: str = "",
) -> None:
    """A table.

    Args:
        words: columns of words, which may be folded; others hold numbers and are right-aligned.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    if title:
        say(title, "bold")  # a title of the table would be folded to its width
    table = Table(box=SIMPLE_HEAD)
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    for position, column in enumerate(columns):
        numeric = column not in words
        whole = numeric or position == 0
        pieces = [column, *(row[position] for row in texts)]
        if not whole:
            pieces = " ".join(pieces).split()
        table.add_column(
            column,
            justify="right" if numeric else "left",
            no_wrap=whole,
            min_width=max(map(len, pieces)),
            overflow="fold",
        )
    for row in texts:
        table.add_row(*map(escape, row))
    # Where the terminal is too narrow for what must not be cut, lines are longer than it.
    screen = stdout()
    wide = screen.options.update(max_width=PIPE_WIDTH)
    least = Measurement.get(screen, wide, table).minimum
    if least > screen.width:
        table.width = least
    screen.print(table, crop=False)
    if note:
        say(note)


def _no_bar(done: int, total: int, what: str = "") -> None:
    """What a progress callback is where nobody watches."""


@contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """A bar on stderr; call the yielded function with (done, total, what is going on).

    A bar that no work has reached when an error ends it leaves no trace.

    Args:
        quiet: as with ``--json``: only where somebody watches.
    """
    if quiet and not sys.stderr.isatty():
        yield _no_bar
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    # On a narrow terminal the last column gives way first.
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=16),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True)),
        TextColumn("[dim]{task.fields[what]}", table_column=Column(no_wrap=True, ratio=1)),
    )
    screen = Console(stderr=True)
    bar = Progress(*columns, console=screen, expand=True, transient=True)
    task = bar.add_task(title, total=None, what="")
    with ExitStack() as shown:
        if screen.is_terminal:
            shown.enter_context(bar)

        def report(done: int, total: int, what: str = "") -> None:
            if not bar.live.is_started:
                shown.enter_context(bar)
            bar.live.transient = False
            bar.update(task, completed=done, total=total, what=escape(what))

        yield report
