"""What a solver moves: inverses, and what a step in them does to a picture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax
from nst_jax.optim.parametrisation import COLOUR_ROOT, PARAMETRISATIONS, parametrisation

SHAPES = [(40, 57, 3), (17, 23, 3), (5, 3, 3)]


def picture(shape, seed=0):
    return np.random.default_rng(seed).normal(0.5, 0.4, shape)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_nothing_is_lost(name, shape):
    """Of a picture beyond the gamut either; and decoding is linear."""
    form = parametrisation(name, shape)
    canvas, other = picture(shape), picture(shape, 1)
    variable = form.encode(jnp.asarray(canvas))
    np.testing.assert_allclose(form.decode(variable), canvas, atol=1e-6)
    sum_ = form.decode(2 * variable - 3 * form.encode(jnp.asarray(other)))
    np.testing.assert_allclose(sum_, 2 * canvas - 3 * other, atol=1e-5)
    assert variable.dtype == canvas.dtype


@pytest.mark.usefixtures("x64")
def test_a_gradient_is_taken_back_by_the_adjoint():
    """⟨decode v, g⟩ = ⟨v, decodeᵀ g⟩, what the chain rule gives a solver."""
    for name in PARAMETRISATIONS:
        form = parametrisation(name, SHAPES[0])
        variable = form.encode(jnp.asarray(picture(SHAPES[0])))
        v = np.random.default_rng(2).normal(size=variable.shape)
        g = picture(SHAPES[0], 3)
        decoded, back = jax.vjp(form.decode, jnp.asarray(v))
        np.testing.assert_allclose((decoded * g).sum(), (v * back(g)[0]).sum(), 1e-9)


@pytest.mark.usefixtures("x64")
def test_bands_hold_what_coarser_ones_leave():
    """A flat picture is in the coarsest band alone; a checkerboard in the finest."""
    form = parametrisation("pyramid", (32, 48, 3))
    assert form.shapes == [(32, 48, 3), (16, 24, 3), (8, 12, 3)]
    flat = form.encode(jnp.full((32, 48, 3), 0.7))
    assert np.abs(flat[: -8 * 12 * 3]).max() < 1e-6
    np.testing.assert_allclose(flat[-8 * 12 * 3 :], 0.7, rtol=1e-6)
    board = np.indices((32, 48)).sum(0)[..., None] % 2 - 0.5 + np.zeros(3)
    fine = np.square(form.encode(jnp.asarray(board)))
    assert fine[: 32 * 48 * 3].sum() > 0.95 * fine.sum()


@pytest.mark.usefixtures("x64")
def test_a_wave_is_one_frequency_scaled_by_its_length():
    """cos and sin of k cycles: Hartley's coefficients of ±k, weighed 1/f."""
    form = parametrisation("fourier", (32, 32, 3))
    energies = {}
    for k in (2, 4):
        wave = np.cos(2 * np.pi * k * np.arange(32) / 32)[:, None, None]
        root = np.asarray(COLOUR_ROOT)[:, 0]  # The first direction: lightness.
        variable = np.asarray(
            form.encode(jnp.asarray(wave * np.ones((1, 32, 1)) * root))
        )
        found = np.abs(variable) > 1e-5 * np.abs(variable).max()
        assert np.argwhere(found).tolist() == [[k, 0, 0], [32 - k, 0, 0]]
        energies[k] = np.abs(variable).max()
    assert energies[4] / energies[2] == pytest.approx(2, rel=1e-5)


@pytest.mark.usefixtures("x64")
def test_a_spectrum_is_weighed_by_the_root_of_a_waves_length():
    """cos of k cycles in green alone: Hartley's ±k of green, as √k."""
    form, x = parametrisation("spectrum", (32, 32, 3)), np.arange(32)[None, :, None]
    energies = {}
    for k in (2, 8):
        wave = np.cos(2 * np.pi * k * x / 32) * np.ones((32, 1, 1)) * [0, 1, 0]
        variable = np.abs(form.encode(jnp.asarray(wave)))
        found = np.argwhere(variable > 1e-5 * variable.max())
        assert found.tolist() == [[0, k, 1], [0, 32 - k, 1]]
        energies[k] = variable.max()
    assert energies[8] / energies[2] == pytest.approx(2, rel=1e-5)


@pytest.mark.parametrize("name", ["fourier", "spectrum"])
def test_steps_of_one_length_move_a_canvas_alike(name):
    """White noise in the variable moves the canvas by as much, on average."""
    form = parametrisation(name, (64, 64, 3))
    noise = np.random.default_rng(4).normal(size=(64, 64, 3)).astype(np.float32)
    assert np.std(form.decode(jnp.asarray(noise))) == pytest.approx(1, rel=0.25)


def test_an_unknown_one_is_named():
    with pytest.raises(nst_jax.RequestError, match="'pyramid'.*got 'piramid'.*mean"):
        parametrisation("piramid", (8, 8, 3))


@pytest.mark.parametrize("name", ["pyramid", "fourier", "spectrum"])
def test_only_pixels_are_clipped(network, name):
    form = parametrisation(name, (20, 24, 3))
    posed = network, nst_jax.Objective((nst_jax.Content(layers=("relu1_1",)),))
    content = np.full((20, 24, 3), 0.5, np.float32)
    with pytest.raises(
        nst_jax.RequestError, match="clip=True requires parametrisation"
    ):
        nst_jax.Problem.from_images(
            *posed, content, [], nst_jax.Adam(), parametrisation=form
        )
