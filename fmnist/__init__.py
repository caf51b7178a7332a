"""Small image classifiers: data, recipes, networks, training, evaluation. Knows nothing of the search."""
