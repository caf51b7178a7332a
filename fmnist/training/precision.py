"""Does this machine multiply bfloat16 numbers faster than float32 ones? Asked without loading TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # either will do; without them oneDNN imitates bfloat16, slowly


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the processor has instructions for bfloat16.

    Args:
        cpuinfo: where Linux describes the processor. On a system without that file the answer is no.
    """
    if not cpuinfo.exists():
        return False
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("flags"):
            return not BFLOAT16_FLAGS.isdisjoint(line.partition(":")[2].split())
    return False
