"""The guided filter against its equations by loops, and in closed form."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from nst_jax.images.guided_filter import guided_filter

rng = np.random.default_rng
filtered = jax.jit(guided_filter, static_argnums=2)


def around(y, x, radius, shape):
    """The window of a pixel, cut to the picture."""
    return tuple(
        slice(max(at - radius, 0), min(at + radius + 1, side))
        for at, side in zip((y, x), shape, strict=False)
    )


def printed(picture, guide, radius, eps):
    """He, Sun & Tang 2013, equations 19 to 21, pixel by pixel."""
    height, width, channels = picture.shape
    places = list(itertools.product(range(height), range(width)))
    a, b = np.zeros((height, width, channels, 3)), np.zeros(picture.shape)
    for y, x in places:
        own = around(y, x, radius, picture.shape)
        i, p = guide[own].reshape(-1, 3), picture[own].reshape(-1, channels)
        mean_i, mean_p = i.mean(0), p.mean(0)
        covariance = np.cov(i.T, bias=True) + eps * np.eye(3)
        for c in range(channels):
            with_p = (i * p[:, [c]]).mean(0) - mean_i * mean_p[c]
            a[y, x, c] = np.linalg.solve(covariance, with_p)
        b[y, x] = mean_p - a[y, x] @ mean_i
    found = np.zeros(picture.shape)
    for y, x in places:
        own = around(y, x, radius, picture.shape)
        found[y, x] = a[own].mean((0, 1)) @ guide[y, x] + b[own].mean((0, 1))
    return found


def box_mean(picture, radius):
    return np.array(
        [
            [
                picture[around(y, x, radius, picture.shape)].mean((0, 1))
                for x in range(picture.shape[1])
            ]
            for y in range(picture.shape[0])
        ]
    )


PICTURE, GUIDE = rng(0).random((7, 10, 2)), rng(1).random((7, 10, 3))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("radius", [1, 2, 20])
def test_it_is_as_printed(radius):
    """The largest of the windows is more than the picture."""
    for eps in (1e-4, 0.1):
        found = filtered(jnp.asarray(PICTURE), jnp.asarray(GUIDE), radius, eps)
        wanted = printed(PICTURE, GUIDE, radius, eps)
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_float32_is_close_to_it():
    """An image far from 0 and a guide of little contrast agree to a rounding."""
    picture = np.float32(PICTURE + 10)
    for contrast, eps in ((1 / 8, 1e-4), (1 / 64, 1e-5)):
        guide = np.float32(0.8 + contrast * smooth_picture(0, 7, 10))
        found = filtered(picture, guide, 2, eps)
        wanted = printed(np.float64(picture), np.float64(guide), 2, eps)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("x64")
def test_an_affine_map_of_the_guide_passes():
    picture = GUIDE @ rng(2).normal(size=(3, 2)) + 0.3
    found = filtered(jnp.asarray(picture), jnp.asarray(GUIDE), 2, 1e-12)
    np.testing.assert_allclose(found, picture, atol=1e-9)
    smoothed = filtered(jnp.asarray(picture), jnp.asarray(GUIDE), 2, 0.1)
    assert np.abs(smoothed - picture).max() > 0.1


@pytest.mark.usefixtures("x64")
def test_a_large_eps_leaves_the_mean_of_means():
    wanted = box_mean(box_mean(PICTURE, 2), 2)
    found = filtered(jnp.asarray(PICTURE), jnp.asarray(GUIDE), 2, 1e12)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    flat = jnp.full(GUIDE.shape, 0.4)
    found = filtered(jnp.asarray(PICTURE), flat, 2, 1e-3)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_noise_goes_and_the_edge_stays():
    """A step of 0.8 is kept; of noise what the mean of 25 pixels, and more, leaves."""
    step = np.where(np.arange(32)[None, :, None] < 16, 0.1, 0.9).astype("f4")
    guide = np.tile(step, (32, 1, 3))
    noise = rng(3).normal(0, 0.05, guide.shape).astype(np.float32)
    found = np.asarray(filtered(guide + noise, guide, 2, 1e-4))
    assert found[:, 16].mean() - found[:, 15].mean() == pytest.approx(0.8, abs=0.02)
    assert (found - guide)[8:-8].std() < 0.05 / 5
    blurred = np.asarray(filtered(guide + noise, guide, 2, 1e4))
    assert blurred[:, 16].mean() - blurred[:, 15].mean() < 0.2


def test_a_batch_and_a_gradient():
    """Linear in the picture: its derivative along another is that one, filtered."""
    pictures = rng(4).random((3, 7, 10, 2), np.float32)
    guide = np.float32(GUIDE)
    cotangent = rng(5).random((7, 10, 2), np.float32)

    @jax.jit
    def pulled(pictures):
        found, pull = jax.vjp(
            lambda p: jax.vmap(lambda p: guided_filter(p, guide, 2, 1e-2))(p), pictures
        )
        return found, pull(jnp.stack([cotangent] * 3))[0]

    together, gradients = pulled(pictures)
    alone = [np.asarray(filtered(p, guide, 2, 1e-2)) for p in pictures]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    slope = (cotangent * alone[2]).sum()
    assert (gradients[0] * pictures[2]).sum() == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: guided_filter(PICTURE, GUIDE[1:], 1, 1e-3), r"one size, .*\[6, 10, 3"),
        (lambda: guided_filter(PICTURE, PICTURE, 1, 1e-3), r"guide \[H, W, 3\]"),
        (lambda: guided_filter(PICTURE, GUIDE, 0, 1e-3), "radius must be at least 1"),
        (lambda: guided_filter(PICTURE, GUIDE, 1, 0.0), "eps must be .* finite, got 0"),
    ],
)
def test_what_cannot_be_filtered_is_refused(call, sentence):
    with pytest.raises(nst_jax.RequestError, match=sentence):
        call()


def group_of(**options):
    experiment = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(nst_jax.Gram(layers=("relu1_1",)),),
        size=24,
        **options,
    )
    (group,) = nst_jax.build(experiment).groups
    return group


def test_results_are_smoothed_each_by_its_own_windows():
    """Radii are no part of a program: one group serves them all."""
    axis = nst_jax.Vary("smoothing.radius", (0, 2, 3))
    group = group_of(smoothing=nst_jax.Smoothing(eps=1e-2), axes=(axis,))
    canvases = rng(5).random((2, *group.content.shape)).astype(np.float32)
    rough, smooth = group.finish_images([0, 2], canvases)
    np.testing.assert_array_equal(rough, canvases[0])
    wanted = printed(canvases[1].astype(float), group.content.astype(float), 3, 1e-2)
    np.testing.assert_allclose(smooth, wanted, atol=2e-5)


def test_a_coarser_stage_has_a_radius_in_proportion():
    ladder = nst_jax.Ladder((12,))
    group = group_of(smoothing=nst_jax.Smoothing(4), ladder=ladder)
    radii = [own.experiment.smoothing.radius for own in group.stages]
    assert radii == [2, 4]


@pytest.mark.parametrize("colour", ["style", "luminance", "luma_swap"])
def test_frozen_pixels_are_the_content_s_whatever_is_done_to_a_result(tmp_path, colour):
    """To the bit: colours that are put back would move a last one."""
    mask = np.zeros((16, 24, 3), np.float32)
    mask[:, :9] = 1
    nst_jax.write_image(tmp_path / "mask.png", mask)
    masks = nst_jax.Masks(freeze=str(tmp_path / "mask.png"))
    group = group_of(smoothing=nst_jax.Smoothing(2), masks=masks, colour=colour)
    canvas = rng(6).random(group.content.shape).astype(np.float32)
    canvas[:, :9] = group.content[:, :9]
    (found,) = group.finish_images([0], canvas[None])
    original = group.scenes[0].original
    np.testing.assert_array_equal(found[:, :9], original[:, :9])
    assert (found[:, 9:] != canvas[:, 9:]).all(-1).mean() > 0.9


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((-1,), "smoothing.radius must be at least 0, got -1"),
        ((2, 0.0), "smoothing.eps must be at least 1e-12 and finite"),
    ],
)
def test_a_wrong_smoothing_is_refused_before_anything_is_read(fields, message):
    with pytest.raises(nst_jax.RequestError, match=message):
        nst_jax.Smoothing(*fields)
    smoothing = nst_jax.Smoothing()
    for name, value in zip(("radius", "eps"), fields, strict=False):
        setattr(smoothing, name, value)  # As a flag does.
    with pytest.raises(nst_jax.RequestError, match=message):
        group_of(smoothing=smoothing)
