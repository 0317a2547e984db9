"""A pytest plugin: a test that takes more CPU than its mark says is an error.

`make check` runs the tests that are not marked as expensive, in a time that it promises.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

#: Seconds of CPU for a test that is not marked, and for what it shares with others. The marks begin
#: at a third of that, since machines differ, and so does what else they do.
MOST_CPU_S, MOST_SHARED_CPU_S = 3.0, 6.0
#: That many modules are a large library, which whoever needs it first loads for all; TensorFlow takes
#: so long that the tests that are not marked do without.
LARGE_LIBRARY = 100
EXPENSIVE = ("slow", "phone", "proof")


@dataclass(frozen=True)
class Moment:
    """When the clock of a test or of a shared fixture began to run.

    Args:
        cpu_s: of this process and of those it started that have ended.
        modules, tensorflow: how many are loaded, and whether it is.
        shared_s: what shared fixtures have taken so far.
    """

    cpu_s: float
    modules: int
    tensorflow: bool
    shared_s: float

    @classmethod
    def now(cls) -> Moment:
        return cls(
            cpu_s=sum(os.times()[:4]),
            modules=len(sys.modules),
            tensorflow="tensorflow" in sys.modules,
            shared_s=sum(SHARED_S.values()),
        )

    def spent_s(self) -> float:
        """Since then, without shared fixtures; nothing where a large library was loaded."""
        now = Moment.now()
        if now.modules - self.modules > LARGE_LIBRARY:
            return 0.0
        return now.cpu_s - self.cpu_s - (now.shared_s - self.shared_s)


SHARED_S: dict[tuple[str, str], float] = {}  # (node, name) of fixtures -> what they took
BEGUN = pytest.StashKey[Moment]()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any) -> Generator[None, object, object]:
    begun = Moment.now()
    result = yield
    if fixturedef.scope != "function":
        SHARED_S[fixturedef.baseid, fixturedef.argname] = begun.spent_s()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[BEGUN] = Moment.now()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Function) -> Generator[None, object, object]:
    result = yield
    if not any(map(item.get_closest_marker, EXPENSIVE)) and (why := "; ".join(excess(item))):
        pytest.fail(f"{why}: mark it slow", pytrace=False)
    return result


def excess(item: pytest.Function) -> Iterator[str]:
    """What a test does that only one that is marked may do."""
    begun = item.stash[BEGUN]
    if "tensorflow" in sys.modules and not begun.tensorflow:
        yield "loaded TensorFlow"
    if (own_s := begun.spent_s()) > MOST_CPU_S:
        yield f"took {own_s:.1f} s of CPU"
    for (node, name), shared_s in SHARED_S.items():
        used = name in item.fixturenames and item.nodeid.startswith(node)
        if used and shared_s > MOST_SHARED_CPU_S:
            yield f"waited for {name}, which took {shared_s:.1f} s of CPU"
