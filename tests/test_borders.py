"""What a padding guesses wrongly, against closed forms and a padding done by hand."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import smooth_picture

import nst_jax
from nst_jax.studies.borders import padding_error
from nst_jax.vgg import PADDINGS


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
        (12, "leave something of a picture of 32×24 px, got 12"),
    ],
)
def test_a_wrong_margin_is_refused(network, margin, message):
    with pytest.raises(nst_jax.RequestError, match=message):
        padding_error(network, smooth_picture(0, 24, 32), margin, ["relu2_1"])
