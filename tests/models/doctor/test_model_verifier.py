"""Damage is found before anything is read, and files that are whole are never refused."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.models.doctor.inspected_file import InspectedFile
from mnasfpn.models.doctor.model_verifier import verify_offsets, verify_parts
from mnasfpn.models.published import published
from mnasfpn.models.tflite.flatbuffer import DamagedBuffer
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.models.doctor.detector_files import FORMS


@cache
def good(form: str) -> bytes:
    return FORMS[form]().pack()


def verify(content: bytes) -> None:
    verify_offsets(content)
    verify_parts(InspectedFile(content))


@pytest.mark.parametrize("form", FORMS)
def test_whole_files_pass(form: str) -> None:
    verify(good(form))
    verify(write_tflite(published("mobilenetv2-mnasfpn").graph()))


@given(st.binary(max_size=200))
def test_any_bytes_are_judged_without_another_error(tail: bytes) -> None:
    with pytest.raises(DamagedBuffer):
        verify(tail)
    with pytest.raises(DamagedBuffer):
        verify(tail[:4].ljust(4, b"\0") + b"TFL3" + tail[4:])


@given(st.data())
def test_any_damage_is_judged_without_another_error(data: st.DataObject) -> None:
    content = bytearray(good("raw"))
    at = data.draw(st.integers(0, len(content) - 4))
    content[at : at + 4] = data.draw(st.binary(min_size=4, max_size=4))
    with suppress(DamagedBuffer):  # or it is whole still
        verify(bytes(content))


def test_every_cut_within_the_model_is_found() -> None:
    content = good("raw")
    archive = content.index(b"PK\x03\x04")
    for length in range(0, archive - 64, 97):
        with pytest.raises(DamagedBuffer):
            verify(content[:length])


def test_the_place_of_the_damage_is_told() -> None:
    content = bytearray(good("raw"))
    content[0:4] = b"\xff\xff\xff\x7f"
    with pytest.raises(DamagedBuffer, match="2,147,483,647"):
        verify(bytes(content))
