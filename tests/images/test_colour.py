"""Colour control: statistics by closed forms, luma and chroma by YUV matrices."""

import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from configs.transfer import get_config
from nst_jax.images.colour import (
    COLOURS,
    MAPS,
    MIN_VARIANCE,
    luma,
    match_moments,
    prepare,
    restore,
)

CONTENT = smooth_picture(1, 24, 32)
STYLES = (smooth_picture(2, 30, 20), smooth_picture(3, 16, 48) ** 2)
RESULT = np.random.default_rng(4).normal(0.5, 0.4, CONTENT.shape).astype(np.float32)

#: Y'UV of Rec. 601 as it is printed, rows Y', U and V; G only through Y'.
_Y = np.array([0.299, 0.587, 0.114])
YUV = np.stack([_Y, 0.492 * (np.eye(3)[2] - _Y), 0.877 * (np.eye(3)[0] - _Y)])


def moments(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.reshape(image, (-1, image.shape[-1])).astype(np.float64)
    return pixels.mean(0), np.cov(pixels.T, bias=True).reshape(2 * pixels.shape[1:])


def random_covariance(seed: int) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=(3, 3))
    return factor @ factor.T / 10 + 0.01 * np.eye(3)


# The maps.


@pytest.mark.parametrize("mapping", MAPS.values(), ids=MAPS)
def test_matched_colours_have_the_contents_mean_and_covariance(mapping):
    for style in STYLES:
        found = match_moments(style, CONTENT, mapping)
        assert found.shape == style.shape and found.dtype == np.float64
        for mine, wanted in zip(moments(found), moments(CONTENT), strict=True):
            np.testing.assert_allclose(mine, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("mapping", MAPS.values(), ids=MAPS)
def test_colours_that_agree_stay(mapping):
    mirrored = CONTENT[::-1, ::-1]
    found = match_moments(mirrored, CONTENT, mapping)
    np.testing.assert_allclose(found, mirrored, atol=1e-13)


@pytest.mark.parametrize("mapping", MAPS.values(), ids=MAPS)
def test_independent_channels_are_scaled_each_by_itself(mapping):
    """Closed form: diagonal covariances give diag(σ'/σ), whichever root is taken."""
    deviations, wanted = np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.1, 0.15])
    found = mapping(np.diag(deviations**2), np.diag(wanted**2))
    np.testing.assert_allclose(found, np.diag(wanted / deviations), atol=1e-13)


def test_maps_have_the_form_that_names_them():
    style, content = random_covariance(5), random_covariance(6)
    found = {name: mapping(style, content) for name, mapping in MAPS.items()}
    for map_ in found.values():
        np.testing.assert_allclose(map_ @ style @ map_.T, content, atol=1e-13)
    lower = found["match_cholesky"]
    np.testing.assert_allclose(lower, np.tril(lower), atol=1e-14)
    assert (np.diag(lower) > 0).all()
    symmetric = found["match_symmetric"]
    np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-13)
    assert (np.linalg.eigvalsh(symmetric) > 0).all()
    # Symmetric root by symmetric root: the map back is the transpose of its inverse.
    values, vectors = np.linalg.eigh(style)
    root = vectors @ np.diag(values**0.5) @ vectors.T
    product = found["match_pca"] @ root
    np.testing.assert_allclose(product, product.T, atol=1e-13)
    np.testing.assert_allclose(product @ product, content, atol=1e-13)


def test_the_symmetric_map_moves_colours_least():
    """Its cost is tr C + tr C' − 2 tr (C C')^½, the Wasserstein distance squared."""
    style, content = random_covariance(7), random_covariance(8)
    crossed = np.sqrt(np.linalg.eigvals(style @ content)).sum()
    least = np.trace(style) + np.trace(content) - 2 * crossed
    cost = {}
    for name, mapping in MAPS.items():
        move = mapping(style, content) - np.eye(3)
        cost[name] = np.trace(move @ style @ move.T)
    assert cost["match_symmetric"] == pytest.approx(least, rel=1e-12)
    assert min(cost["match_cholesky"], cost["match_pca"]) > 1.01 * least


@pytest.mark.parametrize("mapping", MAPS.values(), ids=MAPS)
def test_channels_in_another_order_are_another_picture_for_cholesky_alone(mapping):
    order = [2, 0, 1]
    here = match_moments(STYLES[0], CONTENT, mapping)[..., order]
    there = match_moments(STYLES[0][..., order], CONTENT[..., order], mapping)
    same = np.allclose(here, there, atol=1e-12)
    assert same == (mapping is not MAPS["match_cholesky"])


# Pictures without colour, and without anything.


