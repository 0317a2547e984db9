"""Kernel: what a runtime executes as one unit, as a value with a signature that can be read back.

A signature is one line, for example ``conv 1x20x20x96 -> 1x20x20x256 k1x1 s1x1 relu6``: operator,
input shapes, output shape, and whatever differs from the operator's defaults.

A bias is not part of it: runtimes pack one with every kernel, zeros where the network has none.
Padding is not either: it follows from the shapes (SAME and VALID only agree where both pad
nothing).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from ...errors import InvalidInput, MnasFpnError
from ...models.graph.attributes import ACTIVATIONS, Activation, Shape
from ...models.graph.builder import GraphBuilder
from ...models.graph.graph import Graph
from ...models.graph.operators import BINARY, DETECTIONS, OPS

Pair = tuple[int, int]

WINDOWED = ("conv", "depthwise_conv", "max_pool", "average_pool")
DTYPE_BYTES = {"float32": 4, "float16": 2, "int8": 1, "uint8": 1, "int32": 4, "int64": 8, "bool": 1}
#: float32 in and out, int8 weights: inputs are quantised anew in each inference.
HYBRID = "hybrid"
#: Type that an operator reads where it is not the one it writes.
DTYPES_READ = {"quantize": "float32", "dequantize": "int8"}


@dataclass(frozen=True, slots=True)
class Kernel:
    """One unit of execution.

    Args:
        op: a key of :data:`mnasfpn.models.graph.operators.OPS`.
        inputs, output: shapes, NHWC with batch 1. Constants are not inputs, but for vectors that
            are added, subtracted or multiplied: they are read again for every pixel.
        window, stride, dilation: (height, width) of convolutions and pools; stride of slices too.
        groups: of a grouped convolution.
        activation: fused.
        dtype: of the output, or ``hybrid``.
        label: name of a ``foreign`` operator.
        axes: of a mean, transpose or slice: see :class:`...models.graph.attributes.Attributes`.
        further: shapes of further outputs of a ``foreign`` operator.
    """

    op: str
    inputs: tuple[Shape, ...]
    output: Shape
    window: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: int = 1
    activation: Activation | None = None
    dtype: str = "float32"
    label: str = ""
    axes: Shape = ()
    further: tuple[Shape, ...] = ()

    def __post_init__(self) -> None:
        if self.op not in OPS or self.op == "input":
            raise InvalidInput(
                f"a kernel computes an operator, got {self.op!r}; known: {', '.join(OPS)}"
            )
        sizes = (size for shape in (*self.inputs, self.output, *self.further) for size in shape)
        if min(sizes, default=1) < 1 and self.op != "foreign":
            raise InvalidInput(f"kernel sizes must be positive, got {self.inputs} {self.output}")
        if re.search(r"\s", self.label):
            raise InvalidInput(f"a foreign operator's name has no spaces, got {self.label!r}")

    @property
    def kind(self) -> str:
        """What shares one regression and one calibration factor: the operator and its type.

        Pointwise convolutions are a matrix product and apart from other convolutions, grouped ones
        are many small ones; a ``mul`` or ``add`` that broadcasts reads much less than one that does
        not; slices with strides are copied element by element. Other types than float32 are other
        kernels, and what is known of one says nothing of another.
        """
        return self._float_kind if self.dtype == "float32" else f"{self._float_kind} {self.dtype}"

    @property
    def _float_kind(self) -> str:
        if self.op == "conv" and self.groups > 1:
            return "conv_grouped"
        if self.op == "conv":
            return "conv_1x1" if self.window == (1, 1) else "conv_kxk"
        if self.op == "fully_connected" and self.rows > 1:
            return "conv_1x1"  # the same matrix product
        if self.op == "foreign":
            return f"foreign:{self.label}"
        if self.op == "slice" and self.stride != (1, 1):
            return "slice_strided"
        if self.op in BINARY and any(shape != self.output for shape in self.inputs):
            return f"{self.op}_broadcast"
        return self.op

    @property
    def signature(self) -> str:
        """One line that :meth:`parse` reads back."""
        parts = [
            self.op,
            ", ".join(map(_dims, self.inputs)) or "none",
            "->",
            ", ".join(map(_dims, (self.output, *self.further))),
        ]
        if self.op in WINDOWED:
            parts.append(f"k{_dims(self.window)}")
        if self.op in WINDOWED or self.stride != (1, 1):
            parts.append(f"s{_dims(self.stride)}")
        if self.axes:
            parts.append(f"a{_dims(self.axes)}")
        if self.dilation != (1, 1):
            parts.append(f"d{_dims(self.dilation)}")
        if self.groups != 1:
            parts.append(f"g{self.groups}")
        if self.activation:
            parts.append(self.activation)
        if self.dtype != "float32":
            parts.append(self.dtype)
        if self.label:
            parts.append(f"={self.label}")
        return " ".join(parts)

    @classmethod
    def parse(cls, signature: str) -> Kernel:
        """The kernel of a signature.

        Raises:
            InvalidInput: the text is not the signature of any kernel.
        """
        found = _SIGNATURE.fullmatch(signature)
        try:
            if found is None:
                raise ValueError("no 'operator inputs -> output'")
            output, *further = map(_parse_dims, _DIMS.findall(found["outputs"]))
            kernel = cls(
                op=found["op"],
                inputs=tuple(map(_parse_dims, _DIMS.findall(found["inputs"]))),
                output=output,
                further=tuple(further),
                **_parse_options(found["options"].split()),
            )
        except (ValueError, MnasFpnError) as error:
            raise InvalidInput(
                f"{signature!r} is not a kernel's signature ({error}); expected for example "
                "'conv 1x20x20x96 -> 1x20x20x256 k1x1 s1x1 relu6'"
            ) from None
        return kernel

    @property
    def weight_elements(self) -> int:
        if self.op == "conv":
            return math.prod(self.window) * self.inputs[0][3] // self.groups * self.output[3]
        if self.op == "depthwise_conv":
            return math.prod(self.window) * self.output[3]
        if self.op == "fully_connected":
            return self.features_in * self.output[-1]
        return 0

    @property
    def rows(self) -> int:
        """Output positions: of a matrix product, how often each weight is used."""
        return math.prod(self.output[:-1])

    @property
    def features_in(self) -> int:
        """Input features of each product of a ``fully_connected``."""
        return math.prod(self.inputs[0]) // self.rows

    @property
    def madds(self) -> int:
        """Multiply-accumulates, in the convention of :mod:`mnasfpn.models.graph.operators`."""
        if self.op in ("conv", "depthwise_conv"):
            return math.prod(self.output[1:3]) * self.weight_elements
        if self.op == "fully_connected":
            return self.rows * self.weight_elements
        return 0

    @property
    def dtype_read(self) -> str:
        """Type of the inputs."""
        return DTYPES_READ.get(self.op, "float32" if self.dtype == HYBRID else self.dtype)

    @property
    def dtype_written(self) -> str:
        """Type of the output."""
        return "float32" if self.dtype == HYBRID else self.dtype

    @property
    def bytes_in(self) -> int:
        return _bytes(sum(math.prod(shape) for shape in self.inputs), self.dtype_read)

    @property
    def bytes_out(self) -> int:
        elements = sum(math.prod(shape) for shape in (self.output, *self.further))
        return _bytes(elements, self.dtype_written)

    @property
    def bytes_weights(self) -> int:
        return _bytes(self.weight_elements, "int8" if self.dtype == HYBRID else self.dtype)


def _bytes(elements: int, dtype: str) -> int:
    return elements * DTYPE_BYTES.get(dtype, 4)


def kind_dtype(kind: str) -> str:
    """The type of a kind's kernels: what :attr:`Kernel.kind` says after the operator."""
    return kind.partition(" ")[2] or "float32"


