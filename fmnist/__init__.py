"""Small image classifiers: data, recipes, networks, training, evaluation. It knows nothing of the search.

The folders, each of which imports only those before it:

    data        images from where they are: class folders, IDX files, archives, tables, named data sets; their split
    model       a network from an architecture, its cost, its predictions, its metadata
    training    one training of a recipe
    metrics     accuracy with its intervals, calibration, robustness
    baselines   plain networks and classical classifiers to compare with
    predict     `python -m fmnist.predict`: what pictures show, by a delivered model
    export      `python -m fmnist.export`: a delivered model in other formats
    measure     `python -m fmnist.measure`: how fast a model file predicts, here or on another machine

A `Recipe` (fmnist.recipe) is an architecture and a training plan: all that a training needs beside images and a seed.
"""
