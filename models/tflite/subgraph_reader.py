"""One subgraph of a TensorFlow Lite file -> Graph, with those that its composites stand for.

Everything is looked at when it is needed, so that oddities of what no runtime runs do not matter:
spare subgraphs, and tensors that nothing reads.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.schema_py_generated import BuiltinOperator

from ...errors import InvalidModelFile
from ..graph.attributes import DEFAULT, Attributes, Shape
from ..graph.graph import Graph
from ..graph.layer import Layer
from ..graph.operators import FUSING, OPS
from .file_model import FileModel
from .flatbuffer import DamagedBuffer, Table
from .operator_call import Call, FileTensor, Reading
from .operator_rules import CUSTOM_RULES, DECOMPRESSING, RULES, decompressed
from .schema import ACTIVATION

ACTIVATION_OPS = {code: op for op, code in ACTIVATION.items()}
ACTIVATION_NAMES = {
    code: name for name, code in vars(schema.ActivationFunctionType).items() if name[0] != "_"
}
CONTROL_FLOW = frozenset(
    (
        *(BuiltinOperator.WHILE, BuiltinOperator.IF),
        *(BuiltinOperator.STABLEHLO_WHILE, BuiltinOperator.STABLEHLO_CASE),
    )
)
#: Composites for which the runtime has a kernel: it does not look at what they are made of.
COMPOSITE_KERNELS = frozenset(("odml.scaled_dot_product_attention",))


def read_subgraph(model: FileModel, index: int) -> Graph:
    """The graph of one subgraph of a file.

    Raises:
        InvalidModelFile, DamagedBuffer, InvalidGraph: as :func:`.reader.read_tflite`.
    """
    reader = _SubgraphReader(model, model.called(index))
    for tensor in reader.inputs:
        if tensor not in reader.made:  # an input may be listed twice
            reader.add(tensor, "input", (), target=reader.at(tensor).shape)
    reader.read_operators()
    outputs = reader.outputs()
    if not outputs:  # all that is computed is run, whoever reads it
        read = {name for layer in reader.layers.values() for name in layer.inputs}
        outputs = tuple(name for name in reader.layers if name not in read)
    outputs += tuple(name for name in reader.effects if name not in outputs)
    return Graph(tuple(reader.layers.values()), outputs)


@dataclass
class _SubgraphReader:
    """One subgraph on its way to layers of a Graph.

    Args:
        depth: inside how many others it stands.
        tensors: those that were looked at.
        made: tensor -> layer.
        owners: kernel and bias -> first layer.
        layers, effects: of the graph, also of what this subgraph stands in.
    """

    model: FileModel
    table: Table
    depth: int = 0
    tensors: dict[int, FileTensor] = field(default_factory=dict)
    made: dict[int, str] = field(default_factory=dict)
    owners: dict[object, str] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        return self.table.integers(1)

    @cached_property
    def tables(self) -> list[Table]:
        return self.table.tables(0)

    def outputs(self) -> tuple[str, ...]:
        return tuple(self._source(index) for index in self.table.integers(2))

    def read_operators(self) -> None:
        for operator in self._in_order(self.table.tables(3)):
            self._operator(operator)

    def _in_order(self, operators: list[Table]) -> Iterator[Table]:
        """As they can be computed, else as the file has them."""
        makers = {
            index: place
            for place, operator in reversed(list(enumerate(operators)))
            for index in operator.integers(2)
        }
        readers: dict[int, list[int]] = {}
        missing = []
        for place, operator in enumerate(operators):
            sources = {makers[index] for index in operator.integers(1) if index in makers}
            missing.append(len(sources))
            for source in sources:
                readers.setdefault(source, []).append(place)
        ready = [place for place, count in enumerate(missing) if not count]
        done = 0
        while ready:
            place = heapq.heappop(ready)
            yield operators[place]
            done += 1
            for reader in readers.get(place, ()):
                missing[reader] -= 1
                if not missing[reader]:
                    heapq.heappush(ready, reader)
        if done < len(operators):
            raise DamagedBuffer(f"{len(operators) - done} operators wait for each other's results")

    def at(self, index: int) -> FileTensor:
        """A tensor that is used.

        Raises:
            InvalidModelFile: its shape is only known at run time.
        """
        tensor = self._peek(index)
        if tensor.free and index in self.inputs:
            raise InvalidModelFile(
                f"input {tensor.name!r} has a shape that is only known at run time ({tensor.free});"
                " only the batch size may be free: convert the model with a fixed input size"
            )
        if tensor.free:
            raise InvalidModelFile(
                f"tensor {tensor.name!r} has a shape that is only known at run time "
                f"({tensor.free}): it depends on what the data are; expected operators whose "
                "results have one size: cut them off, and estimate what stands before them"
            )
        return tensor

    def _operator(self, table: Table) -> None:
        place = table.scalar(0, "I", 0)
        if place >= len(self.model.codes):
            raise DamagedBuffer(
                f"operator code {place} is asked for, there are {len(self.model.codes)}"
            )
        code, label = self.model.codes[place]
        if code in CONTROL_FLOW:
            raise InvalidModelFile(
                f"it has control flow ({label}), which cannot be estimated: how often its "
                "subgraphs run depends on the data; convert the inference function without it"
            )
        inputs, outputs = table.integers(1), table.integers(2)
        if code == BuiltinOperator.CALL_ONCE:
            return  # before the first inference
        if code == BuiltinOperator.STABLEHLO_COMPOSITE:
            options = table.table(12)
            name = "" if options is None else options.text(0)
            if name not in COMPOSITE_KERNELS:
                self._expand(options.scalar(1, "i", 0) if options else 0, inputs, outputs)
                return
            label = name
        if not outputs:
            self._effect(label, inputs)
            return
        sources = tuple(None if index == -1 else self.at(index) for index in inputs)
        if code in DECOMPRESSING and sources and sources[0] and sources[0].data is not None:
            self.tensors[outputs[0]] = decompressed(sources[0], self.at(outputs[0]))
            return
        rule = CUSTOM_RULES.get(label) if code == BuiltinOperator.CUSTOM else RULES.get(code)
        reading = None
        if rule is not None and self._is_usual(code, sources, outputs):
            call = Call(sources, self._peek(outputs[0]), table.table(4), table)
            reading = rule(call)
        if reading is None:
            self._foreign(label, inputs, outputs)
        else:
            self._known(reading, inputs, outputs[0])
            self._further(label, outputs)

    def _is_usual(
        self, code: int, sources: tuple[FileTensor | None, ...], outputs: tuple[int, ...]
    ) -> bool:
        """Whether a rule may look at a call: of tensors with elements, and one that it makes."""
        if code == BuiltinOperator.CUSTOM:
            return True
        empty = any(each.is_empty and not each.says_how for each in sources if each)
        if self.at(outputs[0]).is_empty or (empty and code != BuiltinOperator.CONCATENATION):
            return False
        return len(outputs) == 1

    def _expand(self, index: int, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        """The layers of the subgraph that an operator stands for."""
        depth = self.depth + 1
        table = self.model.called(index, depth)
        inner = _SubgraphReader(self.model, table, depth, layers=self.layers, effects=self.effects)
        made = inner.table.integers(2)
        if len(inner.inputs) != len(inputs) or len(made) != len(outputs):
            raise DamagedBuffer(
                f"subgraph {index} has {len(inner.inputs)} inputs and {len(made)} outputs; it is "
                f"called with {len(inputs)} and {len(outputs)}"
            )
        for outer, place in zip(inputs, inner.inputs, strict=True):
            if outer == -1:
                continue
            given = self.at(outer)
            inner.tensors[place] = given
            if given.data is None:
                inner.made[place] = self._source(outer)
        inner.read_operators()
        for place, name in zip(outputs, inner.outputs(), strict=True):
            self.made[place] = name

    def _effect(self, label: str, inputs: tuple[int, ...]) -> None:
        """An operator without a result: it keeps state."""
        name = self._unique(label)
        sources = self._read_by(inputs)
        attributes = Attributes(label=label, target=(0,))
        self.layers[name] = Layer(name, "foreign", sources, (0,), None, attributes)
        self.effects.append(name)

    def _known(self, reading: Reading, inputs: tuple[int, ...], output: int) -> None:
        """A layer of OPS, and one more where the file fuses or flattens what a Graph does not."""
        sources = tuple(self._source(inputs[place]) for place in reading.inputs)
        if reading.shape is not None:
            self.tensors[output] = replace(self._peek(output), shape=reading.shape, free=())
        declared = self.at(output).shape
        attributes = dict(reading.attributes)
        first = declared
        after: list[tuple[str, dict[str, Any]]] = []
        if reading.op == "fully_connected":
            shapes = tuple(self.layers[name].shape for name in sources)
            first = OPS[reading.op].shape(shapes, DEFAULT, reading.weights)
            if first != declared:
                after.append(("reshape", {"target": declared}))
        if reading.activation not in ACTIVATION_NAMES:
            raise DamagedBuffer(f"unknown activation {reading.activation} in an operator")
        activation = ACTIVATION_OPS.get(reading.activation)
        if activation and reading.op in FUSING:
            attributes["activation"] = activation
        elif activation:
            after.append((activation, {}))
        elif reading.activation:
            label = ACTIVATION_NAMES[reading.activation]
            after.append(("foreign", {"label": label, "target": declared}))
        for op, following in after:
            sources = (self._inner(output, reading, sources, attributes, first),)
            reading, attributes, first = Reading(op), following, declared
        if reading.weights is not None:
            key = (reading.op, *inputs[1:])
            attributes["shares"] = self.owners.get(key)
        self.add(output, reading.op, sources, reading.weights, **attributes)
        if reading.weights is not None:
            self.owners.setdefault(key, self.made[output])

    def _inner(
        self,
        output: int,
        reading: Reading,
        sources: tuple[str, ...],
        attributes: dict[str, Any],
        shape: Shape,
    ) -> str:
        """A layer whose result has no tensor in the file."""
        tensor = self.at(output)
        name = self._unique(f"{tensor.name}/{reading.op}")
        values = Attributes(**attributes)
        self.layers[name] = Layer(
            name, reading.op, sources, shape, reading.weights, values, tensor.dtype
        )
        return name

    def _foreign(self, label: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        """Reads all tensors and constants of numbers, but not the integers that say how."""
        target = self.at(outputs[0]).shape
        self.add(outputs[0], "foreign", self._read_by(inputs), target=target, label=label)
        self._further(label, outputs)

    def _further(self, label: str, outputs: tuple[int, ...]) -> None:
        """What an operator makes beside its first result."""
        for place, index in enumerate(outputs[1:], start=1):
            if index == -1:
                continue
            target = self.at(index).shape
            first = (self.made[outputs[0]],)
            self.add(index, "further_output", first, target=target, label=f"{label}:{place}")

    def _read_by(self, inputs: Iterable[int]) -> tuple[str, ...]:
        return tuple(
            self._source(index) for index in inputs if index != -1 and not self.at(index).says_how
        )

    def _peek(self, index: int) -> FileTensor:
        """A tensor whose shape an operator may still tell."""
        if not 0 <= index < len(self.tables):
            raise DamagedBuffer(f"tensor {index} is asked for, there are {len(self.tables)}")
        if index not in self.tensors:
            self.tensors[index] = self.model.tensor(self.tables[index])
        return self.tensors[index]

    def _source(self, index: int) -> str:
        """Name of the layer that makes a tensor."""
        if index not in self.made:
            tensor = self.at(index)
            if tensor.data is None and not (tensor.variable or tensor.is_empty):
                raise DamagedBuffer(f"tensor {tensor.name!r} is read before anything makes it")
            self.add(index, "constant", (), target=tensor.shape)
        return self.made[index]

    def add(
        self,
        index: int,
        op: str,
        sources: tuple[str, ...],
        weights: Shape | None = None,
        **attributes: Any,
    ) -> None:
        """The layer that makes a tensor."""
        tensor = self.at(index)
        if index in self.made:
            raise DamagedBuffer(f"two operators make the tensor {tensor.name!r}")
        name = self._unique(tensor.name)
        self.made[index] = name
        self.layers[name] = Layer(
            name, op, sources, tensor.shape, weights, Attributes(**attributes), tensor.dtype
        )

    def _unique(self, name: str) -> str:
        """Names in a file may repeat or be empty; those of a Graph may not."""
        name = name or "tensor"
        unique, repeat = name, 1
        while unique in self.layers:
            repeat += 1
            unique = f"{name}:{repeat}"
        return unique
