"""Which tensors of a smaller file lost most: signal-to-noise beside the float32 file, by name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Floats

SHOWN = 5
#: What Keras and the converter put around a layer's name, other numbers each time.
_SCOPE, _NUMBER = re.compile(r"^functional(_\d+)*/"), re.compile(r"(_\d+)+(?=/|$)")


@dataclass(frozen=True, slots=True)
class TensorNoise:
    """Of one tensor, over all images: 10 log10 of the signal's power over the difference's."""

    tensor: str
    snr_db: float


def noisiest(reference: bytes, content: bytes, images: Iterable[Floats]) -> tuple[TensorNoise, ...]:
    """The tensors of least signal-to-noise, worst first.

    Args:
        reference: the same network in float32, whose tensors have the same names.
        images: [1, S, S, 3] each.
    """
    signal: defaultdict[str, float] = defaultdict(float)
    noise: defaultdict[str, float] = defaultdict(float)
    runs = _Tensors(reference), _Tensors(content)
    for image in images:
        expected, found = (tensors.run(image) for tensors in runs)
        for name in expected.keys() & found.keys():
            if expected[name].shape == found[name].shape:
                signal[name] += float(np.square(expected[name]).sum())
                noise[name] += float(np.square(expected[name] - found[name]).sum())
    ratios = [
        TensorNoise(name, 10 * float(np.log10(signal[name] / noise[name])))
        for name in signal
        if signal[name] and noise[name]
    ]
    return tuple(sorted(ratios, key=lambda each: each.snr_db)[:SHOWN])


class _Tensors:
    """A file whose every computed tensor can be read; the delegate would keep them to itself."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._interpreter = Interpreter(
            model_content=content,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        operators = self._interpreter._get_ops_details()
        computed = {int(index) for each in operators for index in each["outputs"]}
        self._made = {
            _layer(each["name"]): each
            for each in self._interpreter.get_tensor_details()
            if each["index"] in computed and each["dtype"] in (np.float32, np.int8)
        }

    def run(self, image: Floats) -> dict[str, Floats]:
        self._interpreter.set_tensor(self._input, image)
        self._interpreter.invoke()
        return {name: self._read(details) for name, details in self._made.items()}

    def _read(self, details: dict[str, Any]) -> Floats:
        values = self._interpreter.get_tensor(details["index"])
        if values.dtype == np.float32:
            return np.asarray(values)
        scale, zero = details["quantization"]
        return np.asarray((values.astype(np.float32) - zero) * scale, np.float32)


def _layer(name: str) -> str:
    """Of a tensor's name, which may list all the layers that were fused into it."""
    first = name.split(";")[0]
    return _NUMBER.sub("", _SCOPE.sub("", first)) if _SCOPE.match(first) else first
