"""Genotypes and detectors as JSON, and from a text a person types to the model it names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec
from msgspec import ValidationError

from ..errors import InvalidInput, UnknownModel
from ..storage.atomic import write_atomically
from .backbones.backbone import Backbone, BackboneName
from .detector import COCO_CLASSES, Detector, Head, default_detector
from .genotype import Genotype, Merge
from .graph.graph import Graph
from .heads.cell import Cell
from .heads.nasfpn import NasFpn
from .heads.predictor import SharedPredictor
from .heads.ssdlite import SsdLite
from .published import PUBLISHED, published

CELL_SCHEMAS: dict[str, type[Cell]] = {
    "mnasfpn-genotype-1": Genotype,
    "mnasfpn-nasfpn-1": NasFpn,
}
DETECTOR_SCHEMA = "mnasfpn-detector-1"
HEAD_KINDS: dict[str, type[Head]] = {"mnasfpn": Genotype, "nasfpn": NasFpn, "ssdlite": SsdLite}
# What msgspec does not say when one of these fields has another value.
CHOICES = {"name": get_args(BackboneName), "merge": get_args(Merge)}
T = TypeVar("T")
Model = Cell | Detector


@dataclass(frozen=True, slots=True)
class Resolved:
    """A model that a text named.

    Args:
        name: the published name, or the file's name without its suffix.
        detector: None for a .tflite, which has only a graph.
        graph: pruned.
    """

    name: str
    detector: Detector | None
    graph: Graph


def resolve(text: str, signature: str | None = None) -> Resolved:
    """The model that a text names: a published name, or a path to a .json or .tflite file.

    A .json holds a detector, or a bare cell (a genotype, or one of NAS-FPN), which gets the paper's
    backbone and predictor.

    Args:
        signature: to read, of a .tflite that has several.

    Raises:
        UnknownModel: neither a published name nor an existing file of a known kind.
        InvalidInput: the file is there and damaged; the message names the field.
    """
    path = Path(text)
    suffix = path.suffix.lower()
    _refuse_signature(text, signature)
    if text in PUBLISHED:
        return _resolved(text, PUBLISHED[text])
    if suffix not in (".json", ".tflite"):
        if path.is_file():
            raise UnknownModel(
                f"{text}: a model file must end in .json or .tflite, this one ends in {suffix!r}"
            )
        published(text)  # raises, suggests the nearest name and lists all
    if suffix == ".tflite":
        _require(path)
        from .tflite.reader import read_tflite

        return Resolved(path.stem, None, read_tflite(path, signature))
    return _resolved(path.stem, load_detector(path))


def named_detector(text: str) -> Detector:
    """The detector that a text names, as :func:`resolve` reads it.

    Raises:
        InvalidInput: it names a .tflite, which cannot be trained or exported again.
    """
    resolved = resolve(text)
    if resolved.detector is None:
        raise InvalidInput(
            f"{text} is an exported model; expected a published name, a genotype or detector "
            ".json, or the folder of a training run"
        )
    return resolved.detector


def resolve_all(text: str, signature: str | None = None) -> Iterator[Resolved]:
    """The same, and every line of a .jsonl file, each a genotype or detector, in turn."""
    path = Path(text)
    if path.suffix.lower() != ".jsonl":
        yield resolve(text, signature)
        return
    _refuse_signature(text, signature)
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if line.strip():
            detector = _as_detector(from_json(line, f"{path}, line {number}"))
            yield _resolved(f"{path.stem}:{number}", detector)


def load_detector(path: str | os.PathLike[str]) -> Detector:
    """The detector in a .json file; a bare cell gets the paper's backbone and predictor."""
    return _as_detector(from_json(_read(Path(path)), str(path)))


def load_genotype(path: str | os.PathLike[str]) -> Genotype:
    """The genotype in a .json file: bare, or a detector's head."""
    value = from_json(_read(Path(path)), str(path))
    head = value.head if isinstance(value, Detector) else value
    if not isinstance(head, Genotype):
        raise InvalidInput(
            f"{path}: holds a detector with a {type(head).__name__} head, expected a MnasFPN "
            "genotype; pass a file whose head has kind 'mnasfpn'"
        )
    return head


def save(value: Model, path: str | os.PathLike[str]) -> None:
    """Write JSON to a file, whole or not at all."""
    write_atomically(path, to_json(value, indent=2) + "\n")


