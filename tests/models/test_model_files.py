"""Models to and from JSON, and from what a person types to a model."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput, MnasFpnError, UnknownModel
from mnasfpn.models.detector import default_detector
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.model_files import (
    from_json,
    load_detector,
    load_genotype,
    named_detector,
    resolve,
    resolve_all,
    save,
    to_json,
)
from mnasfpn.models.published import PUBLISHED, published
from mnasfpn.models.tflite.writer import write_tflite

DETECTOR = published("mobilenetv2-mnasfpn")
TREE = json.loads(to_json(DETECTOR))
BLOCKS = TREE["head"]["blocks"]
DELETED = object()


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("indent", [0, 2])
def test_round_trip(name, indent):
    text = to_json(PUBLISHED[name], indent)
    assert from_json(text) == PUBLISHED[name]
    assert ("\n" in text) == bool(indent)


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("mobilenetv2-mnasfpn", "mnasfpn-genotype-1"),
        ("mobilenetv2-nasfpnlite", "mnasfpn-nasfpn-1"),
    ],
)
def test_round_trip_of_a_cell(name, schema):
    head = published(name).head
    text = to_json(head)
    assert json.loads(text)["schema"] == schema
    assert from_json(text) == head


def changed(path, value):
    """The detector's JSON with one field set or deleted."""
    tree = json.loads(json.dumps(TREE))
    *parents, last = path
    node = tree
    for key in parents:
        node = node[key]
    if value is DELETED:
        del node[last]
    else:
        node[last] = value
    return json.dumps(tree)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], "mnasfpn-detector-9", "field `schema` is 'mnasfpn-detector-9', expected one"),
        (["schema"], DELETED, "field `schema` is None"),
        (["schema"], [1], r"field `schema` is \[1\]"),
        (["head", "kind"], [], r"Invalid value \[\], expected one of mnasfpn"),
        (["backbone", "width"], float("nan"), "not JSON"),
        (["clases"], 3, "Unknown field `clases`, expected only backbone, predictor, classes, inpu"),
        (["classes"], "3", r"Expected `int`, got `str` - at `\$.classes`"),
        (["classes"], 0, "a detector needs at least 1 class, got 0"),
        (["input_size"], 300, "multiple of 64"),
        (["backbone"], DELETED, r"missing required field `backbone` - at `\$`"),
        (
            ["backbone", "name"],
            "vgg",
            r"'vgg', expected one of mobilenet_v2, .* - at `\$.backbone.n",
        ),
        (["backbone", "width"], "1", r"Expected `float`, got `str` - at `\$.backbone.width`"),
        (["backbone", "alpha"], 1, r"Unknown field `alpha`, .* - at `\$.backbone`"),
        (["head"], DELETED, "missing required field `head`"),
        (["head"], 7, "missing required field `head`, an object"),
        (
            ["head", "kind"],
            "bifpn",
            r"'bifpn', expected one of mnasfpn, nasfpn, ssdlite - at `\$.h",
        ),
        (["head", "channels"], DELETED, r"missing required field `channels` - at `\$.head`"),
        (["head", "channels"], 0, r"channels C must be at least 1, got 0 - at `\$.head`"),
        (["head", "blocks", 2, "level"], 9, r"level 9 cannot .* - at `\$.head.blocks\[2\]`"),
        (["head", "blocks", 2, "lvl"], 9, r"Unknown field `lvl`, .* - at `\$.head.blocks\[2\]`"),
        (["head", "blocks", 0, "inputs"], [4, 1], r"block 4 takes itself .* - at `\$.head`"),
        (
            ["head", "blocks", 0, "inputs", 1],
            "x",
            r"got `str` - at `\$.head.blocks\[0\].inputs\[1\]`",
        ),
        (["head", "blocks", 0, "merge"], "mul", r"'mul', expected one of add, se - at `\$.head.bl"),
        (["predictor"], None, "a pyramid head needs a predictor"),
        (["predictor", "depth"], 0, r"at least 1, got 0 and 9 - at `\$.predictor`"),
    ],
)
def test_damage_is_named(path, value, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        from_json(changed(path, value), "model.json")
    assert str(caught.value).startswith("model.json: ")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"text"', "\x00", "[" * 9999])
def test_what_is_no_model(text):
    with pytest.raises(InvalidInput, match=r"model\.json: (not JSON|field `schema` is None)"):
        from_json(text, "model.json")


@given(st.data())
def test_mutilated_json_is_always_our_error_or_a_model(data):
    """Cut and overwrite anywhere: a sound value or InvalidInput, nothing else."""
    text = to_json(DETECTOR)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 40, len(text))))
    text = text[:start] + data.draw(st.text(max_size=5)) + text[end:]
    try:
        value = from_json(text)
    except InvalidInput:
        return
    assert from_json(to_json(value)) == value


