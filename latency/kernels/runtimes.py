"""Runtimes: which operators a delegate takes, and what is fused."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import InvalidInput
from ...models.graph.layer import Layer
from ...models.graph.operators import BINARY, UNARY
from .kernel import HYBRID, WINDOWED


@dataclass(frozen=True, slots=True)
class Runtime:
    """Which operators a delegate takes, and whether it fuses neighbours.

    Args:
        name: as a profile stores it.
        delegated: operators handed to the delegate, by the type of the kernel; foreign ones by
            their label.
        fuses: pads and activations that stand alone join the operator they belong to.
    """

    name: str
    delegated: dict[str, frozenset[str]]
    fuses: bool

    def delegates(self, layer: Layer) -> bool:
        """Whether the delegate takes this layer.

        Of pools, only those that skip no pixel; of concatenations, those of up to five tensors; of
        slices, those that leave out whole borders.
        """
        attributes = layer.attributes
        if layer.op == "concat" and len(layer.inputs) > MOST_CONCATENATED:
            return False
        if layer.op in ("max_pool", "average_pool"):
            window, stride = attributes.window, attributes.stride
            if stride[0] > window[0] or stride[1] > window[1]:
                return False
        if layer.op == "slice" and (attributes.axes or attributes.stride != (1, 1)):
            return False
        if not all(layer.shape):
            return False
        name = attributes.label if layer.op == "foreign" else layer.op
        return name in self.delegated.get(kernel_dtype(layer), ())


MOST_CONCATENATED = 5

# Read off the interpreter's plan for every operator our writer knows, and for common foreign ones;
# nearest resizing stays with the interpreter, and so does any other foreign one.
_FLOAT = frozenset(
    (
        *WINDOWED,
        *("fully_connected", "global_average_pool", "global_max_pool", "resize_bilinear"),
        *("concat", "reshape", "pad", "dequantize", "mean", "transpose", "slice"),
        *BINARY,
        *UNARY,
        *("BATCH_MATMUL", "DEPTH_TO_SPACE", "ELU", "EXP", "MAXIMUM", "MINIMUM", "SPACE_TO_DEPTH"),
        *("SPLIT", "SQRT", "SUM"),
    )
)
_INTEGER = frozenset(
    (
        *("conv", "depthwise_conv", "fully_connected", "max_pool"),
        *("global_average_pool", "global_max_pool", "resize_bilinear", "concat", "reshape", "pad"),
        *("add", "sub", "mul", "sigmoid", "tanh", "leaky_relu", "mean", "transpose", "slice"),
        *("quantize", "requantize"),
        *("DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "SPLIT", "SUM"),
    )
)
XNNPACK = Runtime(
    "xnnpack",
    {
        "float32": _FLOAT,
        **dict.fromkeys(("int8", "uint8"), _INTEGER),
        HYBRID: frozenset(("conv", "fully_connected")),
    },
    fuses=True,
)
BUILTIN = Runtime("builtin", {}, fuses=False)
RUNTIMES = {runtime.name: runtime for runtime in (XNNPACK, BUILTIN)}


def runtime_named(name: str) -> Runtime:
    """The runtime of that name.

    Raises:
        InvalidInput: none is called so; the message lists those that are.
    """
    try:
        return RUNTIMES[name]
    except KeyError:
        raise InvalidInput(f"no runtime is called {name!r}; known: {', '.join(RUNTIMES)}") from None


def kernel_dtype(layer: Layer) -> str:
    """The type of a layer's kernel.

    float16 weights are unpacked once, when a model is loaded: their kernels are float32's.
    """
    whole = layer.attributes.weights_dtype.startswith(("int", "uint"))
    return HYBRID if whole and layer.dtype == "float32" else layer.dtype
