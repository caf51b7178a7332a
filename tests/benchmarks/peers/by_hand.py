"""The contenders that a user writes in an afternoon: one network, Optuna around model.fit, Keras Tuner's Hyperband.

The last two search the same small space. All train on the same images in one process with TensorFlow's own threads,
and deliver the best epoch's model of all trials. Keras Tuner would give that one as `get_best_models(1)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import keras
import optuna

from fmnist.data.images import LabelledImages
from tests.benchmarks.peers.data import load_for_peers
from tests.benchmarks.peers.records import Assignment, Ledger

N_EPOCHS = 10  # of a trial, at most
BATCH_SIZE = 128
MOST_BLOCKS = 4
FILTERS = (16, 32, 64)
DENSE_UNITS = (64, 256, 32)  # from, to, step
LARGEST_DROPOUT = 0.5
LEARNING_RATES = (1e-4, 1e-2)


HAND_FILTERS, HAND_DENSE_UNITS, HAND_DROPOUT, HAND_RATE = (32, 64, 128), 128, 0.3, 1e-3  # the one network
HAND_PATIENCE = 5  # epochs
HAND_EPOCHS = 1000  # at most; early stopping or the clock ends it


class TimeIsUp(BaseException):
    """Not an Exception: both libraries would record the trial as failed and go on."""


class Recorder(keras.callbacks.Callback):
    """Enters every epoch, saves the best model of all trials, and raises TimeIsUp at the first step past the end."""

    def __init__(self, assignment: Assignment, ledger: Ledger) -> None:
        super().__init__()
        self._path = assignment.files.model
        self._ledger = ledger

    def __deepcopy__(self, memo: dict) -> Recorder:
        return self  # Keras Tuner copies callbacks for every trial; this one keeps the whole search's account

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._ledger.began_trial()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._ledger.trained_on(BATCH_SIZE)
        if self._ledger.seconds_left() == 0:
            raise TimeIsUp

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self._ledger.saw(logs["val_accuracy"]):
            self.model.save(self._path)


def compete_by_hand(assignment: Assignment, ledger: Ledger) -> None:
    """One small network with early stopping, trained once."""
    train, selection = load_for_peers(assignment)
    keras.utils.set_random_seed(assignment.seed)
    model = _network(train, HAND_FILTERS, HAND_DENSE_UNITS, HAND_DROPOUT, HAND_RATE)
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=HAND_PATIENCE)
    with suppress(TimeIsUp):
        model.fit(
            train.images,
            train.labels,
            epochs=HAND_EPOCHS,
            batch_size=BATCH_SIZE,
            validation_data=(selection.images, selection.labels),
            callbacks=[Recorder(assignment, ledger), stopping],
            verbose=0,
        )


def compete_with_optuna(assignment: Assignment, ledger: Ledger) -> None:
    """TPE and the median pruner, each epoch reported."""
    train, selection = load_for_peers(assignment)
    recorder = Recorder(assignment, ledger)

    def objective(trial: optuna.Trial) -> float:
        keras.backend.clear_session()
        n_blocks = trial.suggest_int("n_blocks", 1, MOST_BLOCKS)
        model = _network(
            train,
            filters=[trial.suggest_categorical(f"filters{i}", FILTERS) for i in range(n_blocks)],
            dense_units=trial.suggest_int("dense_units", *DENSE_UNITS[:2], step=DENSE_UNITS[2]),
            dropout=trial.suggest_float("dropout", 0.0, LARGEST_DROPOUT),
            learning_rate=trial.suggest_float("learning_rate", *LEARNING_RATES, log=True),
        )
        pruning = _Pruning(trial)
        model.fit(
            train.images,
            train.labels,
            epochs=N_EPOCHS,
            batch_size=BATCH_SIZE,
            validation_data=(selection.images, selection.labels),
            callbacks=[recorder, pruning],
            verbose=0,
        )
        if pruning.is_pruned:
            raise optuna.TrialPruned
        return pruning.best_accuracy

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=assignment.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
    )
    keras.utils.set_random_seed(assignment.seed)
    _until_time_is_up(lambda: study.optimize(objective))


class _Pruning(keras.callbacks.Callback):
    """Reports each epoch to Optuna and stops the training that it would prune."""

    def __init__(self, trial: optuna.Trial) -> None:
        super().__init__()
        self._trial = trial
        self.best_accuracy = 0.0
        self.is_pruned = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.best_accuracy = max(self.best_accuracy, logs["val_accuracy"])
        self._trial.report(logs["val_accuracy"], epoch)
        if epoch + 1 < N_EPOCHS and self._trial.should_prune():
            self.is_pruned = self.model.stop_training = True


def compete_with_keras_tuner(assignment: Assignment, ledger: Ledger) -> None:
    """Hyperband, repeated until the time is up, with early stopping as in its guide."""
    import keras_tuner  # here: an extra that the other contenders run without

    def build(parameters: Any) -> keras.Model:
        n_blocks = parameters.Int("n_blocks", 1, MOST_BLOCKS)
        filters = []
        for i in range(n_blocks):
            with parameters.conditional_scope("n_blocks", list(range(i + 1, MOST_BLOCKS + 1))):
                filters.append(parameters.Choice(f"filters{i}", list(FILTERS)))
        return _network(
            train,
            filters=filters,
            dense_units=parameters.Int("dense_units", *DENSE_UNITS[:2], step=DENSE_UNITS[2]),
            dropout=parameters.Float("dropout", 0.0, LARGEST_DROPOUT),
            learning_rate=parameters.Float("learning_rate", *LEARNING_RATES, sampling="log"),
        )

    train, selection = load_for_peers(assignment)
    keras.utils.set_random_seed(assignment.seed)
    tuner = keras_tuner.Hyperband(
        build,
        objective="val_accuracy",
        max_epochs=N_EPOCHS,
        factor=3,
        hyperband_iterations=1000,  # the clock ends it: with the default of 1 it would stop and leave time unused
        seed=assignment.seed,
        directory=assignment.files.scratch,
        project_name="hyperband",
    )
    _until_time_is_up(
        lambda: tuner.search(
            train.images,
            train.labels,
            batch_size=BATCH_SIZE,
            validation_data=(selection.images, selection.labels),
            callbacks=[
                Recorder(assignment, ledger),
                keras.callbacks.EarlyStopping(monitor="val_loss", patience=5),
            ],
            verbose=0,
        )
    )
    ledger.n_trials = len(tuner.oracle.trials)  # a configuration that goes on to the next round is one more, as there


def _network(
    train: LabelledImages, filters: Sequence[int], dense_units: int, dropout: float, learning_rate: float
) -> keras.Model:
    """Convolution and pooling, block by block, then one dense layer. Takes raw pixels of such images."""
    layers = keras.layers
    model = keras.Sequential([keras.Input(train.images.shape[1:]), layers.Rescaling(1 / 255)])
    for n_filters in filters:
        model.add(layers.Conv2D(n_filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(dense_units, activation="relu"))
    model.add(layers.Dropout(dropout))
    model.add(layers.Dense(int(train.labels.max()) + 1, activation="softmax"))
    model.compile(keras.optimizers.Adam(learning_rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _until_time_is_up(search: Any) -> None:
    try:
        search()
    except TimeIsUp:
        return
    raise RuntimeError("the search ended before its time was up")