@pytest.mark.parametrize("colour", COLOURS)
def test_flat_and_grey_pictures_give_numbers(colour: str):
    flat = np.full((5, 7, 3), 0.25, np.float32)
    grey = np.repeat(CONTENT[..., :1], 3, axis=-1)
    pixel = np.full((1, 1, 3), 0.5, np.float32)
    pictures = (flat, grey, pixel, np.zeros_like(flat), CONTENT)
    for content in pictures:
        seen, styles = prepare(colour, content, pictures)
        for image in (seen, *styles, restore(colour, 1 - seen, content)):
            assert image.dtype == np.float32
            assert np.isfinite(image).all()


@pytest.mark.parametrize("colour", MAPS)
def test_a_flat_style_becomes_the_mean_colour(colour: str):
    flat = np.full((5, 7, 3), 0.25, np.float32)
    _, (style,) = prepare(colour, CONTENT, (flat,))
    mean = np.broadcast_to(CONTENT.mean((0, 1), np.float64), style.shape)
    np.testing.assert_allclose(style, mean, rtol=1e-6)


@pytest.mark.parametrize("colour", MAPS)
def test_a_grey_content_makes_styles_grey_to_a_level_of_8_bits(colour: str):
    grey = np.repeat(CONTENT[..., :1], 3, axis=-1)
    _, styles = prepare(colour, grey, STYLES)
    for style in styles:
        apart = style - style.mean(-1, keepdims=True)
        assert np.sqrt((apart**2).mean()) < 1 / 255


@pytest.mark.parametrize("colour", MAPS)
def test_rounding_is_not_blown_up_to_colour(colour: str):
    """A style with a thousandth of colour noise gains no more than the bound allows."""
    noise = np.random.default_rng(9).normal(0, 1e-3, STYLES[0].shape)
    grey = (np.repeat(STYLES[0][..., :1], 3, axis=-1) + noise).astype(np.float32)
    _, (style,) = prepare(colour, CONTENT, (grey,))
    spread = moments(CONTENT)[1].trace()
    weakest = np.linalg.eigvalsh(moments(style)[1])[0]
    assert weakest < 2 * spread * 1e-3**2 / MIN_VARIANCE


# Content in the colours of the styles.


def test_a_matched_content_has_the_colour_moments_of_all_styles():
    """Two styles count alike, as if their pixels were put together in equal shares."""
    dark = [0.2 + 0.1 * style for style in STYLES]  # The map needs no clipping.
    content, styles = prepare("match_content", CONTENT, dark)
    assert styles is dark
    assert content.shape == CONTENT.shape and content.dtype == np.float32
    together = np.concatenate(
        [
            np.repeat(dark[0].reshape(-1, 3), dark[1].shape[0] * dark[1].shape[1], 0),
            np.repeat(dark[1].reshape(-1, 3), dark[0].shape[0] * dark[0].shape[1], 0),
        ]
    )[None]
    for result in (content, restore("match_content", RESULT, CONTENT, dark)):
        for mine, expected in zip(moments(result), moments(together), strict=True):
            np.testing.assert_allclose(mine, expected, atol=1e-7)


def test_a_matched_content_is_clipped_and_leaves_its_arguments_alone():
    before = CONTENT.copy()
    content, _ = prepare("match_content", CONTENT, (2 * STYLES[0] - 0.5,))
    assert content.min() == 0 and content.max() <= 1
    np.testing.assert_array_equal(CONTENT, before)


def test_hidden_colours_do_not_reach_a_matched_content():
    visible = np.zeros(STYLES[0].shape[:2])
    visible[:9] = 1
    hidden = np.where(visible[..., None] > 0, STYLES[0], 1 - STYLES[0])
    contents, results = zip(
        *(
            (
                prepare("match_content", CONTENT, (style,), (None, visible))[0],
                restore("match_content", RESULT, CONTENT, (style,), (None, visible)),
            )
            for style in (STYLES[0], hidden)
        ),
        strict=True,
    )
    np.testing.assert_allclose(*contents, atol=1e-7)
    np.testing.assert_allclose(*results, atol=1e-7)


def test_a_plan_matches_content_before_and_after():
    built = group(colour="match_content")
    expected, _ = prepare("match_content", built.scenes[0].original, built.styles)
    np.testing.assert_array_equal(built.content, expected)
    np.testing.assert_array_equal(built.starting_images([0])[0], expected)
    finished = built.finish_images([0], built.content[None])[0]
    for mine, wanted in zip(moments(finished), moments(built.styles[0]), strict=True):
        np.testing.assert_allclose(mine, wanted, atol=1e-6)


# Luma and chroma.


def test_luma_is_the_first_row_of_yuv():
    np.testing.assert_allclose(luma(RESULT), (RESULT @ YUV.T)[..., 0], rtol=1e-14)
    np.testing.assert_allclose(luma(np.ones((2, 2, 3))), 1, rtol=1e-15)


