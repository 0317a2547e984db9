"""Any .tflite file -> Graph: the networks of others, to be costed and estimated like our own."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import InvalidGraph, InvalidModelFile
from ..graph.graph import Graph
from .file_model import FileModel
from .flatbuffer import DamagedBuffer, Table
from .schema import IDENTIFIER
from .subgraph_reader import read_subgraph


def read_tflite(source: str | os.PathLike[str] | bytes, signature: str | None = None) -> Graph:
    """The graph of what a runtime runs of a TensorFlow Lite file, of any types.

    That is its first subgraph, or the one of a signature; composites are the operators that they
    are made of, unless the runtime has a kernel for them; what only initialises variables runs once
    and is left out. Operators are sorted if the file has them in an order in which they cannot be
    computed (XNNPACK's delegate does so too; the plain interpreter runs them as they stand).

    Layers are called after the tensors they make. Operators without a row in
    :data:`..graph.operators.OPS`, and unusual uses of those that have one, become ``foreign``
    layers that keep their name (``attributes.label``), shapes and type; further outputs of one are
    ``further_output`` layers that read the first. An operator that only keeps state is an output.
    Decompression of constant weights is left out (``attributes.weights_dtype`` tells their type). A
    free batch size is 1.

    Args:
        source: a path, or the file's bytes.
        signature: its key, of a file that has several.

    Raises:
        InvalidModelFile: it cannot be read, is no TensorFlow Lite file, is damaged, has no
            subgraph or no such signature, loops or branches by what its data say (control flow), or
            has shapes that are only known at run time.
    """
    if isinstance(source, bytes):
        content, what = source, "the model"
    else:
        what = str(source)
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise InvalidModelFile(
                f"cannot read {what}: {error.strerror}; give the path of a .tflite file"
            ) from error
    if content[4:8] != IDENTIFIER:
        raise InvalidModelFile(
            f"{what} is not a TensorFlow Lite file: its bytes 4 to 8 are {content[4:8]!r}, "
            f"expected {IDENTIFIER!r}; convert the model with TFLiteConverter first"
        )
    try:
        model = FileModel(Table.root(content))
        return read_subgraph(model, model.subgraph_of(signature))
    except (DamagedBuffer, InvalidGraph) as error:
        raise InvalidModelFile(
            f"{what} is damaged, or no runtime would take it: {error}; "
            "expected a whole TensorFlow Lite file: download or convert it again"
        ) from error
    except InvalidModelFile as error:
        raise InvalidModelFile(f"{what}: {error}") from None
