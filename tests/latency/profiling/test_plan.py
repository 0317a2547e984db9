"""What follows from a plan's fields is worked out once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from mnasfpn.latency.profiling.plan import REPEAT, ProfilingPlan
from mnasfpn.models.graph.graph import Graph

BIG = 10  # layers of a graph that is more than one kernel


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Graph]]:
    """Every graph of more than one kernel, as it is built."""
    found: list[Graph] = []
    build = Graph.__post_init__

    def counted(graph: Graph) -> None:
        build(graph)
        if len(graph) > BIG:
            found.append(graph)

    monkeypatch.setattr(Graph, "__post_init__", counted)
    return found


def everything(plan: ProfilingPlan) -> tuple[object, ...]:
    return (
        *(plan.kernels, plan.packs, plan.heads, plan.random_networks),
        *(plan.whole_models, plan.measured_names, list(plan.graphs)),
    )


@pytest.mark.parametrize("packed", [False, True])
def test_asked_again_a_plan_builds_no_graph_again(
    tiny_plan: ProfilingPlan, built: list[Graph], packed: bool
) -> None:
    plan = replace(tiny_plan, packed=packed, networks=2, validation_heads=5)
    first = everything(plan)
    assert built
    built.clear()
    assert everything(plan) == first
    assert built == []


def test_another_plan_has_nothing_of_the_first(tiny_plan: ProfilingPlan) -> None:
    plan = replace(tiny_plan, seed=1, calibration_heads=5, validation_heads=5)
    names = {head.name for heads in plan.heads.values() for head in heads}
    assert not names & set(tiny_plan.whole_models)
    assert len(names) == 10


def test_a_head_that_is_measured_twice_is_one_graph(tiny_plan: ProfilingPlan) -> None:
    graphs = tiny_plan.graphs
    for head in tiny_plan.heads["validation"]:
        assert graphs[head.name] is graphs[head.name + REPEAT]
