"""The search for a recipe: space, study, workers, confirmation, retraining, report."""

__version__ = "0.4.0"
