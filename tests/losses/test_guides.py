"""Regions of pictures: how they go down to the layers, and what terms make of them."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax
from nst_jax.losses import Gram, View
from nst_jax.losses.guides import PROPAGATIONS, layer_guides
from nst_jax.models.layers import LAYERS
from nst_jax.models.vgg import ROUNDINGS

rng = np.random.default_rng
jitted_guides = jax.jit(layer_guides, static_argnums=(1, 2, 3))


def receptive(layer, at, shape):
    """The pixels that a position of a layer sees: (rows, columns), cut to a picture."""
    spans = [(i, i + 1) for i in at]
    for name in reversed(LAYERS[: LAYERS.index(layer) + 1]):
        if name.startswith("conv"):
            spans = [(a - 1, b + 1) for a, b in spans]
        elif name.startswith("pool"):
            spans = [(2 * a, 2 * b) for a, b in spans]
    return tuple(
        slice(max(a, 0), min(b, side))
        for (a, b), side in zip(spans, shape, strict=True)
    )


@pytest.mark.parametrize("layer", ["relu1_1", "conv2_2", "pool2", "relu4_1"])
@pytest.mark.parametrize(
    ("propagation", "wanted"), [("inside", np.min), ("all", np.max)]
)
def test_a_position_is_judged_by_what_it_sees(layer, propagation, wanted):
    """By brute force over its receptive field, in the middle of the picture."""
    region = np.ones((1, 112, 120), np.float32)
    region[0, :20, :30] = rng(0).random((20, 30)) < 0.95
    if propagation == "all":
        region = 1 - region
    guides = jitted_guides(jnp.asarray(region), (layer,), propagation)
    guide = np.asarray(guides[layer])
    height, width = guide.shape[1:]
    for y, x in itertools.product(range(height), range(width)):
        field = region[0][receptive(layer, (y, x), region.shape[1:])]
        assert guide[0, y, x] == wanted(field), (y, x)
    assert 0 < np.mean(guide) < 1


def test_a_simple_guide_is_the_share_of_what_is_pooled():
    regions = rng(1).random((2, 22, 37)).astype(np.float32)
    layers = ["relu1_2", "relu2_1", "conv_5"]
    found = layer_guides(jnp.asarray(regions), layers, rounding="floor")
    assert list(found) == ["relu1_2", "relu2_1", "conv3_1"]
    np.testing.assert_array_equal(found["relu1_2"], regions)
    for layer, side in (("relu2_1", 2), ("conv3_1", 4)):
        height, width = 22 // side, 37 // side
        cut = regions[:, : height * side, : width * side]
        blocks = cut.reshape(2, height, side, width, side)
        np.testing.assert_allclose(found[layer], blocks.mean((2, 4)), rtol=1e-6)


def test_a_guide_of_a_partial_window_is_the_share_of_what_is_there():
    """22×37 → 11×19 → 6×10: the last row and column by the mean of what they pool."""
    regions = rng(1).random((2, 22, 37)).astype(np.float32)
    found = layer_guides(jnp.asarray(regions), ["pool2"])["pool2"]
    half = np.pad(regions, ((0, 0), (0, 0), (0, 1)), mode="edge")
    half = half.reshape(2, 11, 2, 19, 2).mean((2, 4))
    half = np.pad(half, ((0, 0), (0, 1), (0, 1)), mode="edge")
    expected = half.reshape(2, 6, 2, 10, 2).mean((2, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(found[:, -1, -1], regions[:, 20:, 36].mean(1), rtol=1e-6)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("propagation", PROPAGATIONS)
def test_guides_have_the_shapes_of_the_layers(network, propagation, rounding):
    """All 37, and of regions that are everywhere all is 1."""
    network = dataclasses.replace(network, pool_rounding=rounding)
    for height, width in ((33, 47), (32, 63), (45, 32)):
        picture = jax.ShapeDtypeStruct((height, width, 3), jnp.float32)
        layers = jax.eval_shape(lambda x: network(x, LAYERS), picture)
        ones = jnp.ones((1, height, width))
        found = jitted_guides(ones, LAYERS, propagation, rounding)
        for layer, seen in layers.items():
            assert found[layer].shape == (1, *seen.shape[:2]), layer
            assert (found[layer] == 1).all()


def test_a_wrong_propagation_is_named():
    with pytest.raises(
        nst_jax.RequestError, match="propagation must be one of .*'most'"
    ):
        layer_guides(jnp.ones((1, 8, 8)), ["relu1_1"], "most")


def two_regions(height, width, left):
    mask = np.zeros((2, height, width))
    mask[0, :, :left], mask[1, :, left:] = 1, 1
    return mask


def seen(features, regions=None):
    guide = {} if regions is None else {"relu1_1": jnp.asarray(regions)}
    return View(None, {"relu1_1": jnp.asarray(features)}, guide)


def test_regions_are_styled_each_for_itself():
    """Two halves, each of the statistics of a half of the style, as if cut out."""
    with jax.enable_x64(True):
        canvas, style = rng(2).normal(size=(6, 10, 4)), rng(3).normal(size=(5, 8, 4))
        term = Gram(layers=("relu1_1",), convention="paper")
        parts = two_regions(6, 10, 3), two_regions(5, 8, 6)
        target = term.target(seen(canvas, parts[0]), [seen(style, parts[1])])
        found = term(seen(canvas), target)

        def loss(a, b):
            alone = term.target(seen(a), [seen(b)])
            return term(seen(a), alone)

        wanted = 0.3 * loss(canvas[:, :3], style[:, :6])
        wanted += 0.7 * loss(canvas[:, 3:], style[:, 6:])
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_one_region_is_none():
    with jax.enable_x64(True):
        canvas, style = rng(4).normal(size=(6, 7, 4)), rng(5).normal(size=(5, 8, 4))
        term = Gram(layers=("relu1_1",), blend=(0.25, 0.5))
        whole = np.ones((1, 6, 7)), np.ones((1, 5, 8))
        others = [seen(style, whole[1]), seen(style[::2], np.ones((1, 3, 8)))]
        target = term.target(seen(canvas, whole[0]), others)
        plain = term.target(seen(canvas), [seen(style), seen(style[::2])])
        a, b = term(seen(canvas), target), term(seen(canvas), plain)
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_style_without_a_region_is_left_out_of_it_and_nan_nowhere():
    """Region 1 is in no style; region 0 is in the second, which has the whole blend."""
    with jax.enable_x64(True):
        canvas, style = rng(6).normal(size=(4, 6, 3)), rng(7).normal(size=(4, 6, 3))
        none = np.zeros((2, 4, 6))
        one = np.stack([np.ones((4, 6)), np.zeros((4, 6))])
        term = Gram(layers=("relu1_1",), blend=(0.75, 0.25), convention="paper")
        regions = two_regions(4, 6, 3)
        styles = [seen(style, none), seen(style, one)]
        target = term.target(seen(canvas, regions), styles)
        loss, gradient = jax.value_and_grad(lambda f: term(seen(f), target))(canvas)
        alone = Gram(layers=("relu1_1",), convention="paper")
        target_statistic = alone.target(seen(canvas), [seen(style)])
        wanted = 0.5 * alone(seen(canvas[:, :3]), target_statistic)
        np.testing.assert_allclose(loss, wanted, rtol=1e-12)
        assert np.isfinite(gradient).all()
        assert not gradient[:, 3:].any() and gradient[:, :3].all()
