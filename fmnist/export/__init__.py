"""Export a trained model to other formats, each compared with it: `export_model`.

From the command line: `python -m fmnist.export best.keras --format onnx`.
"""
