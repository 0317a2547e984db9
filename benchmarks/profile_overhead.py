"""``python -m mnasfpn.benchmarks.profile_overhead``: what `mnasfpn profile` takes beside measuring.

The full MnasFPN space at 320 px with the default heads, on a stand-in for this PC that answers at
once: what is left is the time of planning, writing model files, the store, verdicts and the
profile. The same command again finds everything measured; then the profile is fitted. Another
version of mnasfpn can be measured beside this one, in turns, with the same work.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from ..cli.console import command, progress
from ..errors import InvalidInput, JobFailed
from ..storage.atomic import write_atomically

OUT = Path(__file__).parent / "results"
STAND_IN = Path(__file__).parent / "stand_in_host.py"
THIS = "this version"
PROFILE = ("profile", "--out", "p.json", "--json")
#: What is timed, in this order in one folder.
COMMANDS: dict[str, tuple[str, ...]] = {
    "`mnasfpn profile`": PROFILE,
    "the same again, all measured": PROFILE,
    "`mnasfpn fit`": ("fit", "p.json", "--json"),
}
LEAST_S = 0.05  # stages that took less in every version are not in the table


@dataclass(frozen=True)
class Timing:
    """One command of one version.

    Args:
        cpu_s: of processor time, each repeat; the stand-in's own is left out.
        stages: medians of the repeats.
        visits: to the stand-in.
    """

    version: str
    command: str
    cpu_s: tuple[float, ...]
    stages: Mapping[str, float]
    visits: int

    @property
    def median_s(self) -> float:
        return statistics.median(self.cpu_s)


def once(package: Path | None, folder: Path) -> list[dict[str, Any]]:
    """Every command once, in an empty folder, each in a process of its own.

    Args:
        package: of the version: the folder that holds it; None for this one.

    Raises:
        JobFailed: a command failed.
    """
    paths = [str(package)] if package else []
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONSAFEPATH": "1",  # the program's own folder is no place to import from
    }
    results = []
    for words in COMMANDS.values():
        done = subprocess.run(
            [sys.executable, str(STAND_IN), "times.json", *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise JobFailed(f"mnasfpn {words[0]} failed beside the stand-in: {done.stderr}")
        results.append(json.loads((folder / "times.json").read_text()))
    return results


def timings(version: str, repeats: list[list[dict[str, Any]]]) -> list[Timing]:
    """Of what :func:`once` gave each time."""
    found = []
    for number, name in enumerate(COMMANDS):
        each = [results[number] for results in repeats]
        stages = {
            stage: statistics.median(result["stages"][stage] for result in each)
            for stage in each[0]["stages"]
        }
        cpu_s = tuple(result["cpu_s"] for result in each)
        found.append(Timing(version, name, cpu_s, stages, each[0]["visits"]))
    return found


def markdown(found: list[Timing], repeats: int) -> str:
    versions = list(dict.fromkeys(timing.version for timing in found))
    visits = " or ".join(sorted({f"{each.visits:,}" for each in found if each.visits}))
    beside = f", in turns with {versions[0]} in a folder of its own" if versions[1:] else ""
    lines = [
        "# What `mnasfpn profile` takes beside measuring",
        "",
        "Provenance: **simulated** measurements, on a stand-in for this PC that answers at once; "
        "the times of everything else are measured. The MnasFPN space at 320x320 with the default "
        "heads, kernels in files of their own, five rounds: "
        f"{visits} visits. Seconds of processor time, medians of {repeats} repeats"
        f"{beside}, each command in a process of its own; the stand-in's own time is left out. "
        "Stages by where the program was at every tick of a clock.",
        "",
        f"| | {' | '.join(versions)} |",
        "|---|" + "---|" * len(versions),
    ]
    for name in COMMANDS:
        row = [timing for timing in found if timing.command == name]
        lines.append(f"| **{name}** | {' | '.join(f'**{each.median_s:.1f}**' for each in row)} |")
        for stage in row[0].stages:
            seconds = [each.stages[stage] for each in row]
            if max(seconds) >= LEAST_S:
                lines.append(f"| {stage} | {' | '.join(f'{each:.2f}' for each in seconds)} |")
    return "\n".join(lines) + "\n"


def named(text: str | None) -> dict[str, Path | None]:
    """Versions to measure, this one last.

    Raises:
        InvalidInput: no folder with a version in it is named.
    """
    if text is None:
        return {THIS: None}
    name, _, folder = text.partition("=")
    if not (Path(folder) / "mnasfpn" / "__init__.py").is_file():
        raise InvalidInput(
            f"--beside takes NAME=FOLDER, where the folder holds a version as mnasfpn/; got {text}"
        )
    return {name: Path(folder).absolute(), THIS: None}


@command
@click.option("--beside", help="NAME=FOLDER of another version to measure in turns with this one.")
@click.option("--repeats", default=5, show_default=True, help="Of all commands.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
def main(beside: str | None, repeats: int, out: Path, as_json: bool) -> dict[str, object]:
    """What `mnasfpn profile` takes beside measuring."""
    versions = named(beside)
    results: dict[str, list[list[dict[str, Any]]]] = {version: [] for version in versions}
    with progress("profiling a stand-in", quiet=as_json) as watch:
        for repeat in range(repeats):
            for number, (version, package) in enumerate(versions.items(), start=1):
                with tempfile.TemporaryDirectory(prefix="mnasfpn-") as folder:
                    results[version].append(once(package, Path(folder)))
                watch(repeat * len(versions) + number, repeats * len(versions), version)
    found = [each for version in versions for each in timings(version, results[version])]
    text = markdown(found, repeats)
    result: dict[str, object] = {
        "provenance": "simulated",
        "repeats": repeats,
        "timings": [{**asdict(each), "median_s": each.median_s} for each in found],
    }
    write_atomically(out / "profile_overhead.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "profile_overhead.md", text)
    if not as_json:
        click.echo(text)
    return result


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.profile_overhead")
