"""Measure how fast a model file predicts, here or on another machine: `measure`.

From the command line: `python -m fmnist.measure best.tflite --on "ssh HOST python3 -"`.
"""

from fmnist.measure.measurement import Measurement, measure

__all__ = ["Measurement", "measure"]
