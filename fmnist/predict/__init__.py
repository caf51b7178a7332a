"""Say what pictures show, by a trained model: `predict` for some, `predict_batches` for many.

From the command line: `python -m fmnist.predict best.keras IMAGE ...`.
"""

from fmnist.predict.predictions import ClassProbability, Prediction, predict, predict_batches

__all__ = ["ClassProbability", "Prediction", "predict", "predict_batches"]
