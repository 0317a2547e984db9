"""Every rule a genotype or a detector can break, and its message."""

from dataclasses import replace

import pytest

from mnasfpn.errors import InvalidGraph, InvalidInput
from mnasfpn.models.backbones.backbone import Backbone
from mnasfpn.models.detector import Detector, default_detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.heads.nasfpn import NasFpn, Node
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.heads.ssdlite import SsdLite
from mnasfpn.models.published import NASFPN_LITE_NODES

OUTPUTS = tuple(Block((0, 1), level) for level in (3, 4, 5, 6))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Block((1,), 3), r"a block takes 2 to 4 inputs, got \[1\]"),
        (lambda: Block((0, 1, 2, 3, 4), 3), r"a block takes 2 to 4 inputs, got \[0, 1, 2, 3, 4\]"),
        (lambda: Block((0, 1), 7), r"level 7 cannot be reached; the pyramid has levels \(3, 4, 5"),
        (lambda: Block((0, 1), 3, 0), "expansion F must be at least 1, got 0"),
        (lambda: Block((0, 1), 3, kernel=4), "kernel must be odd and positive, got 4"),
        (lambda: Block((0, 1), 3, kernel=-1), "kernel must be odd and positive, got -1"),
        (lambda: Block((0, 1), 3, merge="mul"), "merge must be 'add' or 'se', got 'mul'"),
        (lambda: Block((0, 1, 2), 3, merge="se"), "merge 'se' takes exactly 2 inputs, got 3"),
        (lambda: Genotype(0, 1, OUTPUTS), "channels C must be at least 1, got 0"),
        (lambda: Genotype(8, 0, OUTPUTS), "repeats must be at least 1, got 0"),
        (lambda: Genotype(8, 1, OUTPUTS[:3]), "a cell needs at least 4 blocks, .* got 3"),
        (
            lambda: Genotype(8, 1, (Block((0, 4), 3), *OUTPUTS)),
            r"block 4 takes itself \(input 4\); it may take features 0..3",
        ),
        (
            lambda: Genotype(8, 1, (*OUTPUTS[:3], Block((8, 1), 6))),
            r"block 7 takes a feature that is not before it \(input 8\); it may take features 0..6",
        ),
        (lambda: Genotype(8, 1, (Block((-1, 0), 3), *OUTPUTS)), "block 4 takes a feature that is"),
        (
            lambda: Genotype(8, 1, (*OUTPUTS[:3], Block((0, 1), 5))),
            r"once each; got \[3, 4, 5, 5\], level 6 cannot be reached",
        ),
        (lambda: Node((0, 1, 2), 3), r"a NAS-FPN node takes 2 inputs, got \[0, 1, 2\]"),
        (lambda: Node((0, 1), 3, "gp"), "merge must be 'add' or 'se', got 'gp'"),
        (lambda: NasFpn(0, 1, NASFPN_LITE_NODES), "must be at least 1, got 0 and 1"),
        (lambda: NasFpn(8, 0, NASFPN_LITE_NODES), "must be at least 1, got 8 and 0"),
        (lambda: NasFpn(8, 1, NASFPN_LITE_NODES, top_level=5), "top level must be 6 or 7, got 5"),
        (
            lambda: NasFpn(8, 1, NASFPN_LITE_NODES, top_level=7),
            r"must have levels \[3, 4, 5, 6, 7\] once each; got \[3, 4, 4, 5, 6\]",
        ),
        (
            lambda: NasFpn(8, 1, (Node((0, 1), 7), *NASFPN_LITE_NODES)),
            "node 4: level 7 cannot be reached",
        ),
        (
            lambda: NasFpn(8, 1, (Node((0, 4), 4), *NASFPN_LITE_NODES)),
            "node 4 takes feature 4; it may take features 0..3",
        ),
        (lambda: SsdLite(anchors=(3, 6)), r"4 extra ones need 6 numbers of anchors, got \[3, 6\]"),
        (lambda: SsdLite(anchors=(3, 6, 6, 6, 6, 0)), "anchors at least 1"),
        (lambda: SsdLite(extra_depths=(1, 2, 2, 2)), "extra depths must be at least 2"),
        (lambda: SharedPredictor(depth=0), "must be at least 1, got 0 and 9"),
        (lambda: SharedPredictor(anchors=0), "must be at least 1, got 64 and 0"),
    ],
)
def test_structure(make, message):
    with pytest.raises(InvalidGraph, match=message) as caught:
        make()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Backbone("resnet50"), "no backbone is called 'resnet50'; known: mobilenet_v2, "),
        (lambda: Backbone(width=0), "width must be positive, got 0"),
        (lambda: Backbone(width=float("nan")), "width must be positive, got nan"),
        (lambda: Backbone(width=float("inf")), "width must be positive, got inf"),
        (lambda: detector(classes=0), "a detector needs at least 1 class, got 0"),
        (lambda: detector(input_size=0), "multiple of 64 .* got 0"),
        (lambda: detector(input_size=-64), "multiple of 64 .* got -64"),
        (lambda: detector(input_size=300), "multiple of 64 .* got 300"),
        (lambda: detector(predictor=None), "a pyramid head needs a predictor"),
        (lambda: detector(head=SsdLite()), "SSDLite has its own predictors"),
        (lambda: Backbone().graph(31, 64), "at least 32x32 with 3 channels, got 31x64 with 3"),
    ],
)
def test_detectors(make, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        make()
    assert caught.value.exit_code == 2


def detector(**changes) -> Detector:
    return replace(default_detector(Genotype(8, 1, OUTPUTS)), **changes)


def test_values():
    genotype = Genotype(24, 1, (Block((0, 1), 4, 96), *reversed(OUTPUTS)))
    assert genotype.outputs == {6: 5, 5: 6, 4: 7, 3: 8}
    assert [genotype.expansion(block) for block in genotype.blocks] == [96, 24, 24, 24, 24]
    assert genotype == replace(genotype, repeats=1)
    assert hash(genotype) == hash(replace(genotype, repeats=1))
    assert default_detector(genotype) == Detector(Backbone(), genotype, SharedPredictor(64))
