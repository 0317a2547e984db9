"""The command line as tests run it: in this process, or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from mnasfpn.cli.main import main

MNASFPN = [str(Path(sys.executable).with_name("mnasfpn"))]
SIMULATED = [sys.executable, str(Path(__file__).with_name("simulated_host.py"))]
FEW_HEADS = ["--calibration-heads", "8", "--validation-heads", "8"]
MODEL, BUNDLED = "mobilenetv2-mnasfpn", "pixel1-published"


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), prog_name="mnasfpn")


def refused(*arguments: object, code: int = 2) -> str:
    """Message of a command that must fail with one line and nothing else."""
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("mnasfpn: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def search(study: Path, profile: Path, samples: int) -> subprocess.CompletedProcess[str]:
    return run(*search_command(study, profile, samples))


def search_command(study: Path, profile: Path, samples: int) -> list[str]:
    options = ["--profile", profile, "--study", study, "--samples", samples]
    return [*SIMULATED, "0", "search", "--controller", "random", *map(str, options)]
