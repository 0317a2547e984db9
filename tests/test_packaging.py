"""What an installation holds: every package and file, and a way out where an extra is missing."""

from __future__ import annotations

import configparser
import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mnasfpn.cli.console import EXTRAS, command
from mnasfpn.cli.main import main

ROOT = Path(__file__).parents[1]
NOT_PACKAGED = {".ci", "docs", "tests"}


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters="=")
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Files of the repository that belong into a wheel or could."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so nothing tells which files belong to the project")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [Path(name) for name in listed.stdout.split("\0") if name]
    return [file for file in files if len(file.parts) > 1 and file.parts[0] not in NOT_PACKAGED]


def test_every_folder_with_code_is_a_listed_package(
    setup: configparser.ConfigParser, tracked: list[Path]
) -> None:
    folders = {file.parent for file in tracked if file.suffix == ".py"}
    found = {".".join(("mnasfpn", *folder.parts)) for folder in folders} | {"mnasfpn"}
    assert found == set(setup["options"]["packages"].split())


def test_every_file_that_code_reads_is_package_data(
    setup: configparser.ConfigParser, tracked: list[Path]
) -> None:
    patterns = {
        str(Path(*package.split(".")[1:], pattern))
        for package, lines in setup["options.package_data"].items()
        for pattern in lines.split()
    }
    data = [str(file) for file in tracked if file.suffix != ".py"]
    assert "py.typed" in patterns
    left_out = [file for file in data if not any(fnmatch.fnmatch(file, p) for p in patterns)]
    # Results of benchmarks are read by people in the repository, never by code.
    assert [file for file in left_out if not file.startswith("benchmarks/results/")] == []


def test_every_requirement_has_one_exact_version(setup: configparser.ConfigParser) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.partition(";")[0] for line in lines if line and not line.startswith("#")]
    exact = [re.fullmatch(r"([\w.-]+)==[\w.]+", pin) for pin in pins]
    assert all(exact)
    pinned = {pin[1].lower().replace("_", "-") for pin in exact if pin}
    wanted = setup["options"]["install_requires"].splitlines()
    for lines in setup["options.extras_require"].values():
        wanted += lines.splitlines()
    names = {
        re.split(r"[><=;\[]", line)[0].strip().lower().replace("_", "-")
        for line in wanted
        if line and 'platform_machine == "aarch64"' not in line
    } - {"mnasfpn"}
    assert names - pinned == set()


def missing(monkeypatch: pytest.MonkeyPatch, library: str, *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a command where a library is not installed."""
    for module in [m for m in sys.modules if m.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    result = CliRunner().invoke(main, arguments)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return result.exit_code, result.stderr


def test_report_without_its_extra_tells_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    code, stderr = missing(
        monkeypatch, "matplotlib", "report", "--profile", "pixel1-published", "--out", str(out)
    )
    assert (code, stderr) == (
        1,
        "mnasfpn: this needs matplotlib, which is not installed; run `pip install "
        "'mnasfpn[report]'` (or 'mnasfpn[all]' for all commands)\n",
    )
    assert not out.exists()


def test_every_named_extra_has_the_library(setup: configparser.ConfigParser) -> None:
    for library, extra in EXTRAS.items():
        lines = setup["options.extras_require"][extra].splitlines()
        name = library.replace("_", "-")
        assert any(line.startswith(name) for line in lines), (library, extra)


def test_a_module_of_ours_that_is_missing_is_a_bug_and_says_so() -> None:
    @command
    def broken(as_json: bool) -> None:
        import mnasfpn.no_such_module  # type: ignore[import-not-found]  # noqa: F401

    result = CliRunner().invoke(broken)
    assert isinstance(result.exception, ModuleNotFoundError)


@pytest.mark.parametrize("name", ["models", "devices"])
def test_what_needs_no_extra_works_without_any(name: str) -> None:
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(EXTRAS)!r}))\n"
        "from mnasfpn.cli.main import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, name, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