def kernel_graph(kernel: Kernel) -> Graph:
    """The graph of one kernel alone, to be measured; its execution plan is that kernel.

    Raises:
        InvalidInput: a foreign operator cannot be built, or the shapes contradict each other.
    """
    if kernel.op == "foreign":
        raise InvalidInput(f"the operator {kernel.label!r} cannot be built to be measured alone")
    builder = GraphBuilder()
    sources = tuple(builder.input(f"in{i}", shape) for i, shape in enumerate(kernel.inputs))
    builder.add_layer("kernel", kernel.op, sources, _weights(kernel), **_attributes(kernel))
    graph = builder.graph(("kernel",))
    if graph["kernel"].shape != kernel.output:
        raise InvalidInput(
            f"{kernel.signature!r}: this operator gives {graph['kernel'].shape}, "
            f"not {kernel.output}"
        )
    *inputs, computed = graph
    dtypes = (*(kernel.dtype_read for _ in inputs), kernel.dtype_written)
    layers = zip((*inputs, computed), dtypes, strict=True)
    return Graph(tuple(replace(layer, dtype=dtype) for layer, dtype in layers), graph.outputs)


def _weights(kernel: Kernel) -> Shape | None:
    channels = kernel.inputs[0][-1]
    if kernel.op == "conv":
        return (*kernel.window, channels // kernel.groups, kernel.output[3])
    if kernel.op == "depthwise_conv":
        return (*kernel.window, channels, kernel.output[3] // channels)
    if kernel.op == "fully_connected":
        return (kernel.features_in, kernel.output[-1])
    return None


def _attributes(kernel: Kernel) -> dict[str, Any]:
    """What :meth:`GraphBuilder.add_layer` needs beside wiring and weights."""
    first, output = kernel.inputs[0], kernel.output
    values: dict[str, Any] = {"activation": kernel.activation}
    if kernel.dtype == HYBRID:
        values["weights_dtype"] = "int8"
    if kernel.op in WINDOWED:
        values |= {"stride": kernel.stride, "dilation": kernel.dilation, "groups": kernel.groups}
        values["padding"] = "same" if _is_same(kernel) else "valid"
        values["bias"] = kernel.op in ("conv", "depthwise_conv")
    if kernel.op in ("max_pool", "average_pool"):
        values["window"] = kernel.window
    if kernel.op in ("resize_nearest", "resize_bilinear"):
        values["target"] = output[1:3]
    if kernel.op in ("reshape", "slice", *DETECTIONS):
        values["target"] = output
    if kernel.op in ("mean", "global_average_pool", "global_max_pool"):
        values["keepdims"] = len(output) == len(first)
    if kernel.op in ("mean", "transpose", "slice"):
        values["axes"] = kernel.axes
    if kernel.op == "slice":
        values["stride"] = kernel.stride
    if kernel.op == "pad":
        totals = (output[1] - first[1], output[2] - first[2])
        values["pads"] = tuple((total // 2, total - total // 2) for total in totals)
    if kernel.op == "concat":
        differing = (axis for axis, size in enumerate(output) if size != first[axis])
        values["axis"] = next(differing, -1)
    if kernel.op in BINARY and len(kernel.inputs) == 1:
        values["constant"] = 0.5
    return values


def same_output(size: Shape, stride: Pair) -> Pair:
    """Height and width of a SAME-padded window's output, for an NHWC input."""
    return math.ceil(size[1] / stride[0]), math.ceil(size[2] / stride[1])


def _is_same(kernel: Kernel) -> bool:
    return kernel.output[1:3] == same_output(kernel.inputs[0], kernel.stride)


def _dims(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _parse_dims(text: str) -> tuple[int, ...]:
    return () if text == "scalar" else tuple(map(int, text.split("x")))


_SHAPE = r"\d+(?:x\d+)*|scalar"
_DIMS = re.compile(_SHAPE)
_SIGNATURE = re.compile(
    rf"(?P<op>\w+) (?P<inputs>none|(?:{_SHAPE})(?:, (?:{_SHAPE}))*) -> "
    rf"(?P<outputs>(?:{_SHAPE})(?:, (?:{_SHAPE}))*)(?P<options>(?: \S+)*)"
)
_PAIR = re.compile(r"([ksd])(\d+)x(\d+)")
_PAIR_FIELDS = {"k": "window", "s": "stride", "d": "dilation"}


def _parse_options(tokens: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for token in tokens:
        pair = _PAIR.fullmatch(token)
        if pair:
            options[_PAIR_FIELDS[pair[1]]] = (int(pair[2]), int(pair[3]))
        elif re.fullmatch(r"g\d+", token):
            options["groups"] = int(token[1:])
        elif re.fullmatch(r"a\d+(x\d+)*", token):
            options["axes"] = _parse_dims(token[1:])
        elif token in ACTIVATIONS:
            options["activation"] = token
        elif token in (*DTYPE_BYTES, HYBRID):
            options["dtype"] = token
        elif token.startswith("="):
            options["label"] = token[1:]
        else:
            raise ValueError(f"unknown part {token!r}")
    return options
