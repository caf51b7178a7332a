"""Say what images show, by a trained model: pictures, arrays and files of them.

`predict` names them, some at a time by `predict_batches`; `Classifier` keeps the model loaded; `evaluate` scores the
answers on labelled images. From the command line: `python -m fmnist.predict best.keras IMAGE ...`.
"""

from fmnist.predict.classifier import Classifier
from fmnist.predict.evaluation import EvaluatedImages, evaluate
from fmnist.predict.predictions import ClassProbability, Prediction, predict, predict_batches

__all__ = [
    "ClassProbability",
    "Classifier",
    "EvaluatedImages",
    "Prediction",
    "evaluate",
    "predict",
    "predict_batches",
]
