"""A new phone in minutes: a few whole models, chosen by what an old phone's profile does not tell.

What could be measured is what will be asked for: heads of a space, the paper's detectors, and where
the old profile covers them random networks of each arithmetic. Of these the ones are measured that
tell most; see :mod:`..fitting.optimal_design`. What was measured on the old phone itself is
preferred to its estimate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...errors import InvalidInput, JobFailed
from ...models.graph.arithmetic import ARITHMETICS
from ...models.graph.graph import Graph
from ...models.published import PAPER, published
from ...models.space import MNASFPN, Space
from ..estimate.estimate import Estimator
from ..fitting.accuracy import LEAST_TO_VALIDATE
from ..fitting.optimal_design import most_informative
from ..fitting.transferred_profile import TransferredModel, plan_parts, transferred_profile
from ..kernels.execution import ExecutionPlan, execution_plan
from ..kernels.runtimes import runtime_named
from ..profile.device_profile import DeviceProfile
from .head_graph import INPUT_SIZE, head_graph
from .measured_profile import campaign_record
from .sampled_heads import random_heads
from .sampled_networks import random_networks
from .session import Session

HEADS, NETWORKS = 100, 24  # drawn to choose from; networks in each arithmetic
MODELS = 20  # measured by default


@dataclass(frozen=True)
class Candidate:
    """A model that could be measured.

    Args:
        population: models that are drawn as it was.
        parts: what it is made of on the old phone, in microseconds.
        old_ms: as measured there, if it was.
    """

    name: str
    population: str
    graph: Graph
    plan: ExecutionPlan
    parts: dict[str, float]
    old_ms: float | None

    @property
    def old_us(self) -> float:
        return sum(self.parts.values()) if self.old_ms is None else 1e3 * self.old_ms


def profile_from(
    session: Session,
    old: DeviceProfile,
    count: int = MODELS,
    space: Space = MNASFPN,
    input_size: int = INPUT_SIZE,
) -> DeviceProfile:
    """Measure so many models, and make the session's device a profile from another one's.

    Resumable as any profile: what is VALID in the session's store is not measured again.

    Args:
        session: of the old profile's runtime.
        old: fitted.
        space, input_size: of heads and detectors to choose from.

    Raises:
        InvalidInput: the session is of another runtime, or the old profile covers too few models.
        DeviceError: the device cannot go on; what was measured is kept.
        JobFailed: fewer than five models could be measured.
    """
    if session.runtime.name != old.runtime:
        raise InvalidInput(
            f"the old profile is of the runtime {old.runtime!r}, the session of "
            f"{session.runtime.name!r}; kernels of one are not those of the other"
        )
    chosen = choose(candidates(old, space, input_size, session.seed), count)
    session.measure({model.name: model.graph for model in chosen})
    found = session.measurements()
    verdicts = {model.name: found[model.name].verdict for model in chosen}
    measured = [
        TransferredModel(model.name, model.plan, centre_us / 1e3, model.old_ms)
        for model in chosen
        if (centre_us := found[model.name].centre_us) is not None
    ]
    names = {model.name for model in measured}
    failed = {
        name: "; ".join(verdict.reasons) for name, verdict in verdicts.items() if name not in names
    }
    if len(measured) < LEAST_TO_VALIDATE:
        name, reason = next(iter(failed.items()))
        raise JobFailed(
            f"{len(measured)} of {len(chosen)} models could be measured, and a transfer needs "
            f"{LEAST_TO_VALIDATE}; {name}: {reason}"
        )
    statuses = [verdict.status for verdict in verdicts.values()]
    record = campaign_record(session, statuses, failed)
    return transferred_profile(old, session.info, record, measured)


def choose(models: list[Candidate], count: int) -> list[Candidate]:
    """The most telling ones, each population asked for as often as any other.

    Raises:
        InvalidInput: there are fewer.
    """
    if count > len(models):
        raise InvalidInput(
            f"the old profile covers {len(models)} models to choose from, fewer than {count}; "
            "measure fewer, or make it of the same --space"
        )
    sizes = Counter(model.population for model in models)
    chosen = most_informative(
        [model.old_us for model in models],
        [model.parts for model in models],
        count,
        [1 / sizes[model.population] for model in models],
    )
    return [models[i] for i in chosen]


def candidates(
    old: DeviceProfile, space: Space = MNASFPN, input_size: int = INPUT_SIZE, seed: int = 0
) -> list[Candidate]:
    """All that could be measured, and that the old profile covers.

    Raises:
        NotCovered: the old profile is not fitted.
    """
    estimator, runtime = Estimator(old), runtime_named(old.runtime)
    known = _measured_ms(old)
    found = []
    for name, population, graph in _models(old, space, input_size, seed):
        plan = execution_plan(graph, runtime)
        if all(estimator.kernel(kernel).source != "bound" for kernel in plan.kernels):
            parts = plan_parts(estimator, plan)
            old_ms = known.get(_signatures(plan))
            found.append(Candidate(name, population, graph, plan, parts, old_ms))
    return found


def _models(
    old: DeviceProfile, space: Space, input_size: int, seed: int
) -> Iterator[tuple[str, str, Graph]]:
    """(name, population, graph) of heads, detectors and networks."""
    for head in old.heads:
        graph = head_graph(head.genotype, head.channels, head.input_size)
        yield f"{head.name} {head.input_size}px", "heads", graph
    measured = {(head.genotype, head.input_size) for head in old.heads}
    for drawn in random_heads(space, HEADS, seed):
        if (drawn.genotype, input_size) not in measured:
            graph = head_graph(drawn.genotype, input_size=input_size)
            yield f"{drawn.name} {input_size}px", "heads", graph
    for name in PAPER:
        detector = replace(published(name), input_size=input_size)
        yield f"{name} {input_size}px", "detectors", detector.graph()
    for arithmetic in ARITHMETICS:
        for network in random_networks(NETWORKS, seed, arithmetic):
            yield network.name, f"{arithmetic} networks", network.graph


def _measured_ms(old: DeviceProfile) -> dict[tuple[str, ...], float]:
    """Signatures of a model's kernels in their order -> its latency on the old phone."""
    runtime = runtime_named(old.runtime)
    found = {network.kernels: network.latency_ms for network in old.networks}
    for head in old.heads:
        graph = head_graph(head.genotype, head.channels, head.input_size)
        found[_signatures(execution_plan(graph, runtime))] = head.latency_ms
    return found


def _signatures(plan: ExecutionPlan) -> tuple[str, ...]:
    return tuple(kernel.signature for kernel in plan.kernels)
