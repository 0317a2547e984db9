"""The rules of the house, read off the imports: who may import whom, no circles, nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
COMMON = {"errors", "progress", "storage"}  # what every room may import

#: Room -> the rooms it may import beside itself and what is common; as in docs/architecture.md.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "progress": set(),
    "storage": set(),
    "models": set(),
    "android_harness": set(),
    "latency": {"models", "android_harness"},
    "search": {"models", "latency"},
    "report": {"models", "latency", "search"},
    "cli": {"models", "android_harness", "latency", "search", "report"},
    "benchmarks": {"models", "android_harness", "latency", "search", "report", "cli", "tests"},
}
#: What a part of a room must not import, although the room may.
STRICTER: dict[str, set[str]] = {
    "cli/console": {"report"},
    "cli/options": {"report", "models", "latency", "search", "android_harness"},
    "search/controllers": {
        *("latency", "models/graph", "models/genotype", "search/scoring", "search/study"),
        *("models/networks/keras_network", "models/networks/torch_network"),
    },
    "latency/profile": {"latency/fitting", "latency/profiling", "latency/estimate"},
    "models/graph": {"models/networks", "models/tflite", "models/heads", "models/backbones"},
}
#: Too slow to load, or not in every installation: imported where they are used.
HEAVY = (
    *("tensorflow", "keras", "torch", "ray", "mediapipe", "matplotlib", "sklearn", "pycocotools"),
    *("PIL", "jinja2", "adbutils"),
)
#: What is written in PyTorch's own terms, and imported by others where they begin to compute.
IN_TORCH = ("models/networks/torch_network", "models/training/trainer")
MOST_LINES = 400
#: Folders whose files are named after what is typed or shown, not after what they hold alone.
FREE_NAMES = ("cli/verbs", "benchmarks", "tests")

Module = tuple[str, ...]


@cache
def files() -> dict[Module, Path]:
    """Every module of the package, tests too: its parts -> its file."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [PurePosixPath(name) for name in listed.stdout.split("\0") if name]
    return {module_of(path): ROOT / path for path in paths if (ROOT / path).exists()}


def module_of(path: PurePosixPath) -> Module:
    parts = path.with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def product() -> dict[Module, Path]:
    return {module: path for module, path in files().items() if module[:1] != ("tests",)}


def imports(module: Module) -> Iterator[Module]:
    """Modules of ours that a file imports: anywhere in it, and for type checkers too."""
    path = files()[module]
    package = module if path.name == "__init__.py" else module[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named = [tuple(alias.name.split(".")) for alias in node.names]
            yield from (name[1:] for name in named if name[0] == "mnasfpn")
        if not isinstance(node, ast.ImportFrom):
            continue
        source = tuple((node.module or "").split(".")) if node.module else ()
        if node.level:
            source = package[: len(package) - node.level + 1] + source
        elif source[0] == "mnasfpn":
            source = source[1:]
        else:
            continue
        for alias in node.names:
            inner = (*source, alias.name)
            yield inner if inner in files() else source


def lies_in(module: Module, part: str) -> bool:
    return module[: part.count("/") + 1] == tuple(part.split("/"))


def test_no_room_imports_upwards() -> None:
    wrong = []
    for module in product():
        room = module[0] if module else ""
        if room in ("", "__main__"):  # the package itself, and what starts its command line
            continue
        allowed = MAY_IMPORT[room] | COMMON | {room, ""}
        wrong += [
            f"{'/'.join(module)} imports {'/'.join(other)}"
            for other in imports(module)
            if (other[0] if other else "") not in allowed
        ]
    assert wrong == []


@pytest.mark.parametrize("part", STRICTER)
def test_parts_that_must_stay_apart(part: str) -> None:
    inside = [module for module in product() if lies_in(module, part)]
    assert inside, f"there is no {part} any more"
    for forbidden in STRICTER[part]:
        assert any(lies_in(module, forbidden) for module in product()), f"no {forbidden} any more"
    wrong = [
        f"{'/'.join(module)} imports {'/'.join(other)}"
        for module in inside
        for other in imports(module)
        if any(lies_in(other, forbidden) for forbidden in STRICTER[part])
    ]
    assert wrong == []


def test_no_circle_of_files() -> None:
    order = TopologicalSorter({module: set(imports(module)) - {module} for module in product()})
    try:
        order.prepare()
    except CycleError as error:
        pytest.fail(" -> ".join("/".join(module) for module in error.args[1]))


def test_nothing_heavy_is_loaded_with_the_package() -> None:
    """All modules at once in a process of their own, but for the program of the PC's worker."""
    light = [module for module in product() if "/".join(module) not in IN_TORCH]
    assert len(light) == len(product()) - len(IN_TORCH)
    names = [".".join(("mnasfpn", *module)) for module in light]
    names = [name for name in names if not name.endswith("__main__") and "benchmarks" not in name]
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_no_file_is_longer_than_can_be_read() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in files().values()}
    assert {str(path): count for path, count in lines.items() if count > MOST_LINES} == {}


def test_no_two_files_have_one_name() -> None:
    named = [
        module[-1]
        for module, path in files().items()
        if path.name not in ("__init__.py", "__main__.py")
        and not any(lies_in(module, free) for free in FREE_NAMES)
    ]
    assert [name for name, count in Counter(named).items() if count > 1] == []


def test_the_document_names_every_room() -> None:
    document = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {"/".join(module) for module, path in product().items() if path.name == "__init__.py"}
    assert {room for room in rooms if room and f"`{room}/`" not in document} == set()


def test_documents_name_only_files_that_are_there() -> None:
    """In the code font, with a folder of ours before them."""
    named = {
        (document.name, path)
        for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
        for path in re.findall(r"`((?:[\w]+/)+[\w.]*)`", document.read_text())
        if path.split("/")[0] in MAY_IMPORT
    }
    assert len(named) > 50
    assert {(name, path) for name, path in named if not (ROOT / path).exists()} == set()


def test_references_of_docstrings_lead_somewhere() -> None:
    lost = [
        f"{'/'.join(module)}: {reference}"
        for module, path in product().items()
        for reference in re.findall(r":\w+:`~?(\.+[\w.]+|mnasfpn\.[\w.]+)`", path.read_text())
        if not leads_somewhere(module, reference)
    ]
    assert lost == []


def leads_somewhere(module: Module, reference: str) -> bool:
    """Whether a dotted name is a module of ours, or something in one."""
    package = module if files()[module].name == "__init__.py" else module[:-1]
    dots = len(reference) - len(reference.lstrip("."))
    parts = tuple(reference.lstrip(".").split("."))
    parts = (*package[: len(package) - dots + 1], *parts) if dots else parts[1:]
    known = max(count for count in range(len(parts) + 1) if parts[:count] in files())
    found: object = import_module(".".join(("mnasfpn", *parts[:known])))
    for name in parts[known:]:
        fields = getattr(found, "__annotations__", {})
        if not hasattr(found, name) and name not in fields:
            return False
        found = getattr(found, name, None)
    return True
