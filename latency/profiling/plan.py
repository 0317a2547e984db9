"""What profiling a device measures: kernels of a space, of detectors and networks, and heads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ...models.graph.arithmetic import Arithmetic, in_arithmetic
from ...models.graph.graph import Graph
from ...models.space import MNASFPN, Space
from ..kernels.execution import execution_plan
from ..kernels.kernel import Kernel, kernel_graph
from ..kernels.runtimes import XNNPACK, Runtime
from ..profile.device_profile import Role
from .head_graph import INPUT_SIZE, MOBILENET_V2_CHANNELS, head_graph
from .packing import Pack, pack
from .sampled_heads import DrawnHead, random_heads
from .sampled_kernels import general_kernels
from .sampled_networks import Network, random_networks
from .space_kernels import distinct, space_kernels

#: As little work as a model can have: what remains is the call of the interpreter.
DISPATCH = Kernel.parse("relu6 1x1x1x16 -> 1x1x1x16")
REPEAT = " again"  # behind the name of a validation head: its second measurement


@dataclass(frozen=True)
class ProfilingPlan:
    """What is measured. All that follows from the fields is worked out once, when it is asked for.

    Args:
        space: every kernel its genotypes can need, and heads drawn from it.
        detectors: whole models whose kernels are measured too, so that their estimates come from
            the table.
        general: how many kernels of networks in general are measured as well, so that any .tflite
            can be estimated; see :mod:`.sampled_kernels`.
        networks: how many random networks, with their kernels, are measured to calibrate on.
        arithmetics: that general kernels, networks and detectors are measured in; each costs as
            much as the first.
        seed: of the heads; calibration and validation draw from different streams of it.
        calibration_heads, validation_heads: how many; the latter are measured twice.
        channels, input_size: of the backbone's features the heads stand on.
        packed: kernels are measured many in one file, by the operator profile; see
            ``docs/measuring-kernels.md``.
    """

    space: Space = MNASFPN
    detectors: tuple[Graph, ...] = ()
    general: int = 0
    networks: int = 0
    arithmetics: tuple[Arithmetic, ...] = ("float32",)
    seed: int = 0
    calibration_heads: int = 40
    validation_heads: int = 40
    channels: tuple[int, int, int] = MOBILENET_V2_CHANNELS
    input_size: int = INPUT_SIZE
    runtime: Runtime = XNNPACK
    packed: bool = False

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel to measure alone, sorted by signature."""
        found = {DISPATCH, *space_kernels(self.space, self.channels, self.input_size, self.runtime)}
        networks = [network.graph for network in self.random_networks]
        for arithmetic in self.arithmetics:
            networks += [in_arithmetic(graph, arithmetic) for graph in self.detectors]
            found.update(general_kernels(self.general, self.seed, arithmetic))
        for graph in networks:
            found.update(execution_plan(graph, self.runtime).kernels)
        return distinct(kernel for kernel in found if kernel.op != "foreign")

    @cached_property
    def packs(self) -> tuple[Pack, ...]:
        """The kernels in files of many; none where each is measured alone."""
        return pack(self.kernels, self.runtime) if self.packed else ()

    @cached_property
    def random_networks(self) -> tuple[Network, ...]:
        """The same ones in each arithmetic."""
        return tuple(
            network
            for arithmetic in self.arithmetics
            for network in random_networks(self.networks, self.seed, arithmetic)
        )

    @cached_property
    def heads(self) -> dict[Role, tuple[DrawnHead, ...]]:
        return {
            "calibration": random_heads(self.space, self.calibration_heads, 2 * self.seed),
            "validation": random_heads(self.space, self.validation_heads, 2 * self.seed + 1),
        }

    @cached_property
    def whole_models(self) -> dict[str, Graph]:
        """Heads, twice where they validate, and random networks."""
        graphs = {}
        for role, heads in self.heads.items():
            for head in heads:
                graph = head_graph(head.genotype, self.channels, self.input_size)
                graphs[head.name] = graph
                if role == "validation":
                    graphs[head.name + REPEAT] = graph
        return graphs | {network.name: network.graph for network in self.random_networks}

    @property
    def graphs(self) -> dict[str, Graph]:
        """Name -> what is measured under it, but packs."""
        alone = () if self.packed else self.kernels
        return {
            **{kernel.signature: kernel_graph(kernel) for kernel in alone},
            **self.whole_models,
        }

    @property
    def measured_names(self) -> tuple[str, ...]:
        """Of all that a profile holds, however its kernels are measured."""
        kernels = (kernel.signature for kernel in self.kernels)
        return (*kernels, *self.whole_models)
