"""Kernels of networks in general: a seeded, space-filling sample, so that regressions know more
than one search space, and other arithmetics than float32.

Every kind of kernel has a recipe: numbers in [0, 1), from a scrambled Halton sequence, become a
kernel of that kind, sizes on a logarithmic scale. What would take too long or too much memory is
left out, and so is what is too little to tell anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from ...models.graph.arithmetic import LEAST_HYBRID_WEIGHTS, Arithmetic
from ...models.graph.attributes import Activation
from ...models.graph.operators import DETECTIONS, FUSING
from ..kernels.kernel import DTYPES_READ, Kernel, Pair, same_output

T = TypeVar("T")
Numbers = Sequence[float]
KernelRecipe = Callable[[Numbers], Kernel]

LEAST_MADDS, MOST_MADDS = 50_000, 200_000_000  # of kernels that have any
LEAST_ELEMENTS, MOST_ELEMENTS = 1_000, 2_000_000  # of inputs and output
MOST_WEIGHTS = 18_000_000
NUMBERS = 7  # that a recipe may use

WIDEST, LARGEST = 2048, 224  # channels and pixels per side of common networks
FUSED: tuple[Activation | None, ...] = (None, "relu", "relu6")


def _choice(number: float, values: Sequence[T]) -> T:
    return values[int(number * len(values))]


def _size(number: float, low: int, high: int) -> int:
    return round(low * math.pow(high / low, number))


def _channels(number: float, low: int = 8, high: int = WIDEST) -> int:
    """Most networks have multiples of 8 channels."""
    size = _size(number, low, high)
    return size if size < 24 else round(size / 8) * 8


def _image(pixels: float, channels: float, least_size: int = 1) -> tuple[int, int, int, int]:
    size = _size(pixels, least_size, LARGEST)
    return (1, size, size, _channels(channels))


MOVED = 14  # least pixels per side of what is only moved: less takes no time that could be told


def _windowed(op: str, number: Numbers, windows: Sequence[Pair], strides: Sequence[int]) -> Kernel:
    image = _image(number[0], number[1])
    stride = _choice(number[3], strides)
    window = _choice(number[4], windows)
    kernel = Kernel(op, (image,), image, window, (stride, stride))
    return replace(kernel, output=(1, *same_output(image, kernel.stride), image[3]))


def _pointwise(number: Numbers) -> Kernel:
    kernel = _windowed("conv", number, ((1, 1),), (1, 1, 1, 1, 1, 2))
    return _filtered(kernel, number)


SQUARES = ((3, 3), (3, 3), (3, 3), (3, 3), (5, 5), (7, 7), (2, 2), (4, 4))
LINES = ((1, 3), (3, 1), (1, 7), (7, 1))


def _convolution(number: Numbers) -> Kernel:
    kernel = _windowed("conv", number, (*SQUARES, *LINES), (1, 1, 2))
    return _filtered(kernel, number)


def _stem(number: Numbers) -> Kernel:
    """The first convolution of a network, which reads the image."""
    kernel = _windowed("conv", number, SQUARES, (1, 2, 2, 2))
    size = _size(number[0], 32, 320)
    image = (1, size, size, 3)
    output = (1, *same_output(image, kernel.stride), _channels(number[2], 16, 96))
    return replace(kernel, inputs=(image,), output=output)


def _grouped(number: Numbers) -> Kernel:
    """Of 2 to 32 groups, or of groups of 16 channels."""
    kernel = _windowed("conv", number, ((1, 1), (3, 3), (3, 3)), (1, 1, 2))
    groups = _choice(number[5], (2, 3, 4, 8, 32, 0)) or max(kernel.output[3] // 16, 2)
    image = (*kernel.inputs[0][:3], max(kernel.output[3] // groups, 4) * groups)
    filters = max(_channels(number[2]) // groups, 4) * groups
    activation = _choice(number[6], FUSED)
    output = (*kernel.output[:3], filters)
    return replace(kernel, inputs=(image,), output=output, groups=groups, activation=activation)


def _filtered(kernel: Kernel, number: Numbers) -> Kernel:
    output = (*kernel.output[:3], _channels(number[2]))
    return replace(kernel, output=output, activation=_choice(number[5], FUSED))


def _depthwise(number: Numbers) -> Kernel:
    windows = ((3, 3), (3, 3), (5, 5), (5, 5), (7, 7))
    kernel = _windowed("depthwise_conv", number, windows, (1, 1, 2))
    return replace(kernel, activation=_choice(number[5], FUSED))


def _dense(number: Numbers) -> Kernel:
    features, filters = _channels(number[0], high=4096), _channels(number[1], high=4096)
    return Kernel("fully_connected", ((1, features),), (1, filters))


def _few_rows(number: Numbers) -> Kernel:
    """The last layers of a network: wide, and of few pixels."""
    size = _choice(number[0], (1, 2, 3, 4, 5))
    image = (1, size, size, _channels(number[1], 128))
    output = (1, size, size, _channels(number[2], 128))
    window = _choice(number[4], ((1, 1), (3, 3)))
    return Kernel("conv", (image,), output, window, activation=_choice(number[5], FUSED))


def _pool(op: str) -> KernelRecipe:
    return lambda number: _windowed(op, number, ((2, 2), (3, 3), (3, 3), (5, 5)), (1, 2))


def _global_pool(number: Numbers) -> Kernel:
    image = _image(number[0], number[1])
    return Kernel("global_average_pool", (image,), (1, 1, 1, image[3]))


def _resize(op: str) -> KernelRecipe:
    def recipe(number: Numbers) -> Kernel:
        image = _image(number[0], number[1])
        factor = _choice(number[3], (2, 2, 4))
        return Kernel(op, (image,), (1, image[1] * factor, image[2] * factor, image[3]))

    return recipe


def _unary(op: str) -> KernelRecipe:
    def recipe(number: Numbers) -> Kernel:
        image = _image(number[0], number[1])
        return Kernel(op, (image,), image)

    return recipe


def _binary(op: str) -> KernelRecipe:
    """With another tensor of the same shape."""
    activations = FUSED[:2] if op in FUSING else FUSED[:1]

    def recipe(number: Numbers) -> Kernel:
        image = _image(number[0], number[1])
        return Kernel(op, (image, image), image, activation=_choice(number[5], activations))

    return recipe


IMAGES = 0.3  # share of broadcasts that normalise an image


def _broadcast(op: str) -> KernelRecipe:
    """With a number for each channel: gates, batch norms that nothing absorbs, and of images."""

    def recipe(number: Numbers) -> Kernel:
        image = _image(number[0], number[1])
        if number[6] < IMAGES:
            size = _size(number[0], 32, 320)
            image = (1, size, size, 3)
        vector = _choice(number[3], ((image[3],), (1, 1, 1, image[3])))
        activation = _choice(number[5], FUSED[:2])
        return Kernel(op, (image, vector), image, activation=activation)

    return recipe


def _broadcast_pixels(op: str) -> KernelRecipe:
    """With a number for each pixel: normalisation of layers."""

    def recipe(number: Numbers) -> Kernel:
        image = _image(number[0], number[1])
        return Kernel(op, (image, (*image[:3], 1)), image)

    return recipe


def _mean(number: Numbers) -> Kernel:
    """Over channels, or over the tokens of a transformer."""
    image = _image(number[0], number[1])
    if number[3] < TOKENS:
        tokens = (1, image[1] * image[2], image[3])
        return Kernel("mean", (tokens,), (1, image[3]), axes=(1,))
    return Kernel("mean", (image,), (*image[:3], 1), axes=(3,))


TOKENS = 0.3  # share of means that are taken over tokens


def _transpose(number: Numbers) -> Kernel:
    """Shuffled channels, heads of attention, and other layouts."""
    _, height, width, channels = image = _image(number[0], number[1], MOVED)
    parts = _choice(number[4], (2, 3, 4, 8))
    width_of_part = math.ceil(channels / parts)
    shape, axes = _choice(
        number[3],
        (
            ((1, height, width, parts, width_of_part), (0, 1, 2, 4, 3)),
            ((1, height * width, parts, width_of_part), (0, 2, 1, 3)),
            ((1, height * width, channels), (0, 2, 1)),
            (image, (0, 3, 1, 2)),
        ),
    )
    return Kernel("transpose", (shape,), tuple(shape[axis] for axis in axes), axes=axes)


def _slice(number: Numbers) -> Kernel:
    """Without borders, half of the channels, or one token of many."""
    _, height, width, channels = image = _image(number[0], number[1], MOVED)
    tokens = (1, height * width, channels)
    inside = (1, max(height - 2, 1), max(width - 2, 1), channels)
    half = (1, height, width, max(channels // 2, 1))
    return _choice(
        number[3],
        (
            Kernel("slice", (image,), inside),
            Kernel("slice", (image,), half),
            Kernel("slice", (tokens,), (1, channels), axes=(1,)),
        ),
    )


def _strided_slice(number: Numbers) -> Kernel:
    """Every second pixel."""
    image = _image(number[0], number[1])
    output = (1, *same_output(image, (2, 2)), image[3])
    return Kernel("slice", (image,), output, stride=(2, 2))


def _detections(op: str) -> KernelRecipe:
    """Anchors of small and large detectors, and their classes."""

    def recipe(number: Numbers) -> Kernel:
        anchors, classes = _size(number[0], 400, 20_000), _size(number[1], 2, 91)
        boxes, scores = (1, anchors, 4), (1, anchors, classes)
        return Kernel(op, (boxes, scores), (1, _choice(number[2], (10, 25, 100)), 4))

    return recipe


def _constant(op: str) -> KernelRecipe:
    """With one number: scaling of images, and halves of activations."""

    def recipe(number: Numbers) -> Kernel:
        image = _image(number[0], number[1])
        return Kernel(op, (image,), image)

    return recipe


def _concat(number: Numbers) -> Kernel:
    image = _image(number[0], number[1])
    joined = [_channels(number[2])]
    joined += [_channels(number[3 + i], high=512) for i in range(int(number[5] * 4))]
    inputs = tuple((*image[:3], channels) for channels in joined)[:3]
    return Kernel("concat", (image, *inputs), (*image[:3], image[3] + sum(joined[:3])))


def _pad(number: Numbers) -> Kernel:
    _, height, width, channels = image = _image(number[0], number[1])
    pad = _choice(number[3], (1, 2, 6))
    return Kernel("pad", (image,), (1, height + pad, width + pad, channels))


def _reshape(number: Numbers) -> Kernel:
    image = _image(number[0], number[1])
    return Kernel("reshape", (image,), (1, math.prod(image)))


def _softmax(number: Numbers) -> Kernel:
    shape = (1, _channels(number[0], high=4096))
    return Kernel("softmax", (shape,), shape)


KernelRecipes = tuple[tuple[int, KernelRecipe], ...]  # (share of the sample, recipe)

#: More for what costs most and varies most.
WEIGHTED: KernelRecipes = (
    (12, _pointwise),
    (12, _convolution),
    (3, _stem),
    (10, _depthwise),
    (10, _grouped),
    (4, _few_rows),
    (7, _dense),
)
WEIGHTLESS: KernelRecipes = (
    (2, _pool("max_pool")),
    (2, _pool("average_pool")),
    (3, _global_pool),
    (1, _resize("resize_bilinear")),
    (1, _resize("resize_nearest")),
    *((2, _binary(op)) for op in ("add", "mul")),
    *((2, _broadcast(op)) for op in ("add", "mul")),
    *((1, make(op)) for make in (_binary, _broadcast, _constant) for op in ("sub",)),
    *((1, _constant(op)) for op in ("add", "mul")),
    *((2, _unary(op)) for op in ("hard_swish", "sigmoid")),
    *((1, _unary(op)) for op in ("relu", "relu6", "prelu")),
    (3, _concat),
    *((1, recipe) for recipe in (_pad, _reshape, _softmax)),
    *((1, _unary(op)) for op in ("gelu", "tanh", "leaky_relu")),
    *((4, recipe) for recipe in (_mean, _strided_slice)),
    (8, _slice),
    (8, _transpose),
)
#: Those that most networks of integers leave in float32, and what no runtime has for uint8.
FLOATING: KernelRecipes = (
    *((1, _unary(op)) for op in ("gelu_tanh", "neg", "rsqrt")),
    *((1, _broadcast_pixels(op)) for op in ("sub", "mul", "squared_difference")),
    *((1, _binary(op)) for op in ("div", "squared_difference")),
    *((6, _detections(op)) for op in DETECTIONS),
)
#: Of the former, what int8 has too.
NORMALISING: KernelRecipes = (
    (1, _unary("rsqrt")),
    (1, _binary("squared_difference")),
    (1, _broadcast_pixels("squared_difference")),
)
CONVERTING: KernelRecipes = tuple(
    (1, _unary(op)) for op in ("quantize", "requantize", "dequantize")
)
KERNEL_RECIPES: dict[Arithmetic, KernelRecipes] = {
    "float32": WEIGHTED + WEIGHTLESS + FLOATING,
    "int8": WEIGHTED + WEIGHTLESS + CONVERTING + NORMALISING,
    "uint8": WEIGHTED + WEIGHTLESS + CONVERTING,
    "hybrid": WEIGHTED,
}


def general_kernels(
    count: int, seed: int = 0, arithmetic: Arithmetic = "float32"
) -> tuple[Kernel, ...]:
    """About ``count`` different kernels, at least seven of each recipe, the same for the same seed.

    Those with weights are of the same sizes in every arithmetic; in ``hybrid`` there are no others.
    Returns none if ``count`` is 0.
    """
    if count < 1:
        return ()
    shares = sum(share for share, _ in KERNEL_RECIPES["float32"])
    found: dict[Kernel, None] = {}
    for index, (share, recipe) in enumerate(KERNEL_RECIPES[arithmetic]):
        wanted = max(LEAST_OF_A_KIND, round(count * share / shares))
        kernels = _sample(recipe, wanted, 1000 * seed + index)
        found |= dict.fromkeys(kernel_in(kernel, arithmetic) for kernel in kernels)
    return tuple(sorted(found, key=lambda kernel: kernel.signature))


def kernel_in(kernel: Kernel, arithmetic: Arithmetic) -> Kernel:
    """A float32 kernel as the one that does the same in another arithmetic."""
    if arithmetic == "hybrid" and kernel.weight_elements < LEAST_HYBRID_WEIGHTS:
        return kernel
    returns_float = DTYPES_READ.get(kernel.op) == "int8"
    return kernel if returns_float else replace(kernel, dtype=arithmetic)


LEAST_OF_A_KIND = 7


def _sample(recipe: KernelRecipe, wanted: int, seed: int) -> Iterator[Kernel]:
    from scipy.stats import qmc

    found: set[Kernel] = set()
    halton = qmc.Halton(NUMBERS, rng=seed)
    while len(found) < wanted:
        kernel = recipe(halton.random(1)[0].tolist())
        if kernel not in found and _is_modest(kernel):
            found.add(kernel)
            yield kernel


def _is_modest(kernel: Kernel) -> bool:
    elements = sum(math.prod(shape) for shape in (*kernel.inputs, kernel.output))
    return (
        (LEAST_MADDS <= kernel.madds <= MOST_MADDS or kernel.weight_elements == 0)
        and LEAST_ELEMENTS <= elements <= MOST_ELEMENTS
        and kernel.weight_elements <= MOST_WEIGHTS
    )
