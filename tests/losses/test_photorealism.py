"""The matting Laplacian against its matrix, built from the printed formula by loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from nst_jax.losses import Photorealism, View

rng = np.random.default_rng
TERM = Photorealism()


def seen(image):
    return View(jnp.asarray(image), {})


@jax.jit
def fitted(term, content):
    return term.target(View(content, {}), ())


@jax.jit
def value_and_gradient(term, canvas, fit):
    return jax.value_and_grad(lambda canvas: term(View(canvas, {}), fit))(canvas)


def measured(content, canvas, term=TERM):
    """(loss, gradient) of a canvas, both pictures in the dtype they have."""
    fit = fitted(term, jnp.asarray(content))
    return value_and_gradient(term, jnp.asarray(canvas), fit)


def laplacian(content, radius=1, eps=1e-7):
    """M [N, N] of a picture (Levin et al. 2008, equation 12), and its windows' number.

    M_ij = Σ_{k: i, j ∈ w_k} δ_ij − 1/|w| (1 + (I_i − μ)ᵀ (Σ + eps/|w|)⁻¹ (I_j − μ)).
    """
    height, width, _ = content.shape
    pixels = np.asarray(content, np.float64).reshape(-1, 3)
    matrix, windows = np.zeros((len(pixels), len(pixels))), 0
    centres = itertools.product(
        range(radius, height - radius), range(radius, width - radius)
    )
    offsets = range(-radius, radius + 1)
    for y, x in centres:
        windows += 1
        own = [(y + dy) * width + x + dx for dy in offsets for dx in offsets]
        mean = sum(pixels[i] for i in own) / len(own)
        covariance = sum(np.outer(pixels[i] - mean, pixels[i] - mean) for i in own)
        ridged = (covariance + eps * np.eye(3)) / len(own)
        for i, j in itertools.product(own, own):
            inner = (pixels[i] - mean) @ np.linalg.solve(ridged, pixels[j] - mean)
            matrix[i, j] += (i == j) - (1 + inner) / len(own)
    return matrix, windows


def printed(content, canvas, **options):
    """Luan et al. 2017, equation 2, over the number of windows, and its gradient."""
    matrix, windows = laplacian(content, **options)
    channels = np.asarray(canvas, np.float64).reshape(-1, 3).T
    value = sum(v @ matrix @ v for v in channels) / windows
    gradient = np.stack([2 * matrix @ v for v in channels], axis=-1) / windows
    return value, gradient.reshape(canvas.shape)


CANVAS = rng(2).random((7, 9, 3))
CONTENT = rng(1).random((7, 9, 3))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "options", [{}, {"eps": 1e-2}, {"radius": 2, "eps": 1e-3}], ids=str
)
def test_it_is_the_quadratic_form_of_the_printed_matrix(options):
    value, gradient = measured(CONTENT, CANVAS, Photorealism(**options))
    wanted, slope = printed(CONTENT, CANVAS, **options)
    np.testing.assert_allclose(value, wanted, rtol=1e-10)
    np.testing.assert_allclose(gradient, slope, atol=1e-10 * np.abs(slope).max())


@pytest.mark.usefixtures("x64")
def test_the_matrix_within_is_symmetric_and_has_no_negative_eigenvalue():
    """Its columns are the gradients at the unit pictures, a half of each."""
    fit = fitted(TERM, jnp.asarray(CONTENT))
    units = np.zeros((63, 7, 9, 3))
    units.reshape(63, 63, 3)[np.arange(63), np.arange(63), 0] = 1
    gradients = jax.jit(
        jax.vmap(lambda v: jax.grad(lambda v: TERM(View(v, {}), fit))(v))
    )(jnp.asarray(units))
    matrix = np.asarray(gradients)[..., 0].reshape(63, 63) / 2
    np.testing.assert_allclose(matrix, laplacian(CONTENT)[0] / 35, atol=1e-12)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-15)
    values = np.linalg.eigvalsh(matrix)
    assert values.min() > -1e-15
    # Constants, and one map each of red, green and blue, but for eps.
    assert (values < 1e-6 * values.max()).sum() == 4
    assert np.abs(np.asarray(gradients)[..., 1:]).max() == 0  # No channel sees others.


# What costs nothing.


@pytest.mark.usefixtures("x64")
def test_an_affine_map_of_the_colours_costs_what_eps_says():
    mixing, offset = rng(3).normal(size=(3, 3)), rng(4).normal(size=3)
    for mix in (mixing, 0 * mixing):
        value, gradient = measured(CONTENT, CONTENT @ mix + offset)
        assert 0 <= value <= 1e-7 * (mix**2).sum() + 1e-28
        assert np.abs(gradient).max() < 1e-6


@pytest.mark.usefixtures("x64")
def test_the_map_may_be_another_elsewhere():
    """Two maps that meet where the content is flat for the width of a window less 1."""
    content = rng(5).random((6, 12, 3))
    content[:, 5:7] = colour = rng(6).random(3)
    left, right = rng(7).normal(size=(2, 3, 3))
    canvas = np.where(
        np.arange(12)[:, None] < 6,
        (content - colour) @ left,
        (content - colour) @ right,
    )
    most = 1e-7 * max((left**2).sum(), (right**2).sum())
    assert measured(content, canvas)[0] <= most
    content[:, 6] = rng(8).random((6, 3))  # One column flat: they meet in a window.
    canvas[:, 6] = (content[:, 6] - colour) @ right
    assert measured(content, canvas)[0] > 100 * most


@pytest.mark.usefixtures("x64")
def test_a_flat_content_lets_no_more_than_a_constant_pass():
    """The variance of each window of the canvas, in closed form."""
    value, gradient = measured(np.full((7, 9, 3), 0.3), CANVAS)
    windows = np.lib.stride_tricks.sliding_window_view(CANVAS, (3, 3), (0, 1))
    wanted = 9 * windows.var((-2, -1)).sum(-1).mean()
    np.testing.assert_allclose(value, wanted, rtol=1e-12)
    assert np.isfinite(gradient).all()


def test_a_weight_keeps_its_effect_at_any_size():
    """A canvas and a content that repeat: each window is there as often."""
    tiled = [np.tile(x, (4, 4, 1)).astype("f4") for x in (CONTENT, CANVAS)]
    larger = [x[: 7 * n + 2, : 9 * n + 2] for n in (1, 3) for x in tiled]
    once, often = measured(*larger[:2])[0], measured(*larger[2:])[0]
    np.testing.assert_allclose(once, often, rtol=1e-5)


# Float32.


def eight_bits(picture):
    return (np.round(255 * np.clip(picture, 0, 1)) / 255).astype(np.float32)


PHOTOGRAPHS = {
    "smooth": smooth_picture(0, 20, 24),
    "8 bits": eight_bits(smooth_picture(0, 20, 24)),
    "grey": np.repeat(smooth_picture(0, 20, 24)[..., :1], 3, axis=-1),
    "dim": eight_bits(0.9 + 0.02 * smooth_picture(0, 20, 24)),
    "noise": rng(1).random((20, 24, 3), np.float32),
    "black and white": np.float32(rng(5).random((20, 24, 1)) < 0.5).repeat(3, -1),
    "almost grey": smooth_picture(0, 20, 24)[..., :1] ** [1, 1, 1.001],
    "flat": np.full((20, 24, 3), 0.7, np.float32),
    "black": np.zeros((20, 24, 3), np.float32),
}


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_float32_is_close_to_the_printed_matrix(name):
    """Of a canvas that is the content in other colours, and a little noise."""
    content = np.float32(PHOTOGRAPHS[name])
    other = content @ rng(2).normal(0, 0.6, (3, 3)) + 0.1
    canvas = (other + rng(3).normal(0, 0.01, content.shape)).astype(np.float32)
    value, gradient = measured(content, canvas)
    assert value.dtype == gradient.dtype == np.float32
    wanted, slope = printed(content, canvas)
    # Where the content has one direction of colour, a slope along another is rounding.
    np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=4e-6)
    np.testing.assert_allclose(gradient, slope, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_picture_of_its_own_colours_costs_next_to_nothing_in_float32(name):
    content = np.float32(PHOTOGRAPHS[name])
    value, gradient = measured(content, content)
    assert 0 <= value < 3e-6  # eps for each channel's slope of 1, and rounding.
    assert np.abs(gradient).max() < 3e-6


def test_in_a_batch_as_alone():
    contents = np.stack([PHOTOGRAPHS[k] for k in ("smooth", "grey", "flat")])
    canvases = rng(4).random(contents.shape, np.float32)
    fits = jax.vmap(lambda content: fitted(TERM, content))(contents)
    together = jax.vmap(lambda *at: value_and_gradient(TERM, *at))(canvases, fits)
    for i, (content, canvas) in enumerate(zip(contents, canvases, strict=True)):
        for mine, wanted in zip(together, measured(content, canvas), strict=True):
            np.testing.assert_allclose(mine[i], wanted, rtol=1e-4, atol=1e-6)


# Requests.


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Photorealism(radius=0), "radius must be at least 1, got 0"),
        (lambda: Photorealism(radius=1.5), "radius must be an integer, got 1.5"),
        (lambda: Photorealism(eps=0.0), "eps must be above 0 and finite, got 0.0"),
        (
            lambda: Photorealism(radius=2).target(seen(np.ones((4, 9, 3))), ()),
            "at least 5 × 5 pixels for its radius of 2, got 4 × 9",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(make, sentence):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        make()
