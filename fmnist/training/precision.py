"""Whether this machine multiplies bfloat16 numbers faster than float32 ones, asked without loading TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # either will do; without them oneDNN imitates bfloat16, slowly


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for bfloat16. Systems that keep no such file are taken for without."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not BFLOAT16_FLAGS.isdisjoint(flags)
