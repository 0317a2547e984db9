"""``python -m mnasfpn.benchmarks.virtual_new_phone``: one virtual phone from the other, both ways.

Two virtual ARM phones are profiled in full, by ``mnasfpn profile`` and ``mnasfpn fit``. Then each
is taken for new and profiled by ``mnasfpn profile --from`` the other's profile, with 5, 10 and 20
models, and its validation heads, which nothing was fitted on, are predicted. Beside that stand
three ways that know k of the new phone's calibration heads, drawn at random.

Their clocks count instructions: nothing here is about a real phone; :mod:`.transfer` is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from ..cli.console import command
from ..errors import JobFailed
from ..latency.estimate.estimate import Estimator
from ..latency.fitting.kernel_rates import TimedModel, fit_rates
from ..latency.kernels.execution import execution_plan
from ..latency.kernels.features import Matrix
from ..latency.profile.device_profile import DeviceProfile, MeasuredHead, load_profile
from ..latency.profiling.head_graph import head_graph
from ..latency.profiling.profile_options import ProfileOptions
from ..models.graph.graph import Graph
from ..storage.atomic import write_atomically
from .packed_kernels import OUT
from .transfer import COUNTS
from .virtual_phone import CPUS, MNASFPN, profiled, started

DRAWS = 50  # of the k heads that other ways know


@dataclass(frozen=True, slots=True)
class Row:
    """Mean absolute relative errors on the new phone's validation heads.

    Args:
        expected: what the transferred profile's own validation says.
        inside: share of the heads inside their interval, which is meant to hold ``coverage``.
        one_factor, log_linear, from_scratch: means over the draws.
    """

    what: str
    models: int
    ours: float
    expected: float
    inside: float
    coverage: float
    one_factor: float
    log_linear: float
    from_scratch: float


def compare(
    old: DeviceProfile, new: DeviceProfile, transferred: Sequence[DeviceProfile]
) -> list[Row]:
    """One row for each transferred profile.

    Args:
        old, new: in full, fitted.
        transferred: the new phone's, from the old one's and few models.
    """
    pool, tested = (_heads(new, role) for role in ("calibration", "validation"))
    old_ms = [np.asarray([_ms(old, graph) for graph, _ in heads]) for heads in (pool, tested)]
    new_ms = [np.asarray([ms for _, ms in heads]) for heads in (pool, tested)]
    kernels = [[execution_plan(graph).kernels for graph, _ in heads] for heads in (pool, tested)]
    rows = []
    for profile in transferred:
        assert profile.validation is not None
        count = profile.require_calibration().models + len(profile.campaign.failed)
        estimates = [Estimator(profile).estimate(graph) for graph, _ in tested]
        others = []
        for seed in range(DRAWS):
            known = np.random.default_rng(seed).permutation(len(pool))[:count]
            timed = [TimedModel("", kernels[0][i], float(new_ms[0][i])) for i in known]
            factor = np.median(new_ms[0][known] / old_ms[0][known])
            slope, constant = np.polyfit(np.log(old_ms[0][known]), np.log(new_ms[0][known]), 1)
            predictions = (
                factor * old_ms[1],
                np.exp(slope * np.log(old_ms[1]) + constant),
                fit_rates(timed).predict_ms(kernels[1]),
            )
            others.append([_error(predicted, new_ms[1]) for predicted in predictions])
        inside = [e.low_ms <= ms <= e.high_ms for e, ms in zip(estimates, new_ms[1], strict=True)]
        rows.append(
            Row(
                f"{old.device.model} -> {new.device.model}",
                count,
                _error(np.asarray([each.latency_ms for each in estimates]), new_ms[1]),
                profile.validation.accuracy.mape.value,
                float(np.mean(inside)),
                profile.require_calibration().coverage,
                *map(float, np.mean(others, axis=0)),
            )
        )
    return rows


def _heads(profile: DeviceProfile, role: str) -> list[tuple[Graph, float]]:
    return [(_graph(head), head.latency_ms) for head in profile.heads if head.role == role]


def _graph(head: MeasuredHead) -> Graph:
    return head_graph(head.genotype, head.channels, head.input_size)


def _ms(profile: DeviceProfile, graph: Graph) -> float:
    return Estimator(profile).estimate(graph).latency_ms


def _error(predicted_ms: Matrix, measured_ms: Matrix) -> float:
    return float(np.abs(predicted_ms / measured_ms - 1).mean())


def transfers(serial: str, program: Path, old: Path, folder: Path) -> Iterator[DeviceProfile]:
    """What ``mnasfpn profile --from`` makes with 5, 10 and 20 models; in one store.

    Raises:
        JobFailed: the command failed; it has said why.
    """
    for count in COUNTS:
        out = folder / f"from {count}.json"
        words = ["profile", "--device", serial, "--binary", program, "--from", old]
        words += ["--models", count, "--out", out, "--store", folder / "few.db"]
        done = subprocess.run([*MNASFPN, *map(str, words)], stdout=sys.stderr, check=False)
        if done.returncode:
            raise JobFailed(f"mnasfpn profile ended with exit code {done.returncode}; see above")
        yield load_profile(out)


def markdown(rows: Sequence[Row]) -> str:
    lines = [
        "# One virtual phone from the other",
        "",
        "Provenance: **simulated**: LiteRT for AArch64 under QEMU with invented costs per "
        "instruction. It proves the way from an old profile and adb to a new one, and says nothing "
        "about real phones' milliseconds; what does is [transfer](transfer.md).",
        "",
        "Mean absolute relative errors on heads that nothing was fitted on. *Ours* measures the k "
        "models that `mnasfpn profile --from` chose; the others know k heads at random "
        f"({DRAWS} draws).",
        "",
        "| what | k | ours | expected | inside (meant) | from scratch | one factor | log-linear |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.models} | {row.ours:.2%} | {row.expected:.2%} | {row.inside:.0%} "
        f"({row.coverage:.0%}) | {row.from_scratch:.2%} | {row.one_factor:.2%} | "
        f"{row.log_linear:.2%} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


@command
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder of the runs: resumable.")
@click.option("--input-size", default=128, help="Pixels of the image the heads' features are of.")
def main(out: Path, keep: Path | None, input_size: int, as_json: bool) -> dict[str, object]:
    """Profile each of two virtual phones from the other's profile."""
    full: dict[str, DeviceProfile] = {}
    rows = []
    with ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="mnasfpn-"))
        # The first is profiled in full, then the second, which is new to it; then the first again.
        for cpu, other in (CPUS, CPUS[::-1], CPUS):
            folder = (keep or Path(temporary)) / cpu
            folder.mkdir(parents=True, exist_ok=True)
            with started(cpu) as (phone, program):
                if cpu not in full:
                    asked = ProfileOptions(phone.serial, input_size=input_size, kernels="packed")
                    full[cpu], _ = profiled(asked, program, folder)
                if other in full:
                    old = folder.with_name(other) / "packed.json"
                    found = [*transfers(phone.serial, program, old, folder)]
                    rows += compare(full[other], full[cpu], found)
    text = markdown(rows)
    result: dict[str, object] = {"provenance": "simulated", "rows": [asdict(row) for row in rows]}
    write_atomically(out / "virtual_new_phone.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "virtual_new_phone.md", text)
    if not as_json:
        click.echo(text)
    return result


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.virtual_new_phone")
