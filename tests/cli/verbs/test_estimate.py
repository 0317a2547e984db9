"""``mnasfpn estimate``: what it takes, prints, refuses and costs."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnasfpn.models.model_files import to_json as model_json
from mnasfpn.models.published import PUBLISHED
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.cli.processes import BUNDLED, MNASFPN, MODEL, invoke, refused, run
from mnasfpn.tests.models.tflite.foreign_files import two_signatures

pytestmark = pytest.mark.xdist_group("cli")  # one profile and one study for all


def test_estimate_adds_up_and_says_how_good_it_is(fitted: Path) -> None:
    shown = invoke("estimate", MODEL, "--profile", fitted, "--layers")
    (found,) = json.loads(
        invoke("estimate", MODEL, "--profile", fitted, "--layers", "--json").stdout
    )["estimates"].values()
    assert sum(found["by_part_ms"].values()) == pytest.approx(found["latency_ms"])
    kernels_ms = sum(row["latency_ms"] for row in found["layers"])
    assert kernels_ms + found["by_part_ms"]["overhead"] == pytest.approx(found["latency_ms"])
    assert f"{found['latency_ms']:.2f} ms" in shown.stdout
    assert found["accuracy"] in shown.stdout
    assert "simulated" in shown.stdout


def test_a_signature_is_chosen(fitted: Path, tmp_path: Path) -> None:
    """What it computes has another name."""
    (tmp_path / "two.tflite").write_bytes(two_signatures())
    asked = ("estimate", tmp_path / "two.tflite", "--profile", fitted, "--layers", "--json")
    for options, layer in (((), "doubled"), (("--signature", "thrice"), "tripled")):
        (found,) = json.loads(invoke(*asked, *options).stdout)["estimates"].values()
        assert found["layers"][0]["layers"] == [layer]
    assert "it has no signature 'once'" in refused(*asked, "--signature", "once")


def test_estimate_takes_files_of_every_kind(fitted: Path, tmp_path: Path) -> None:
    detector = PUBLISHED[MODEL]
    (tmp_path / "d.json").write_text(model_json(detector))
    (tmp_path / "g.json").write_text(model_json(detector.head))
    (tmp_path / "m.jsonl").write_text(f"{model_json(detector)}\n\n{model_json(detector.head)}\n")
    (tmp_path / "m.tflite").write_bytes(write_tflite(detector.graph()))
    found = {}
    for name in (MODEL, "d.json", "g.json", "m.jsonl", "m.tflite"):
        text = name if name == MODEL else tmp_path / name
        result = invoke("estimate", text, "--profile", fitted, "--json")
        assert result.exit_code == 0, result.output
        found |= {
            f"{name}/{key}": value["latency_ms"]
            for key, value in json.loads(result.stdout)["estimates"].items()
        }
    assert len(found) == 6
    (latency_ms,) = {round(value, 9) for value in found.values()}
    assert latency_ms > 0


# --- what it refuses ------------------------------------------------------------------------------


def test_unknown_models_are_refused_with_the_nearest_name(fitted: Path) -> None:
    message = refused("estimate", "mobilenetv2-mnasfp", "--profile", fitted)
    assert "'mobilenetv2-mnasfp'" in message
    assert f"{MODEL!r}" in message
    assert "nothing.json" in refused("estimate", "nothing.json", "--profile", fitted)
    for text in ("", ".", "/", "*", "nothing.tflite", "nothing.jsonl"):
        refused("estimate", text, "--profile", fitted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cell: cell["blocks"][1].update(inputs=[0, 5]), "takes itself (input 5)"),
        (lambda cell: cell["blocks"][1].update(inputs=[0, 7]), "not before it (input 7)"),
        (lambda cell: cell["blocks"][1].update(inputs=[0, -1]), "not before it (input -1)"),
        (lambda cell: cell["blocks"][2].update(level=7), "level"),
        (lambda cell: cell["blocks"][4].update(level=5), "level"),  # nothing makes level 6
        (lambda cell: cell["blocks"][0].pop("inputs"), "`inputs`"),
        (lambda cell: cell["blocks"][0].update(kernel="3"), "kernel"),
        (lambda cell: cell.update(blocks=[]), "block"),
        (lambda cell: cell.update(schema="mnasfpn-genotype-9"), "schema"),
        (lambda cell: cell.update(chanels=48), "chanels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_genotypes_are_refused(
    fitted: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    cell = json.loads(model_json(PUBLISHED[MODEL].head))
    change(cell)
    path = tmp_path / "g.json"
    path.write_text(json.dumps(cell))
    found = refused("estimate", path, "--profile", fitted)
    assert str(path) in found
    assert message in found


def test_a_profile_that_was_not_fitted_says_what_to_do(measured: Path) -> None:
    message = refused("estimate", MODEL, "--profile", measured, code=1)
    assert "mnasfpn fit" in message


@pytest.mark.parametrize("content", [b"hello", b"", b"TFL3" * 4, b"\x1c\0\0\0TFL3" + b"\0" * 60])
def test_files_that_are_no_tflite_are_refused(fitted: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    assert str(path) in refused("estimate", path, "--profile", fitted)


def test_half_a_tflite_is_refused(fitted: Path, tmp_path: Path) -> None:
    whole = write_tflite(PUBLISHED[MODEL].graph())
    path = tmp_path / "m.tflite"
    path.write_bytes(whole[: len(whole) // 2])
    assert str(path) in refused("estimate", path, "--profile", fitted)


# --- what it costs --------------------------------------------------------------------------------

HEAVY = ("sklearn", "scipy", "tensorflow", "keras", "torch", "ray", "matplotlib")


def test_estimate_of_a_published_model_loads_nothing_heavy() -> None:
    program = (
        "import sys; from mnasfpn.cli.main import main; "
        f"main(['estimate', '{MODEL}', '--profile', '{BUNDLED}'], standalone_mode=False); "
        f"print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    )
    done = run(sys.executable, "-c", program, check=True)
    assert done.stderr.split() == []
    assert f"{MODEL}: " in done.stdout


def cpu_seconds(*command: str) -> float:
    """User and system time, best of several: what else runs here costs cache, never less time."""
    best = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(*command, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        best = min(best, spent)
    return best


@pytest.mark.slow
def test_estimate_costs_little_more_than_importing_numpy() -> None:
    """The bound is a promise of the project: 0.4 s of CPU time."""
    floor = cpu_seconds(sys.executable, "-c", "import numpy")
    assert cpu_seconds(*MNASFPN, "estimate", MODEL, "--profile", BUNDLED) <= floor + 0.4