def test_saved_files(tmp_path):
    save(DETECTOR, tmp_path / "d.json")
    save(DETECTOR.head, tmp_path / "g.json")
    save(published("mobilenetv2-ssdlite"), tmp_path / "s.json")
    assert load_detector(tmp_path / "d.json") == DETECTOR
    assert load_detector(tmp_path / "g.json") == DETECTOR  # the paper's backbone and predictor
    assert load_genotype(tmp_path / "d.json") == load_genotype(tmp_path / "g.json") == DETECTOR.head
    with pytest.raises(InvalidInput, match="holds a detector with a SsdLite head"):
        load_genotype(tmp_path / "s.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.json", "g.json", "s.json"]
    with pytest.raises(MnasFpnError, match="could not write"):
        save(DETECTOR, tmp_path / "missing" / "d.json")


def test_resolve(tmp_path):
    by_name = resolve("mobilenetv2-mnasfpn")
    assert (by_name.name, by_name.detector) == ("mobilenetv2-mnasfpn", DETECTOR)
    assert by_name.graph == DETECTOR.graph()
    small = replace(DETECTOR, classes=2, input_size=64)
    save(small, tmp_path / "mine.json")
    by_path = resolve(str(tmp_path / "mine.json"))
    assert (by_path.name, by_path.detector, by_path.graph) == ("mine", small, small.graph())


def test_resolve_a_tflite_file(tmp_path):
    graph = replace(DETECTOR, classes=2, input_size=64).graph()
    (tmp_path / "mine.tflite").write_bytes(write_tflite(graph))
    found = resolve(str(tmp_path / "mine.tflite"))
    assert (found.name, found.detector) == ("mine", None)
    assert cost(found.graph).madds == cost(graph).madds


def test_named_detectors_are_names_cells_or_detectors(tmp_path):
    published_one = PUBLISHED["mobilenetv2-mnasfpn"]
    assert named_detector("mobilenetv2-mnasfpn") == published_one
    detector = replace(published_one, classes=7)
    for value, expected in ((detector, detector), (detector.head, default_detector(detector.head))):
        save(value, tmp_path / "mine.json")
        assert named_detector(str(tmp_path / "mine.json")) == expected
    file = tmp_path / "mine.tflite"
    file.write_bytes(write_tflite(detector.graph()))
    with pytest.raises(InvalidInput, match=r"mine\.tflite is an exported model; expected"):
        named_detector(str(file))


def test_resolve_all(tmp_path):
    lines = [to_json(DETECTOR.head), "", to_json(published("mobilenetv2-ssdlite"))]
    path = tmp_path / "many.jsonl"
    path.write_text("\n".join(lines))
    first, second = resolve_all(str(path))
    assert (first.name, first.detector) == ("many:1", default_detector(DETECTOR.head))
    assert (second.name, second.detector) == ("many:3", published("mobilenetv2-ssdlite"))
    (one,) = resolve_all("mobilenetv2-mnasfpn")
    assert one == resolve("mobilenetv2-mnasfpn")
    path.write_text(lines[0] + "\n{")
    with pytest.raises(InvalidInput, match=r"many\.jsonl, line 2: not JSON"):
        list(resolve_all(str(path)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mobilenetv2-mnasfn", "did you mean 'mobilenetv2-mnasfpn'"),
        ("", "no published model is called ''; known: "),
        ("missing.json", "there is no file 'missing.json'; check the path"),
        ("missing.tflite", "there is no file 'missing.tflite'"),
        ("missing.jsonl", "no published model"),
    ],
)
def test_what_does_not_resolve(text, message):
    with pytest.raises(UnknownModel, match=message):
        resolve(text)


def test_files_of_other_kinds(tmp_path):
    other = tmp_path / "model.onnx"
    other.write_bytes(b"\xff\x00")
    with pytest.raises(
        UnknownModel, match=r"must end in \.json or \.tflite, this one ends in '\.on"
    ):
        resolve(str(other))
    binary = tmp_path / "model.json"
    binary.write_bytes(b"\xff\x00")
    with pytest.raises(InvalidInput, match="cannot be read as text"):
        resolve(str(binary))
    with pytest.raises(UnknownModel, match="no published model"):
        resolve(str(tmp_path))
    broken = tmp_path / "model.tflite"
    broken.write_bytes(b"not a flatbuffer")
    with pytest.raises(InvalidInput):
        resolve(str(broken))
