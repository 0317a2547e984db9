"""Look-up tables of ProxylessNAS and Once-for-all: keys, round trips, damage, profiles."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.benchmarks.phones.classifiers import lut_entry
from mnasfpn.benchmarks.simulated import simulated_profile
from mnasfpn.errors import InvalidInput, NotCovered
from mnasfpn.latency.estimate.estimate import Estimator, estimate
from mnasfpn.latency.fitting.lookup_tables import (
    lut_from_profile,
    parse_entry,
    profile_from_lut,
    read_lut,
    write_lut,
)

SHARED = Path(__file__).parents[3].parent / "shared"
DATA = SHARED / "data" / "phones"
KEY = "expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0"
STATISTICS = {"mean": 9.5, "std": 0.25, "count": 982}

sizes = st.integers(1, 300)
statistics = st.fixed_dictionaries(
    {
        "mean": st.floats(1e-3, 1e4),
        "std": st.floats(0, 1e3),
        "count": st.integers(0, 10**6),
    }
)


def reported(name):
    """A file like those of users' reports."""
    path = SHARED / "fixtures" / "reports" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there: users' files are no part of the package")
    return path


def published_entries(name):
    """The rows of a CSV file that holds such a table."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not there: published look-up tables are no part of the package")
    with path.open(newline="") as file:
        return [lut_entry(row) for row in csv.DictReader(file)]


def rounded(entry):
    """Squared and rooted, a deviation is another in the last digit."""
    return replace(entry, mean_ms=round(entry.mean_ms, 9), std_ms=round(entry.std_ms, 9))


def test_a_key_of_the_published_table():
    entry = parse_entry(KEY, STATISTICS)
    assert (entry.layer, entry.input, entry.output) == (
        "expanded_conv",
        (112, 112, 16),
        (56, 56, 24),
    )
    assert (entry.expand, entry.kernel, entry.stride, entry.idskip) == (3, 3, 2, 0)
    assert (entry.mean_ms, entry.std_ms, entry.count) == (9.5, 0.25, 982)
    assert entry.key == KEY
    assert parse_entry("Logits-input:7x7x1280-output:1000", STATISTICS).output == (1000,)


@given(
    st.tuples(sizes, sizes, sizes),
    st.tuples(sizes, sizes, sizes),
    st.tuples(*[st.integers(0, 9)] * 4),
    st.one_of(st.none(), st.tuples(st.integers(0, 1), st.integers(0, 1))),
    statistics,
)
def test_every_key_is_read_back(input_shape, output_shape, block, more, numbers):
    names = ("expand", "kernel", "stride", "idskip")
    key = "-".join(
        [
            "expanded_conv",
            f"input:{'x'.join(map(str, input_shape))}",
            f"output:{'x'.join(map(str, output_shape))}",
            *(f"{name}:{value}" for name, value in zip(names, block, strict=True)),
            *(f"{n}:{v}" for n, v in zip(("se", "hs"), more or (), strict=False)),
        ]
    )
    assert parse_entry(key, numbers).key == key


def test_tables_survive_the_round_trip(tmp_path):
    entries = [
        parse_entry(KEY, STATISTICS),
        parse_entry(KEY + "-se:1-hs:1", {"mean": 1, "std": 0, "count": 3}),
        parse_entry("Conv-input:224x224x3-output:112x112x32", STATISTICS),
    ]
    write_lut(entries, tmp_path / "lut.yaml")
    assert set(read_lut(tmp_path / "lut.yaml")) == set(entries)
    assert yaml.safe_load((tmp_path / "lut.yaml").read_text())[KEY] == STATISTICS
    write_lut([entries[0], entries[2]], tmp_path / "without_se.yaml")
    assert yaml.safe_load((tmp_path / "without_se.yaml").read_text())[KEY] == {
        "count": 982,
        "mean": 9.5,
        "var": 0.0625,
    }
    with pytest.raises(InvalidInput, match="two rows for 'Conv"):
        write_lut([entries[2], entries[2]], tmp_path / "twice.yaml")
    assert not (tmp_path / "twice.yaml").exists()


@pytest.mark.parametrize("name", ["proxylessnas_pixel1_lut.csv", "ofa_note10_lut.csv"])
def test_published_tables_survive_the_round_trip(name, tmp_path):
    by_key = {entry.key: entry for entry in published_entries(name)}
    write_lut(by_key.values(), tmp_path / "lut.yaml")
    found = {entry.key: entry for entry in read_lut(tmp_path / "lut.yaml")}
    assert {key: rounded(entry) for key, entry in found.items()} == {
        key: rounded(entry) for key, entry in by_key.items()
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds NoneType, expected a mapping of blocks"),
        ("- 1\n- 2\n", "holds list"),
        ("a: [1\n", "is not YAML"),
        ("!!python/object/apply:os.system ['true']\n", "is not YAML"),
        (f"{KEY}: 3.0\n", f"'{KEY}' needs numbers for mean, std .or var. and count; mean, std, "),
        (f"{KEY}: {{mean: 1.0, count: 3}}\n", f"'{KEY}' needs numbers .* std is missing"),
        (f"{KEY}: {{mean: fast, std: 1, count: 3}}\n", f"'{KEY}' needs numbers .* mean is missing"),
        (f"{KEY}: {{mean: .nan, std: 1, count: 3}}\n", f"'{KEY}' needs numbers .* mean is missing"),
        (f"{KEY}: {{mean: 1, var: x, count: 3}}\n", f"'{KEY}' needs numbers .* var is missing"),
        (f"{KEY}: {{mean: 1, var: -1, count: 3}}\n", f"'{KEY}': var must not be negative, got -1"),
        (
            f"{KEY}: {{mean: 1, std: 1, count: 3}}\n{KEY}: {{mean: 2, std: 1, count: 3}}\n",
            f"lut.yaml: '{KEY}' is there 2 times; keep one of them",
        ),
        (f"{KEY}: {{mean: 1, std: 1, mean: 2, count: 3}}\n", "'mean' is there 2 times"),
        (f"{KEY}: {{mean: -1, std: 1, count: 3}}\n", f"'{KEY}': mean must be positive"),
        ("12: {mean: 1, std: 1, count: 3}\n", "12 describes no layer"),
        (f"{KEY}-width:2: {{mean: 1, std: 1, count: 3}}\n", "width:2' describes no layer"),
        (
            "Pool-input:7x7x3-output:1: {mean: 1, std: 1, count: 3}\n",
            "'Pool-input:7x7x3-output:1': no layer is called 'Pool'",
        ),
        (
            "Conv-input:7x7-output:7x7x8: {mean: 1, std: 1, count: 3}\n",
            "'Conv-input:7x7-output:7x7x8': shapes are HxWxC",
        ),
        (
            "expanded_conv-input:7x7x3-output:7x7x8-expand:3: {mean: 1, std: 1, count: 3}\n",
            "expanded_conv has expand, kernel, stride and idskip",
        ),
    ],
)
def test_damaged_tables_name_the_row(text, message, tmp_path):
    path = tmp_path / "lut.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read_lut(path)


def test_a_missing_table_and_bytes_that_are_no_text(tmp_path):
    with pytest.raises(InvalidInput, match=r"cannot read the look-up table .*: No such file"):
        read_lut(tmp_path / "none.yaml")
    (tmp_path / "lut.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="is not YAML"):
        read_lut(tmp_path / "lut.yaml")


def test_blocks_as_graphs():
    """Expansion by ratio, or by channels where the table knows squeeze-excite."""
    graph = parse_entry(KEY, STATISTICS).graph()
    assert graph["expand"].shape == (1, 112, 112, 48)
    assert graph["depthwise"].shape == (1, 56, 56, 48)
    assert graph["project"].shape == (1, 56, 56, 24)
    key = "expanded_conv-input:10x10x136-output:10x10x136-expand:408-kernel:5-stride:1-idskip:1"
    graph = parse_entry(key + "-se:1-hs:1", STATISTICS).graph()
    assert graph["squeeze/conv"].shape == (1, 1, 1, 104)
    assert [layer.op for layer in graph].count("hard_swish") == 2
    assert graph.outputs == ("add",)
    pool = parse_entry("AvgPool2D-input:7x7x8-output:1x1x8", STATISTICS).graph()
    assert [layer.op for layer in pool] == ["input", "global_average_pool"]


def synthetic_table():
    """Blocks whose latency is a known law of their multiply-accumulates and weights."""
    entries = [
        parse_entry(f"Conv-input:{s}x{s}x3-output:{s // 2}x{s // 2}x32", STATISTICS)
        for s in (160, 224)
    ]
    for size, channels, expand, kernel, stride in (
        *((56, 24, e, k, 1) for e in (3, 6) for k in (3, 5, 7)),
        *((28, 40, e, k, 1) for e in (3, 6) for k in (3, 5, 7)),
        *((28, 40, e, k, 2) for e in (3, 6) for k in (3, 5, 7)),
    ):
        out = size // stride
        entries.append(
            parse_entry(
                f"expanded_conv-input:{size}x{size}x{channels}-output:{out}x{out}x{channels}"
                f"-expand:{expand}-kernel:{kernel}-stride:{stride}-idskip:{int(stride == 1)}",
                STATISTICS,
            )
        )
    return [
        replace(e, mean_ms=sum(layer.madds for layer in e.graph()) / 5e6 + 0.01) for e in entries
    ]


def test_a_profile_of_a_table_estimates_its_blocks():
    entries = synthetic_table()
    profile = profile_from_lut(entries, "law")
    assert [row.kernel.split()[0] for row in profile.table] == ["conv", "conv"]
    predicted = [estimate(entry.graph(), profile).latency_ms for entry in entries]
    measured = np.asarray([entry.mean_ms for entry in entries])
    assert np.abs(predicted / measured - 1).max() < 0.1
    with pytest.raises(InvalidInput, match="at least 10 blocks, this table has 3"):
        profile_from_lut(entries[:3], "law")


def test_a_table_of_a_profile_and_back():
    """What was measured comes back as it was, and of other blocks estimates."""
    entries = synthetic_table()
    unmeasured = entries[3::4]
    profile = profile_from_lut([entry for entry in entries if entry not in unmeasured], "law")
    estimator = Estimator(profile)
    exported = lut_from_profile(profile, [replace(entry, mean_ms=1.0) for entry in entries])
    assert [entry.key for entry in exported] == [entry.key for entry in entries]
    for entry, known in zip(exported, entries, strict=True):
        if known in unmeasured:
            assert entry.count == 0
            assert entry.mean_ms == estimator.estimate(entry.graph()).latency_ms
        else:
            assert rounded(entry) == rounded(known)
    again = profile_from_lut([replace(entry, count=1) for entry in exported], "again")
    one, other = Estimator(profile), Estimator(again)
    for entry in entries[2:]:
        expected = one.estimate(entry.graph()).latency_ms
        assert other.estimate(entry.graph()).latency_ms == pytest.approx(expected, rel=0.02)


def test_rows_of_a_table_can_be_added_up() -> None:
    """What a model costs once, whatever its blocks, is in none of them."""
    profile = simulated_profile()
    blocks = [entry for entry in synthetic_table() if entry.layer == "expanded_conv"]
    estimator = Estimator(profile)
    for entry in lut_from_profile(profile, blocks):
        found = estimator.estimate(entry.graph(fuse_relu6=True))
        assert found.overhead_ms > 0
        kernels_ms = sum(item.latency_ms for item in found.contributions)
        assert entry.mean_ms == pytest.approx(kernels_ms)
        assert entry.std_ms > 0


def test_a_block_that_a_profile_does_not_cover_is_named() -> None:
    block = parse_entry(KEY, STATISTICS)
    with pytest.raises(NotCovered, match=f"'{KEY}': profile .* knows nothing about"):
        lut_from_profile(simulated_profile(without="depthwise_conv"), [block])


def test_the_published_layout_is_read() -> None:
    """han-cai/files: variances, where once-for-all has deviations."""
    entries = read_lut(reported("13-lut-var/mobile_trim_like.yaml"))
    assert [(entry.mean_ms, entry.std_ms, entry.count) for entry in entries] == [
        (4.1, 0.5, 900),
        (9.9, math.sqrt(0.63), 900),
    ]


def test_a_key_that_is_there_twice_is_named() -> None:
    with pytest.raises(InvalidInput, match="'Conv-input:224x224x3-output:112x112x32' is there 2"):
        read_lut(reported("14-lut-duplicate/twice.yaml"))


def test_the_published_pixel_1_table_as_a_profile():
    """Blocks held out, on a real phone's numbers."""
    entries = published_entries("proxylessnas_pixel1_lut.csv")
    kept = [entry for i, entry in enumerate(entries) if i % 4]
    profile = profile_from_lut(kept, "pixel1", sources=("proxylessnas/mobile_trim.yaml",))
    held_out = [entry for entry in entries[::4] if entry.layer == "expanded_conv"]
    predicted = [estimate(entry.graph(), profile).latency_ms for entry in held_out]
    measured = np.asarray([entry.mean_ms for entry in held_out])
    assert np.median(np.abs(predicted / measured - 1)) < 0.10
