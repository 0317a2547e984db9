"""Which cores are the big ones, from files as kernels have them, and masks however written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell_here import ShellHere, put_programs, put_script

from mnasfpn.android_harness.phone.adb import AdbDevice
from mnasfpn.android_harness.phone.cores import (
    affinity_mask,
    cores_in_mask,
    named,
    parse_cores,
    pin,
    read_cores,
)
from mnasfpn.errors import StableDeviceError

LITTLE, BIG = range(6), range(6, 8)


def kernel(
    khz: Mapping[int, int],
    clusters: Sequence[Sequence[int]] = (),
    capacities: Mapping[int, int] | None = None,
    parts: Mapping[int, str] | None = None,
    **lists: str,
) -> str:
    """What ``read_cores`` is told of a phone with these cores; ``khz`` of those that are on."""
    lines = [f"{name}:{cores}" for name, cores in lists.items()]
    lines += [f"cpu{core}/cpu_capacity:{size}" for core, size in (capacities or {}).items()]
    lines += [f"cpu{core}/cpufreq/cpuinfo_max_freq:{clock}" for core, clock in khz.items()]
    for cluster in clusters:
        shared = " ".join(map(str, cluster))
        lines += [f"cpu{core}/cpufreq/related_cpus:{shared}" for core in cluster if core in khz]
    for core, part in (parts or {}).items():
        lines += [f"processor\t: {core}", "BogoMIPS\t: 52.00", f"CPU part\t: {part}", ""]
    return "\n".join(lines)


def clocks(*spans: tuple[Sequence[int], int]) -> dict[int, int]:
    return {core: khz for cores, khz in spans for core in cores}


SAME = clocks((range(8), 1_612_000))
BIG_LITTLE = clocks((range(4), 1_766_400), (range(4, 8), 2_457_600))


def test_the_cluster_of_the_highest_clock() -> None:
    found = parse_cores(kernel(BIG_LITTLE, [range(4), range(4, 8)]))
    assert (found.biggest, found.doubts) == ((4, 5, 6, 7), ())


def test_capacity_tells_big_from_little_where_the_clocks_are_equal() -> None:
    """Six A55 and two A75, all of 1612 MHz."""
    sizes = clocks((LITTLE, 480), (BIG, 1024))
    found = parse_cores(kernel(SAME, [LITTLE, BIG], sizes))
    assert (found.biggest, found.doubts) == ((6, 7), ())


def test_capacity_counts_before_the_clock() -> None:
    """The big core's clock is capped below the little ones'."""
    found = parse_cores(
        kernel(
            clocks((LITTLE, 2_000_000), (BIG, 1_800_000)),
            [LITTLE, BIG],
            clocks((LITTLE, 480), (BIG, 1024)),
        )
    )
    assert found.biggest == (6, 7)


def test_equal_clocks_without_capacities_are_said_and_kinds_are_not_mixed() -> None:
    found = parse_cores(kernel(SAME, [LITTLE, BIG]))
    assert found.biggest == (6, 7)
    assert found.doubts == (
        "cores 0-7 of one maximum clock and without capacities: which are big is unknown; cores "
        "6-7 used: name others with --cores if these are small",
    )


@pytest.mark.parametrize("capacities", [None, clocks((range(8), 1024))])
def test_equal_clocks_of_one_kind_of_core_are_no_doubt(
    capacities: Mapping[int, int] | None,
) -> None:
    one_kind = dict.fromkeys(range(8), "0xd03")
    found = parse_cores(kernel(SAME, [range(4), range(4, 8)], capacities, one_kind))
    assert (found.biggest, found.doubts) == (tuple(range(8)), ())
    two_kinds = clocks((LITTLE, 0)) | clocks((BIG, 1))
    parts = {core: ("0xd05", "0xd0a")[kind] for core, kind in two_kinds.items()}
    assert parse_cores(kernel(SAME, [LITTLE, BIG], capacities, parts)).doubts


def test_big_and_little_that_share_a_clock_are_told_apart_by_capacity_alone() -> None:
    shared = [range(8)]
    sizes = clocks((LITTLE, 480), (BIG, 1024))
    assert parse_cores(kernel(SAME, shared, sizes)).biggest == (6, 7)
    parts = dict.fromkeys(LITTLE, "0xd05") | dict.fromkeys(BIG, "0xd0a")
    assert "which are big is unknown" in parse_cores(kernel(SAME, shared, parts=parts)).doubts[0]


def test_equal_clocks_where_the_kernel_tells_nothing_else() -> None:
    found = parse_cores(kernel(SAME))
    assert found.biggest == tuple(range(8))
    assert "which are big is unknown" in found.doubts[0]
    assert parse_cores(kernel(BIG_LITTLE)).doubts == ()
    assert parse_cores(kernel({0: 1_000_000})).doubts == ()


HOTPLUG = clocks((range(4), 1_766_400))


@pytest.mark.parametrize("lists", [{"present": "0-7"}, {"possible": "0-7"}])
def test_big_cores_that_are_off_are_said(lists: dict[str, str]) -> None:
    """Their cpufreq folders go with them."""
    found = parse_cores(kernel(HOTPLUG, [range(4)], online="0-3", **lists))
    assert found.biggest == (0, 1, 2, 3)
    assert found.off == (4, 5, 6, 7)
    assert found.doubts == (
        "cores 4-7 switched off and maybe bigger than cores 0-3, used instead: let it cool down, "
        "keep it awake, end its battery saver",
    )


def test_what_is_known_of_cores_that_are_off_is_used() -> None:
    sizes = clocks((range(4), 480), (range(4, 8), 1024))
    bigger = parse_cores(kernel(HOTPLUG, [range(4)], sizes, online="0-3", present="0-7"))
    assert bigger.doubts[0].startswith("cores 4-7 switched off and bigger than cores 0-3, used")
    little_off = kernel(
        clocks((range(4, 8), 2_457_600)), [range(4, 8)], sizes, online="4-7", present="0-7"
    )
    assert parse_cores(little_off).biggest == (4, 5, 6, 7)
    assert parse_cores(little_off).doubts == ()


def test_a_core_that_is_off_stays_in_its_cluster() -> None:
    """So the cores that a store knows a phone by do not depend on which are on today."""
    some_off = {core: khz for core, khz in BIG_LITTLE.items() if core not in (5, 7)}
    sizes = {core: 400 if core < 4 else 1024 for core in some_off}  # new kernels: of cores on alone
    # Without a list of cores, the others of its cluster name it.
    for present, capacities in (({"present": "0-7"}, None), ({}, None), ({}, sizes)):
        found = parse_cores(
            kernel(some_off, [range(4), range(4, 8)], capacities, online="0-4,6", **present)
        )
        assert found.biggest == (4, 5, 6, 7)
        assert found.off == (5, 7)
        assert found.doubts == ()


def test_a_phone_that_tells_nothing() -> None:
    for text in ("", "grep: Permission denied\n", "online:\npresent:what\n"):
        found = parse_cores(text)
        assert (found.biggest, found.doubts, found.by_khz) == ((), (), {})
    assert parse_cores("online:0-3\n").biggest == ()


@given(st.text(max_size=200))
def test_nonsense_never_crashes(text: str) -> None:
    found = parse_cores(text)
    assert isinstance(found.doubts, tuple)
    assert set(found.biggest) <= {core.number for core in found.cores}


@pytest.mark.parametrize(
    ("said", "cores"),
    [
        ("pid 12's current affinity mask: f0", (4, 5, 6, 7)),
        ("pid 12's current affinity mask: 0xf0", (4, 5, 6, 7)),
        ("pid 12's current affinity mask: 000000f0\n", (4, 5, 6, 7)),
        ("F0", (4, 5, 6, 7)),
        ("Cpus_allowed:\t00000000,000000f0", (4, 5, 6, 7)),
        ("pid 12's current affinity mask: 1", (0,)),
        ("taskset: not permitted", ()),
        ("unreadable", ()),
        ("", ()),
    ],
)
def test_masks_are_numbers(said: str, cores: tuple[int, ...]) -> None:
    assert cores_in_mask(said) == cores


@given(st.sets(st.integers(0, 63), min_size=1))
def test_a_mask_says_the_cores_it_was_made_of(cores: set[int]) -> None:
    assert cores_in_mask(affinity_mask(cores)) == tuple(sorted(cores))


@pytest.mark.parametrize(
    ("cores", "mask"), [((4, 5, 6, 7), "f0"), ((0,), "1"), ((7,), "80"), ((0, 1, 2, 3, 8), "10f")]
)
def test_masks_by_hand(cores: tuple[int, ...], mask: str) -> None:
    assert affinity_mask(cores) == mask


def test_cores_are_named_for_people() -> None:
    assert named([7]) == "core 7"
    assert named([6, 0, 1, 2]) == "cores 0-2,6"


def phone_with(folder: Path, taskset: str) -> AdbDevice:
    """Its shell is this computer's, with a ``taskset`` of its own."""
    programs = put_programs(folder / "bin", "sh", "grep", "cat")
    put_script(programs, "taskset", taskset)
    return ShellHere(programs)  # type: ignore[return-value]


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    for core, khz in BIG_LITTLE.items():
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "cpuinfo_max_freq").write_text(f"{khz}\n")
        (folder / "related_cpus").write_text("0 1 2 3\n" if core < 4 else "4 5 6 7\n")
    return tmp_path / "sys"


