"""Does this processor multiply bfloat16 numbers, and faster than float32 ones? Asked without loading TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # either will do; without them oneDNN imitates bfloat16, slowly
CPUINFO = Path("/proc/cpuinfo")  # where Linux describes the processor


def has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Tell whether the processor has instructions for bfloat16.

    Args:
        cpuinfo: where Linux describes the processor. On a system without that file the answer is no.
    """
    return not BFLOAT16_FLAGS.isdisjoint(_first_processor(cpuinfo).get("flags", "").split())


def has_fast_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Tell whether a network learns faster in bfloat16 than in float32.

    Intel's processors do so by AMX alone, which a virtual machine may hide: by AVX-512 BF16 an Emerald Rapids learned
    0.6 times as many images a second as in float32 (default network, one probe).

    Args:
        cpuinfo: as in `has_bfloat16`.
    """
    processor = _first_processor(cpuinfo)
    if processor.get("vendor_id") == "GenuineIntel":
        return "amx_bf16" in processor.get("flags", "").split()
    return has_bfloat16(cpuinfo)


def _first_processor(cpuinfo: Path) -> dict[str, str]:
    """Return what is said of the first processor, by name."""
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    return fields