def to_json(value: Model, indent: int = 0) -> str:
    """One line of JSON, or an indented text, with every field written out."""
    tree: dict[str, Any] = msgspec.to_builtins(value)
    if isinstance(value, Detector):
        kind = next(kind for kind, head in HEAD_KINDS.items() if isinstance(value.head, head))
        tree["head"] = {"kind": kind, **tree["head"]}
    schemas = {DETECTOR_SCHEMA: Detector, **CELL_SCHEMAS}
    schema = next(name for name, kind in schemas.items() if type(value) is kind)
    encoded = msgspec.json.encode({"schema": schema, **tree})
    return msgspec.json.format(encoded, indent=indent or -1).decode()


def from_json(text: str, where: str = "JSON") -> Model:
    """The value that :func:`to_json` wrote; the schema tells which kind it is.

    Args:
        where: names the text in error messages, such as a path.

    Raises:
        InvalidInput: no JSON, another schema, or a field that is missing, unknown or impossible;
            the message names the field.
    """
    try:
        tree = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(
            f"{where}: not JSON ({error}); expected a genotype or detector"
        ) from None
    schema = tree.get("schema") if isinstance(tree, dict) else None
    try:
        if isinstance(schema, str) and schema in CELL_SCHEMAS:
            return _convert(tree, CELL_SCHEMAS[schema], "$", "schema")
        if schema == DETECTOR_SCHEMA:
            return _detector(tree)
    except ValidationError as error:
        raise InvalidInput(f"{where}: {error}") from None
    raise InvalidInput(
        f"{where}: field `schema` is {schema!r}, expected one of "
        f"{', '.join((*CELL_SCHEMAS, DETECTOR_SCHEMA))}; "
        "write the file with this version of mnasfpn"
    )


@dataclass(frozen=True, slots=True)
class _Body:
    """A detector's fields without its head: msgspec cannot tell dataclasses in a union apart."""

    backbone: Backbone
    predictor: SharedPredictor | None = None
    classes: int = COCO_CLASSES
    input_size: int = 320


def _detector(tree: dict[str, Any]) -> Detector:
    tree = dict(tree)
    head = tree.pop("head", None)
    if not isinstance(head, dict):
        raise ValidationError("Object missing required field `head`, an object")
    kind = head.get("kind")
    if not isinstance(kind, str) or kind not in HEAD_KINDS:
        raise ValidationError(
            f"Invalid value {kind!r}, expected one of {', '.join(HEAD_KINDS)} - at `$.head.kind`"
        )
    body = _convert(tree, _Body, "$", "schema")
    try:
        return Detector(
            body.backbone,
            _convert(head, HEAD_KINDS[kind], "$.head", "kind"),
            body.predictor,
            body.classes,
            body.input_size,
        )
    except InvalidInput as error:
        raise ValidationError(str(error)) from None


def _convert(tree: dict[str, Any], kind: type[T], path: str, tag: str) -> T:
    """An object as a dataclass; ``path`` is where it stands in the file, ``tag`` no field of it."""
    values = {key: value for key, value in tree.items() if key != tag}
    try:
        result = msgspec.convert(values, kind)
    except ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        place = path + place.removesuffix("`")
        choices = CHOICES.get(place.rpartition(".")[2])
        if choices and message.startswith("Invalid enum value"):
            message += f", expected one of {', '.join(choices)}"
        raise ValidationError(f"{message} - at `{place}`") from None
    _refuse_unknown(values, msgspec.to_builtins(result), path)
    return result


def _refuse_unknown(given: Any, known: Any, path: str) -> None:
    """A misspelt optional field must not be dropped without a word."""
    if isinstance(given, dict):
        for key, value in given.items():
            if key not in known:
                raise ValidationError(
                    f"Unknown field `{key}`, expected only {', '.join(known)} - at `{path}`"
                )
            _refuse_unknown(value, known[key], f"{path}.{key}")
    elif isinstance(given, list):
        for index, (value, same) in enumerate(zip(given, known, strict=True)):
            _refuse_unknown(value, same, f"{path}[{index}]")


def _resolved(name: str, detector: Detector) -> Resolved:
    return Resolved(name, detector, detector.graph())


def _as_detector(value: Model) -> Detector:
    return value if isinstance(value, Detector) else default_detector(value)


def _refuse_signature(text: str, signature: str | None) -> None:
    if signature is not None and Path(text).suffix.lower() != ".tflite":
        raise InvalidInput(
            f"{text} has no signature {signature!r}: only a .tflite has; leave it out"
        )


def _require(path: Path) -> None:
    if not path.is_file():
        raise UnknownModel(
            f"there is no file {str(path)!r}; check the path, or give a published name "
            "(`mnasfpn models` lists them)"
        )


def _read(path: Path) -> str:
    _require(path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read as text ({error}); expected JSON") from None