@pytest.mark.parametrize("colour", ["luminance", "luma_swap"])
def test_the_finished_picture_is_the_results_luma_under_the_contents_chroma(colour):
    """Against the way through Y'UV and back by the inverse of its matrix."""
    found = restore(colour, RESULT, CONTENT)
    assert found.dtype == np.float32 and found.min() < 0 and found.max() > 1
    yuv = np.float64(CONTENT) @ YUV.T
    yuv[..., 0] = np.float64(RESULT) @ _Y
    np.testing.assert_allclose(found, yuv @ np.linalg.inv(YUV).T, atol=2e-7)
    np.testing.assert_allclose(luma(found), luma(RESULT), atol=1e-7)
    chroma = found.astype(np.float64) @ YUV[1:].T
    np.testing.assert_allclose(chroma, np.float64(CONTENT) @ YUV[1:].T, atol=1e-7)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_result_that_is_the_content_is_finished(colour: str):
    np.testing.assert_array_equal(restore(colour, CONTENT, CONTENT), CONTENT)


@pytest.mark.parametrize("colour", ["style", *MAPS])
def test_other_ways_leave_the_result_alone(colour: str):
    np.testing.assert_array_equal(restore(colour, RESULT, CONTENT), RESULT)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_batch_is_finished_picture_by_picture(colour: str):
    batch = np.stack([RESULT, CONTENT, 1 - RESULT])
    one_by_one = [restore(colour, result, CONTENT) for result in batch]
    np.testing.assert_array_equal(restore(colour, batch, CONTENT), one_by_one)


def test_luminance_sees_lumas_shifted_and_scaled_to_the_contents():
    """Gatys et al., section 4.2: L' = σ/σₛ (L − μₛ) + μ."""
    content, styles = prepare("luminance", CONTENT, STYLES)
    grey = np.float64(CONTENT) @ _Y
    np.testing.assert_allclose(content, np.stack([grey] * 3, -1), atol=1e-7)
    for found, style in zip(styles, STYLES, strict=True):
        assert (found == found[..., :1]).all()
        own = np.float64(style) @ _Y
        wanted = grey.std() / own.std() * (own - own.mean()) + grey.mean()
        np.testing.assert_allclose(found[..., 0], wanted, atol=1e-6)


@pytest.mark.parametrize("colour", ["style", "luma_swap"])
def test_other_ways_show_the_optimisation_the_pictures_as_they_are(colour: str):
    content, styles = prepare(colour, CONTENT, STYLES)
    assert content is CONTENT and styles is STYLES


@pytest.mark.parametrize("colour", COLOURS)
def test_nothing_is_written_into_the_pictures_given(colour: str):
    pictures = [image.copy() for image in (CONTENT, *STYLES, RESULT)]
    prepare(colour, pictures[0], tuple(pictures[1:3]))
    restore(colour, pictures[3], pictures[0])
    for image, before in zip(pictures, (CONTENT, *STYLES, RESULT), strict=True):
        np.testing.assert_array_equal(image, before)


# Requests.


def test_a_result_of_another_shape_is_refused():
    with pytest.raises(nst_jax.RequestError, match=r"\(24, 32, 3\), got \(30, 20, 3\)"):
        restore("style", STYLES[0], CONTENT)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("colour", "luminence", "colour must be one of .*; did you mean 'luminance'?"),
        ("fit", "wide", "fit must be one of \\('long', 'short', 'area'\\), got 'wide'"),
        ("style_scale", 0.0, "style_scale must be above 0 and at most 100, got 0.0"),
        ("style_scale", float("nan"), "style_scale must be above 0 .* got nan"),
        ("style_scale", "2", "style_scale must be a number, got '2'"),
    ],
)
def test_an_experiment_says_what_is_wrong(field: str, value: object, sentence: str):
    experiment = get_config()
    setattr(experiment, field, value)
    with pytest.raises(nst_jax.RequestError, match=sentence):
        experiment.check()


def group(**fields: object) -> nst_jax.Group:
    experiment = get_config("smoke")
    for name, value in fields.items():
        setattr(experiment, name, value)
    (only,) = nst_jax.build(experiment).groups
    return only


def test_a_plan_prepares_and_finishes():
    built = group(colour="luminance")
    original = built.scenes[0].original
    assert (built.content == built.content[..., :1]).all()
    assert (original != original[..., :1]).any()
    assert (built.styles[0] == built.styles[0][..., :1]).all()
    np.testing.assert_array_equal(built.starting_images([0])[0], built.content)
    np.testing.assert_allclose(
        built.finish_images([0], built.content[None])[0], original, atol=2e-7
    )


def test_a_style_has_its_own_size_and_proportions():
    built = group(style_size=102, style_scale=0.75, fit="short")
    (path,) = get_config().styles
    assert built.styles[0].shape == nst_jax.read_image(path, 76, fit="short").shape
    assert min(built.styles[0].shape[:2]) == 76  # round(76.5), to even.
    assert min(built.content.shape[:2]) == 64
