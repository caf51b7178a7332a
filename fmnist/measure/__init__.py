"""Measure how fast a model file predicts, here or on another machine: `measure`.

From the command line: `python -m fmnist.measure best.tflite --on "ssh pi python3 -"`.
"""
