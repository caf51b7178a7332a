from __future__ import annotations

import pytest

from fmnist.training.precision import has_bfloat16, has_fast_bfloat16


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2 avx512_bf16 sse", True), ("fpu amx_bf16", True), ("fpu avx2 avx512f", False), ("", False)],
)
def test_bfloat16_is_told_from_the_processors_flags(tmp_path, flags, expected) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: Some avx512_bf16\nflags\t\t: {flags}\n\n")
    assert has_bfloat16(cpuinfo) is expected


def test_a_system_without_the_file_is_taken_for_without(tmp_path) -> None:
    assert not has_bfloat16(tmp_path / "cpuinfo")


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx2 avx512f", False),
        ("GenuineIntel", "avx512f avx512_bf16", False),  # AMX hidden, as on many virtual machines
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16", True),
    ],
)
def test_bfloat16_is_fast_on_intel_by_amx_alone(tmp_path, vendor, flags, expected) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    assert has_fast_bfloat16(cpuinfo) is expected


def test_a_system_without_the_file_has_no_fast_bfloat16(tmp_path) -> None:
    assert not has_fast_bfloat16(tmp_path / "cpuinfo")
