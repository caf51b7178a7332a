from __future__ import annotations

import keras
import numpy as np
import pytest

from fmnist.model.build import build_model
from fmnist.model.inference import save_for_users
from fmnist.model.layers import count_multiply_adds, count_parameters, describe_layers
from fmnist.recipe import Architecture, Block

pytestmark = pytest.mark.trains

SMALL, GREY, COLOUR = (8, 8, 1), (28, 28, 1), (13, 10, 3)
ARCHITECTURES = [
    Architecture(GREY, 10, (Block(8, 1, 3), Block(16, 2, 3), Block(16, 2, 3)), head_dropout=0.2),
    Architecture(GREY, 10, (Block(8, 1, 3),), head="flatten"),
    Architecture(GREY, 10, (Block(8, 2, 5, dropout=0.1), Block(12, 1, 3)), head="flatten", dense_units=(32,)),
    Architecture(GREY, 10, (Block(8, 1, 3), Block(12, 1, 3)), head="flatten", dense_units=(32, 16), head_dropout=0.3),
    Architecture(GREY, 10, (Block(8, 1, 3), Block(12, 1, 3)), batch_normalization=False),
    Architecture(GREY, 10, (Block(8, 2, 3),) * 4, head="flatten", batch_normalization=False, dense_units=(20, 20)),
    Architecture(GREY, 10, (Block(8, 1, 7), Block(12, 2, 5)), pooling="average", head="global_average"),
    Architecture(GREY, 10, (Block(4, 1, 1), Block(4, 2, 11)), head="global_average", dense_units=(7,)),
    Architecture(COLOUR, 5, (Block(6, 1, 3), Block(7, 2, 3, dropout=0.5)), head="flatten", pooling="average"),
    Architecture(COLOUR, 2, (Block(6, 2, 3),) * 4, activation="silu"),
    Architecture(SMALL, 10, (Block(5, 1, 3),) * 4, activation="elu", head_dropout=0.5, dense_units=(4,)),
    Architecture(SMALL, 3, (Block(5, 1, 3),) * 3, activation="gelu", head="flatten"),
    Architecture((1, 1, 2), 3, (Block(5, 2, 3),)),
    Architecture(GREY, 10, (Block(4, 1, 3), Block(6, 3, 3, residual=True), Block(8, 2, 5, 0.1, residual=True))),
    Architecture(GREY, 10, (Block(4, 2, 3, residual=True),) * 4, head="flatten", batch_normalization=False),
    Architecture(COLOUR, 5, (Block(4, 3, 3, residual=True), Block(4, 3, 3)), activation="gelu"),
]


def small_model(activation: str = "relu", **fields) -> keras.Model:
    blocks = (Block(4, 1, 3), Block(6, 2, 3, dropout=0.2))
    return build_model(Architecture(SMALL, 10, blocks, activation=activation, **fields), 80.0, 90.0)


def random_images(n: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(n, *SMALL), dtype=np.uint8)


def multiply_adds_of(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.layers.Conv2D):
        return int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape))
    return int(np.prod(layer.kernel.shape)) if isinstance(layer, keras.layers.Dense) else 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_counts_are_those_of_the_built_model(architecture) -> None:
    model = build_model(architecture, 80.0, 90.0)
    assert count_parameters(architecture) == model.count_params()
    assert count_multiply_adds(architecture) == sum(multiply_adds_of(layer) for layer in model.layers)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_described_layers_are_those_built(architecture) -> None:
    built = [
        (operation.name, type(operation).__name__, operation.output.shape[1:])
        for operation in build_model(architecture, 80.0, 90.0).operations[1:]
    ]
    described = [(row.name, row.kind, row.output_shape) for row in describe_layers(architecture)]
    if architecture.activation == "gelu":  # an operation, which Keras names
        is_activation = [name.split("_")[-1].startswith("act") for name, _, _ in described]
        assert [row for row, skip in zip(built, is_activation, strict=True) if not skip] == [
            row for row, skip in zip(described, is_activation, strict=True) if not skip
        ]
    else:
        assert built == described


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_described_parameters_and_multiply_adds_are_those_of_each_layer(architecture) -> None:
    model = build_model(architecture, 80.0, 90.0)
    for row in (row for row in describe_layers(architecture) if row.n_parameters > 0):
        layer = model.get_layer(row.name)
        assert (row.n_parameters, row.multiply_adds) == (layer.count_params(), multiply_adds_of(layer))


def test_the_model_standardizes_raw_pixels_itself() -> None:
    model = small_model()
    standardize = keras.Model(model.input, model.get_layer("standardize").output)
    images = random_images().astype(np.float32)
    np.testing.assert_allclose(standardize.predict(images, verbose=0), (images - 80) / 90, atol=1e-5)


def test_pooling_comes_before_normalization() -> None:
    names = [layer.name for layer in small_model().layers]
    assert names[names.index("block1_conv1") :][:4] == ["block1_conv1", "block1_pool", "block1_norm1", "block1_act1"]


def test_a_residual_block_pools_first_and_adds_its_other_convolutions_to_what_was_pooled() -> None:
    model = build_model(Architecture(SMALL, 10, (Block(4, 3, 3, residual=True), Block(4, 1, 3))), 80.0, 90.0)
    names = [layer.name for layer in model.layers]
    assert names[names.index("block1_conv1") :][:3] == ["block1_conv1", "block1_pool", "block1_norm1"]
    inputs = {tensor._keras_history.operation.name for tensor in model.get_layer("block1_add").input}
    assert inputs == {"block1_act1", "block1_norm3"}


@pytest.mark.parametrize("batch_normalization", [True, False])
def test_a_convolution_has_a_bias_only_where_no_normalization_follows(batch_normalization) -> None:
    model = small_model(batch_normalization=batch_normalization, dense_units=(5,))
    assert [model.get_layer(name).use_bias for name in ("block1_conv1", "dense1")] == [not batch_normalization] * 2


def test_images_of_one_colour_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pixel_std must be positive, but got pixel_std=0.0"):
        build_model(ARCHITECTURES[0], 80.0, 0.0)


def test_gelu_is_the_approximate_form_before_and_after_saving(tmp_path) -> None:
    model = small_model("gelu")
    save_for_users(model, tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        gelu = [operation for operation in each.operations if type(operation).__name__ == "Gelu"]
        assert [operation.approximate for operation in gelu] == [True] * 3


@pytest.mark.parametrize("scale", [1e4, 1e8])
def test_the_loss_of_saturated_predictions_is_finite_and_so_are_its_gradients(scale) -> None:
    model = small_model()
    model.compile("sgd", keras.losses.CategoricalCrossentropy(label_smoothing=0.1))
    kernel, bias = model.get_layer("logits").get_weights()
    drawn = np.random.default_rng(0).normal(0, 0.1, kernel.shape)
    model.get_layer("logits").set_weights([drawn * scale, bias])
    images, wrong = random_images().astype(np.float32), np.eye(10, dtype=np.float32)[np.arange(20) % 10]
    loss = model.train_on_batch(images, wrong)
    assert np.isfinite(loss)
    assert loss > 20  # above -log(1e-7), where a clipped probability would end: the loss works on logits
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


def test_new_network_finds_every_class_equally_likely() -> None:
    probabilities = small_model().predict_on_batch(random_images().astype(np.float32))
    np.testing.assert_allclose(probabilities, 0.1, rtol=1e-5)
