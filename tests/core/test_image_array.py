"""Pictures that come in as arrays: converted by their range, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import smooth_picture
from PIL import Image

import nst_jax
from nst_jax.core.image_array import as_floats, as_picture, as_pictures
from nst_jax.metrics.artefacts import gamut_excess
from nst_jax.metrics.distances import pairwise_rms, rms
from nst_jax.metrics.feature_distances import extract_features, gram_traces
from nst_jax.metrics.photorealism import edge_distortion

PICTURE = smooth_picture(0, 24, 20)
BYTES = np.round(PICTURE * 255).astype(np.uint8)
FLOATS = BYTES.astype(np.float32) / np.float32(255)
WORDS = BYTES.astype(np.uint16) * 257
OBJECTIVE = nst_jax.Objective(
    (nst_jax.Content(layers=("relu1_1",)), nst_jax.Gram(layers=("relu1_1",)))
)


def problem(network, content, styles):
    return nst_jax.Problem.from_images(
        network, OBJECTIVE, content, styles, nst_jax.Adam()
    )


@pytest.mark.parametrize("array", [BYTES, WORDS, jnp.asarray(BYTES), BYTES.tolist()])
def test_integers_are_converted_by_the_range_of_their_type(array):
    if isinstance(array, list):  # Numbers without a type have no range.
        with pytest.raises(nst_jax.RequestError, match="uint8 or uint16, got .* int64"):
            as_picture(array, "content")
        return
    found = as_picture(array, "content")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, FLOATS)


def test_floats_are_taken_as_they_are():
    assert as_picture(PICTURE, "content") is PICTURE
    assert as_floats(PICTURE.astype(np.float64), "x").dtype == np.float64
    assert as_floats(jnp.asarray(PICTURE, jnp.bfloat16), "x").dtype == jnp.float32
    assert as_picture(FLOATS.tolist(), "content").shape == FLOATS.shape


def test_a_tracer_is_converted_and_its_shape_checked():
    found = jax.jit(lambda x: as_picture(x, "content"))(BYTES)
    np.testing.assert_allclose(found, FLOATS, rtol=1e-6)
    with pytest.raises(nst_jax.RequestError, match="must be a picture"):
        jax.eval_shape(lambda x: as_picture(x, "content"), BYTES[..., 0])


BAD = {
    "bytes as floats": (PICTURE * 255, r"x must be in \[0, 1\].* divide it"),
    "below black": (PICTURE - 1, r"x must be in \[0, 1\].* clip it"),
    "nan": (np.where(PICTURE > 0.5, np.nan, PICTURE), "x holds NaN or infinity"),
    "infinity": (np.where(PICTURE > 0.5, np.inf, PICTURE), "x holds NaN or infinity"),
    "int32": (BYTES.astype(np.int32), "x must be floats .* int32"),
    "bool": (PICTURE > 0.5, "x must be floats .* bool"),
    "text": (np.asarray([[["a"] * 3]]), "x must be floats"),
    "ragged": ([[[1.0, 1.0, 1.0]], [[1.0]]], "x is no array"),
    "grey": (PICTURE[..., 0], r"x must be .* \[24, 20\]: repeat a grey picture"),
    "grey, one channel": (PICTURE[..., :1], "repeat a grey picture"),
    "rgba": (np.ones((4, 5, 4), np.float32), "composite RGBA"),
    "channels first": (PICTURE.transpose(2, 0, 1), "move the channels"),
    "batch": (PICTURE[None], "one picture of a batch at a time"),
    "empty": (PICTURE[:0], r"x must be .* \[0, 20, 3\]"),
}


@pytest.mark.parametrize(("array", "says"), BAD.values(), ids=BAD)
def test_what_is_no_picture_is_refused(array, says):
    with pytest.raises(nst_jax.RequestError, match=says):
        as_picture(array, "x")


def test_a_ripple_of_a_filter_is_no_error():
    image = np.float32([[[-0.005, 0.5, 1.005]]])
    np.testing.assert_array_equal(as_picture(image, "x"), image)


def test_a_result_may_leave_the_gamut_and_is_not_on_another_scale():
    noise = np.random.default_rng(0).normal(0, 3, (8, 8, 3))
    as_picture(noise, "x", optimised=True)
    as_picture(np.full((2, 2, 3), np.nan), "x", optimised=True, nan=True)
    with pytest.raises(nst_jax.RequestError, match="white is 1"):
        as_picture(PICTURE * 255, "x", optimised=True)


def test_a_problem_of_bytes_is_that_of_their_floats(network):
    style = smooth_picture(1, 22, 26)
    style_bytes = np.round(style * 255).astype(np.uint8)
    floats = problem(network, FLOATS, [style_bytes.astype(np.float32) / 255])
    for content, styles in ((BYTES, [style_bytes]), (WORDS, (style_bytes,))):
        other = problem(network, content, styles)
        for a, b in zip(
            jax.tree.leaves(floats.targets), jax.tree.leaves(other.targets), strict=True
        ):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("content", "styles", "says"),
    [
        (PICTURE * 255, [PICTURE], "content must be in"),
        (PICTURE, [PICTURE, PICTURE * np.nan], r"styles\[1\] holds NaN"),
        (PICTURE, PICTURE, "styles must be a sequence of pictures, got one"),
    ],
)
def test_a_problem_of_no_pictures_is_refused(network, content, styles, says):
    with pytest.raises(nst_jax.RequestError, match=says):
        problem(network, content, styles)


def test_a_problem_needs_a_term(network):
    objective, solver = nst_jax.Objective(()), nst_jax.Adam()
    with pytest.raises(
        nst_jax.RequestError, match="objective must have at least one term"
    ):
        nst_jax.Problem.from_images(network, objective, PICTURE, [], solver)


@pytest.mark.parametrize("kind", ["content", "style", "file", "noise", "blend"])
def test_starts_from_bytes_are_those_from_floats(kind):
    canvas = nst_jax.Canvas(kind, path="x.png" if kind == "file" else "")
    picture = {"file": (BYTES[::2], FLOATS[::2])}.get(kind, (None, None))
    found = nst_jax.starting_canvas(canvas, 3, BYTES, (WORDS,), picture[0])
    expected = nst_jax.starting_canvas(canvas, 3, FLOATS, (FLOATS,), picture[1])
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"content": PICTURE * 9}, "content must be in"),
        ({"styles": [PICTURE[..., 0]]}, r"styles\[0\] must be a picture"),
        ({"styles": PICTURE}, "styles must be a sequence"),
        ({"seed": -1}, "seed must be an integer from 0 to 4294967295, got -1"),
        ({"seed": 2.5}, "seed must be an integer"),
        ({"frame": -1}, "frame must be an integer from 0, got -1"),
        (
            {"canvas": nst_jax.Canvas("file", path="x.png")},
            "needs the argument picture",
        ),
    ],
)
def test_a_start_of_nonsense_is_refused(arguments, says):
    usual = {"canvas": nst_jax.Canvas("noise"), "seed": 0, "content": PICTURE}
    with pytest.raises(nst_jax.RequestError, match=says):
        nst_jax.starting_canvas(**{**usual, **arguments})


@pytest.mark.parametrize("array", [BYTES, WORDS, FLOATS])
def test_bytes_are_written_as_they_are(tmp_path, array):
    nst_jax.write_image(tmp_path / "x.png", array, np.full((24, 20), 255, np.uint8))
    found = np.asarray(Image.open(tmp_path / "x.png"))
    np.testing.assert_array_equal(found[..., :3], BYTES)
    assert (found[..., 3] == 255).all()


def test_a_result_is_written_clipped_and_black_where_it_is_nan(tmp_path):
    result = np.float32([[[-1, 0.5, 9]], [[np.nan] * 3]])
    nst_jax.write_image(tmp_path / "x.png", result)
    found = np.asarray(Image.open(tmp_path / "x.png"))
    np.testing.assert_array_equal(found, [[[0, 128, 255]], [[0, 0, 0]]])


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("x.png", (PICTURE * 255,), "image must be on a scale"),
        ("x.png", (PICTURE[..., 0],), "image must be a picture"),
        ("x.png", (PICTURE, np.ones((20, 24))), "alpha must be of the image's shape"),
        ("x.nothing", (PICTURE,), "suffix of an image format"),
    ],
)
def test_what_is_no_picture_is_not_written(tmp_path, name, arguments, says):
    with pytest.raises(nst_jax.RequestError, match=says):
        nst_jax.write_image(tmp_path / name, *arguments)
    assert not list(tmp_path.iterdir())


def test_a_sheet_of_bytes_is_that_of_their_floats():
    sheets = [nst_jax.contact_sheet([x], ["a"], side=64) for x in (BYTES, FLOATS)]
    np.testing.assert_array_equal(*map(np.asarray, sheets))


@pytest.mark.parametrize(
    ("images", "options", "says"),
    [
        ([PICTURE * 255], {}, r"images\[0\] must be on a scale"),
        ([PICTURE[0]], {}, r"images\[0\] must be a picture"),
        ([PICTURE], {"columns": 0}, "columns must be an integer from 1, got 0"),
        ([PICTURE], {"side": 2.5}, "side must be an integer from 1, got 2.5"),
    ],
)
def test_a_sheet_of_nonsense_is_refused(images, options, says):
    with pytest.raises(nst_jax.RequestError, match=says):
        nst_jax.contact_sheet(images, ["a"], **options)


def test_a_batch_of_starts_is_checked_as_a_whole():
    np.testing.assert_array_equal(as_pictures([BYTES, FLOATS], "x"), [FLOATS] * 2)
    np.testing.assert_array_equal(as_pictures(BYTES[None], "x"), [FLOATS])
    for wrong, says in (
        ([PICTURE, PICTURE[1:]], r"of one shape, got \[24, 20, 3\] and \[23, 20, 3\]"),
        ([], "one or more pictures"),
        (3.0, "one or more pictures"),
        ([PICTURE * 255], r"x\[0\] must be on a scale"),
        ([PICTURE, np.full_like(PICTURE, np.nan)], r"x\[1\] holds NaN"),
    ):
        with pytest.raises(nst_jax.RequestError, match=says):
            as_pictures(wrong, "x")


def test_features_need_no_more_than_a_network_and_a_picture(network):
    found = nst_jax.features(network, BYTES, ("relu1_1",))["relu1_1"]
    spelled = nst_jax.features(
        network.params, FLOATS, ("relu1_1",), preprocessing=network.preprocessing
    )["relu1_1"]
    assert isinstance(network.preprocessing, nst_jax.Preprocessing)
    np.testing.assert_allclose(found, spelled, rtol=1e-4, atol=1e-3)
    for options, says in (
        ({}, "preprocessing must be the nst_jax.Preprocessing"),
        ({"preprocessing": network.preprocessing, "pooling": "mean"}, "pooling must"),
        ({"preprocessing": network.preprocessing, "padding": "none"}, "padding must"),
    ):
        with pytest.raises(nst_jax.RequestError, match=says):
            nst_jax.features(network.params, FLOATS, ("relu1_1",), **options)


def test_measures_of_bytes_are_those_of_their_floats(network):
    other = np.round(smooth_picture(2, 24, 20) * 255).astype(np.uint8)
    floats = other.astype(np.float32) / 255
    assert rms(BYTES, other) == pytest.approx(rms(FLOATS, floats))
    np.testing.assert_allclose(
        pairwise_rms(np.stack([BYTES, other])), pairwise_rms(np.stack([FLOATS, floats]))
    )
    assert gamut_excess(BYTES) == (0, 0)
    assert edge_distortion(BYTES, other) == edge_distortion(FLOATS, floats)
    for measure in (extract_features, gram_traces):
        a, b = (measure(network, x, ("relu1_1",)) for x in (BYTES, FLOATS))
        np.testing.assert_array_equal(a["relu1_1"], b["relu1_1"])
