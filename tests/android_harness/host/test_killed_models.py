"""Models during which somebody, such as the system for want of memory, kills the process."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnasfpn.android_harness.campaign import campaign
from mnasfpn.android_harness.device import Job
from mnasfpn.android_harness.host import host
from mnasfpn.android_harness.measurement import Run, Status
from mnasfpn.android_harness.protocol import HOST_PROTOCOL
from mnasfpn.android_harness.verdict import judge
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.android_harness.host.native_runner import obstacle

PROTOCOL = replace(HOST_PROTOCOL, rounds=1, extra_rounds=0, retry_wait_s=0.0, min_cpu_per_wall=0.0)


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Sentinel, a model that is too much for the machine, and one that is not."""
    builder = GraphBuilder()
    builder.conv("conv", builder.input("image", (1, 10, 10, 16)), 16)
    content = write_tflite(builder.graph(["conv"]))
    made = [Job(key, tmp_path / f"{key}.tflite") for key in ("sentinel", "large", "small")]
    for job in made:
        job.model.write_bytes(content)
    return made


@pytest.fixture(params=[False, True], ids=["worker", "runner"])
def op_profile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """With and without the operator profile; the process is killed whenever it gets the model."""
    if request.param and obstacle():
        pytest.skip(obstacle())

    class Runner(subprocess.Popen[Any]):
        def __init__(self, command: list[str], *more: Any, **options: Any) -> None:
            super().__init__(command, *more, **options)
            if any("large" in word for word in command):
                self.send_signal(signal.SIGKILL)

    visit = host._Worker.visit

    def killed(worker: host._Worker, job: Job, settings: Any) -> dict[str, Any]:
        if job.key == "large":
            worker._process.send_signal(signal.SIGKILL)
        return visit(worker, job, settings)

    monkeypatch.setattr(subprocess, "Popen", Runner)
    monkeypatch.setattr(host._Worker, "visit", killed)
    return request.param


def test_a_model_whose_process_is_always_killed_fails_and_the_others_are_measured(
    jobs: list[Job], op_profile: bool
) -> None:
    sentinel, *work = jobs
    settings = PROTOCOL.run_settings(op_profile=op_profile)
    stored: dict[str, list[Run]] = {}
    for job, run in campaign(host.HostDevice(), work, PROTOCOL, 0, settings, sentinel=sentinel):
        stored.setdefault(job.key, []).append(run)
    assert [bool(run.error) for run in stored["large"]] == [True, True]
    verdict = judge(stored["large"], PROTOCOL)
    assert verdict.status is Status.FAILED
    assert "the device was lost while it ran this model: " in verdict.reasons[0]
    assert "killed (SIGKILL) during large" in verdict.reasons[0]
    assert [run.error for run in stored["small"]] == [""]
