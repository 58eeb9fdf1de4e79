"""Padding: feature errors at the border, and equal changes of all four strips."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from benchmarks.padding_error import padding_error, strip_changes
from nst_jax.models.vgg import PADDINGS, ROUNDINGS, Network


@pytest.fixture(scope="module")
def padded(network):
    return {name: dataclasses.replace(network, padding=name) for name in PADDINGS}


def test_a_flat_picture_goes_on_as_it_is(padded):
    """Repeating or mirroring it is no error at any depth; a black frame is one."""
    flat = np.full((48, 64, 3), 0.7, np.float32)
    layers = ["relu1_2", "relu2_1"]
    for name in ("replicate", "reflect"):
        found = padding_error(padded[name], flat, 12, layers)
        assert max(found.values()) < 1e-5
    assert min(padding_error(padded["zeros"], flat, 12, layers).values()) > 0.1


def test_it_is_the_error_of_features_at_the_frame(padded):
    """The first layer, its inner part padded by hand to what the network pads it to."""
    picture = smooth_picture(3, 20, 26)
    inner = picture[4:-4, 4:-4]
    for name in ("replicate", "reflect"):
        network = padded[name]
        (true, guessed) = (
            np.asarray(network(jnp.asarray(x), ["conv1_1"])["conv1_1"], np.float64)
            for x in (picture, np.pad(inner, ((1, 1), (1, 1), (0, 0)), PADDINGS[name]))
        )
        true, guessed = true[4:-4, 4:-4], guessed[1:-1, 1:-1]
        frame = [(0, slice(None)), (-1, slice(None))]
        frame += [(slice(1, -1), 0), (slice(1, -1), -1)]
        off = np.concatenate([(guessed - true)[at] for at in frame])
        size = np.concatenate([true[at] for at in frame])
        wanted = np.sqrt((off**2).mean() / (size**2).mean())
        found = padding_error(network, picture, 4, ["conv1_1"])["conv1_1"]
        assert found == pytest.approx(wanted, rel=1e-4)
        assert wanted > 0.01


@pytest.mark.parametrize(
    ("margin", "message"),
    [
        (0, "positive multiple of 2 pixels for these layers, got 0"),
        (3, "positive multiple of 2 pixels for these layers, got 3"),
        (12, "less than half of each side of 32×24 px, got 12"),
    ],
)
def test_a_wrong_margin_is_refused(network, margin, message):
    with pytest.raises(nst_jax.RequestError, match=message):
        padding_error(network, smooth_picture(0, 24, 32), margin, ["relu2_1"])


# Strips.


def test_strips_are_the_outermost_columns_and_rows():
    before = np.zeros((9, 12, 3), np.float32)
    after = before.copy()
    after[:, :2], after[:, -2:], after[2:7, 2:-2] = 0.1, -0.3, 9.0
    found = strip_changes(before, after, 2)
    middle = (2 * 0.1 + 2 * 0.3) / 12
    expected = {"left": 0.1, "right": 0.3, "top": middle, "bottom": middle}
    assert found == pytest.approx(expected)
    with pytest.raises(nst_jax.RequestError, match="H at least 10 and W at least 10"):
        strip_changes(before, after, 10)


@pytest.fixture(scope="module")
def symmetric(network):
    """Parameters that know no direction: each kernel's mean over its eight turns."""

    def turns(kernel):
        flips = kernel, kernel[:, ::-1]
        return sum(np.rot90(x, turn) for x in flips for turn in range(4)) / 8

    return {
        name: {"kernel": turns(np.asarray(conv["kernel"])), "bias": conv["bias"]}
        for name, conv in network.params.items()
    }


def kaleidoscope(picture):
    """A square that is the same in all its eight turns."""
    side = len(picture)
    from_border = np.minimum(np.arange(side), np.arange(side)[::-1])
    rows, columns = np.meshgrid(from_border, from_border, indexing="ij")
    return picture[np.minimum(rows, columns), np.maximum(rows, columns)]


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_all_borders_are_styled_alike_at_an_odd_size(network, symmetric, pooling):
    """A side of 95 px, with a network and a content without a direction of their own.

    With "floor" the weakest strip changes by less than half of the strongest.
    """
    content = kaleidoscope(
        nst_jax.read_image("samples/chelsea.png", 95, fit="short")[:, :95]
    )
    style = nst_jax.read_image("samples/swirls.jpg", 95)
    seen = Network.from_params(symmetric, network.preprocessing, pooling=pooling)
    problem = nst_jax.Problem.from_images(
        seen,
        nst_jax.Objective((nst_jax.Content(weight=20.0), nst_jax.Gram())),
        content,
        [style],
        nst_jax.FixedLBFGS(),
    )
    (canvas,) = nst_jax.run(problem, content[None], steps=10, log_every=10).canvas
    strips = strip_changes(content, canvas).values()
    assert min(strips) >= 0.85 * max(strips)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_tile_of_an_odd_side_is_the_picture_where_it_holds_all_of_it(rounding):
    """Loss and gradient, at a side that three poolings find odd."""
    experiment = nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/woodcut.jpg",),
        terms=(nst_jax.Content(layers=("relu4_1",)), nst_jax.Gram(layers=("pool3",))),
        size=39,
        pool_rounding=rounding,
    )
    found = []
    for tile in (0, 39):
        experiment.tile = tile
        (group,) = nst_jax.build(experiment).groups
        canvas = jnp.asarray(0.5 * group.content)
        found.append(jax.jit(nst_jax.Problem.evaluate)(group.problems()[0], canvas))
    (whole, slope), (tiled, tile_slope) = found
    np.testing.assert_allclose(tiled[0], whole[0], rtol=1e-5)
    scale = np.abs(slope).max()
    np.testing.assert_allclose(tile_slope, slope, atol=1e-4 * scale)