#: Says the mask that it was given, as the shell's arithmetic has it.
WORKS = '[ "$1" = -p ] || { export MASK=$1; shift; exec "$@"; }; echo "mask: %s"'


@pytest.mark.parametrize("writes", ["$MASK", "0x$MASK", "000000$MASK", "70"])
def test_pinned_is_what_ran_on_these_cores_however_the_mask_is_written(
    tmp_path: Path, sysfs: Path, writes: str
) -> None:
    """The last is a phone whose core 7 is off: it is missing from what is read back."""
    phone = phone_with(tmp_path, WORKS % writes)
    assert read_cores(phone, str(sysfs)).biggest == (4, 5, 6, 7)
    found = pin(phone, sysfs=str(sysfs))
    assert (found.cores, found.why_not, found.doubts) == ((4, 5, 6, 7), "", ())
    assert found.unpinned(f"mask: {writes.replace('$MASK', 'f0')}") == ""


@pytest.mark.parametrize(
    "taskset", ["echo 'taskset: not permitted' >&2; exit 1", WORKS % "ff", WORKS % "f", WORKS % ""]
)
def test_what_is_not_pinned_is_not_claimed_and_the_reason_is_kept(
    tmp_path: Path, sysfs: Path, taskset: str
) -> None:
    phone = phone_with(tmp_path, taskset)
    found = pin(phone, sysfs=str(sysfs))
    assert found.cores == ()
    assert found.why_not.startswith("not pinned: taskset refuses cores 4-7: ")
    assert found.unpinned("") == found.why_not
    with pytest.raises(StableDeviceError, match=r"does not pin to core 5: .*; name other cores"):
        pin(phone, [5], str(sysfs))


def test_a_run_that_left_its_cores_is_not_pinned(tmp_path: Path, sysfs: Path) -> None:
    made = pin(phone_with(tmp_path, WORKS % "$MASK"), sysfs=str(sysfs))
    assert made.unpinned("mask: f") == "not pinned to cores 4-7: ran on cores 0-3"
    assert made.unpinned("mask: f8").endswith("ran on cores 3-7")
    assert "cannot be read: 'unreadable'" in made.unpinned("unreadable")


def test_cores_asked_for_that_are_off_are_named(tmp_path: Path, sysfs: Path) -> None:
    (sysfs / "devices/system/cpu/online").write_text("0-3\n")
    (sysfs / "devices/system/cpu/present").write_text("0-7\n")
    phone = phone_with(tmp_path, "echo 'Invalid argument' >&2; exit 1")
    with pytest.raises(
        StableDeviceError, match="does not pin to cores 4-5: cores 4-5 switched off"
    ):
        pin(phone, [4, 5], str(sysfs))


def test_no_cores_no_pinning(tmp_path: Path) -> None:
    found = pin(phone_with(tmp_path, "exit 1"), sysfs=str(tmp_path))
    assert found.why_not == "not pinned: the phone does not tell which cores it has"
