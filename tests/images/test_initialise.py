"""Starting canvases: a seed gives one canvas in every batch and on every device."""

import pathlib

import jax
import numpy as np
import pytest
from pictures import smooth_picture

import nst_jax
from configs.transfer import get_config
from nst_jax.core.keys import seed_key
from nst_jax.images.image import resize, to_bytes
from nst_jax.images.initialise import unit_noise

CONTENT = smooth_picture(1, 48, 64)
STYLE = smooth_picture(2, 30, 40)
LAST_SEED = 2**32 - 1

NOISES = ("uniform", "normal")


def start(seed: int = 0, **fields: object) -> np.ndarray:
    return nst_jax.starting_canvas(nst_jax.Canvas(**fields), seed, CONTENT, (STYLE,))


def drawn(seed: int, kind: str, amplitude: float) -> np.ndarray:
    """The noise alone, in float64."""
    return start(seed, kind="noise", noise=kind, amplitude=amplitude) - np.float64(0.5)


# Seeds.


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("uniform", [0.47504628, 0.07194722, 0.18572855, 0.45911562]),
        ("normal", [0.46870476, -0.23072046, 0.05312645, 0.44866905]),
    ],
)
def test_the_noise_of_seed_7_is_what_it_was(kind: str, expected: list[float]):
    """The first four numbers of `Canvas(kind="noise")` with jax 0.10.2 on a CPU.

    They are 0.5 + 0.5 · u with u drawn from fold_in(key(0), 7), threefry2x32. A
    JAX that draws others changes every result that starts from noise.
    """
    tiny = np.zeros((2, 2, 3), np.float32)
    canvas = nst_jax.Canvas(kind="noise", noise=kind)
    found = nst_jax.starting_canvas(canvas, 7, tiny).ravel()[:4]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", NOISES)
def test_the_noise_is_as_documented(kind: str):
    """0.5 + amplitude · unit noise, from a key that any user of JAX can make."""
    key = jax.random.fold_in(jax.random.key(0), 7)
    if kind == "uniform":
        unit = jax.random.uniform(key, CONTENT.shape, minval=-1, maxval=1)
    else:
        unit = jax.random.normal(key, CONTENT.shape)
    found = start(7, kind="noise", noise=kind, amplitude=0.25)
    np.testing.assert_allclose(found, 0.5 + 0.25 * np.asarray(unit), atol=1e-6)


def test_a_seed_does_not_depend_on_the_other_seeds():
    """Alone, among others, at another place, in another batch: the same bits."""

    def group(*seeds: int) -> nst_jax.Group:
        experiment = get_config("smoke")
        experiment.seeds = seeds
        experiment.canvas.kind = "noise"
        (group,) = nst_jax.build(experiment).groups
        return group

    alone = group(7).starting_images(range(1))[0]
    among = group(3, 7, 5, LAST_SEED)
    np.testing.assert_array_equal(among.starting_images(range(4))[1], alone)
    np.testing.assert_array_equal(among.starting_images(range(1, 2))[0], alone)
    np.testing.assert_array_equal(group(7, 3).starting_images(range(2))[0], alone)


def test_the_noise_does_not_depend_on_64_bit_arrays():
    with jax.enable_x64(True):
        wide = [start(7, kind="noise", noise=kind) for kind in NOISES]
    for kind, found in zip(NOISES, wide, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, start(7, kind="noise", noise=kind))


@pytest.mark.parametrize("kind", NOISES)
def test_seeds_are_not_correlated(kind: str):
    seeds = (0, 1, 2, 3, 2**16, 2**31, LAST_SEED)
    rows = np.stack([drawn(seed, kind, 0.5).ravel() for seed in seeds])
    correlation = np.corrcoef(rows) - np.eye(len(seeds))
    assert np.abs(correlation).max() < 5 / np.sqrt(rows.shape[1])


# Noise.


@pytest.mark.parametrize("amplitude", [0.5, 0.1])
@pytest.mark.parametrize(
    ("kind", "variance", "fourth"), [("uniform", 1 / 3, 1 / 5), ("normal", 1, 3)]
)
def test_noise_has_the_moments_of_its_distribution(
    kind: str, variance: float, fourth: float, amplitude: float
):
    """Mean 0 and the variance of U(−1, 1) or N(0, 1), within five standard errors."""
    unit = drawn(7, kind, amplitude) / amplitude
    count = unit.size
    assert abs(unit.mean()) < 5 * np.sqrt(variance / count)
    assert abs(unit.var() - variance) < 5 * np.sqrt((fourth - variance**2) / count)


def test_uniform_noise_fills_its_bounds_and_no_more():
    unit = drawn(7, "uniform", 0.25) / 0.25
    assert 0.999 < unit.max() <= 1
    assert -1 <= unit.min() < -0.999


@pytest.mark.parametrize("amplitude", [0.0, 4e-7, 0.1, 1 / 3, 1.0, 3.0])
@pytest.mark.parametrize("kind", NOISES)
def test_the_amplitude_is_a_factor_to_the_bit(kind: str, amplitude: float):
    """Nothing is clipped, and no other noise is drawn: float32 `0.5 + a · unit`."""
    unit = np.asarray(unit_noise(seed_key(7), CONTENT.shape, kind))
    expected = np.float32(0.5) + np.float32(amplitude) * unit
    found = start(7, kind="noise", noise=kind, amplitude=amplitude)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("centre", "colour"),
    [
        ("grey", (0.5, 0.5, 0.5)),
        ("mean", (123.68 / 255, 116.779 / 255, 103.939 / 255)),  # Caffe's is BGR.
        ("black", (0.0, 0.0, 0.0)),
    ],
)
def test_noise_is_around_its_centre(centre: str, colour: tuple):
    found = start(7, kind="noise", amplitude=0.0, centre=centre)
    np.testing.assert_allclose(found, np.broadcast_to(colour, found.shape), rtol=1e-6)
    near = start(7, kind="noise", amplitude=0.1, centre=centre)
    np.testing.assert_allclose(near - found, drawn(7, "uniform", 0.1), atol=1e-6)


@pytest.mark.parametrize("mix", [0.0, 0.25, 1.0])
def test_a_blend_is_mix_of_noise_and_the_rest_of_content(mix: float):
    pure = start(7, kind="noise", amplitude=0.3)
    found = start(7, kind="blend", amplitude=0.3, mix=mix)
    np.testing.assert_allclose(found, mix * pure + (1 - mix) * CONTENT, atol=1e-6)


def test_a_blend_without_noise_is_the_content_to_the_bit():
    np.testing.assert_array_equal(start(7, kind="blend", mix=0.0), CONTENT)


# Pictures.


def test_content_is_the_content():
    np.testing.assert_array_equal(start(kind="content"), CONTENT)


def test_style_is_the_first_one_at_the_size_of_the_content():
    other = smooth_picture(3, 48, 64)
    canvas = nst_jax.Canvas(kind="style")
    found = nst_jax.starting_canvas(canvas, 0, CONTENT, (STYLE, other))
    np.testing.assert_array_equal(found, resize(STYLE, 48, 64))
    found = nst_jax.starting_canvas(canvas, 0, CONTENT, (other, STYLE))
    np.testing.assert_array_equal(found, other)


def test_details_are_the_finest_band_on_the_mean_colour_of_the_style():
    """A checkerboard is all detail, and a flat picture has none."""
    canvas = nst_jax.Canvas(kind="details")
    board = np.indices((48, 64, 1)).sum(0) % 2 + np.zeros(3, np.float32)
    colour = STYLE.mean((0, 1))
    details = nst_jax.starting_canvas(canvas, 0, board, (STYLE,)) - colour
    np.testing.assert_allclose(details[4:-4, 4:-4], board[4:-4, 4:-4] - 0.5, atol=1e-5)
    flat = nst_jax.starting_canvas(canvas, 0, 0 * CONTENT + 0.3, (STYLE,))
    np.testing.assert_allclose(flat, np.broadcast_to(colour, flat.shape), atol=1e-6)


@pytest.mark.parametrize("kind", ["style", "details"])
def test_style_without_a_style_is_refused(kind: str):
    with pytest.raises(nst_jax.RequestError, match="needs a style picture, got none"):
        nst_jax.starting_canvas(nst_jax.Canvas(kind=kind), 0, CONTENT)


def test_resizing_keeps_a_ramp_a_ramp():
    """Pixel centres: twice the pixels of f(x) = x are at (i + ½)/2 − ½."""
    ramp = np.broadcast_to(np.arange(8.0)[:, None, None], (8, 6, 3))
    found = resize(ramp.astype(np.float32), 16, 12)
    expected = (np.arange(16) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(found[1:-1, 0, 0], expected[1:-1], atol=1e-6)
    np.testing.assert_allclose(np.ptp(found, axis=(1, 2)), 0, atol=1e-6)


def test_resizing_down_is_antialiased():
    """A white line in four becomes a quarter of white, not white or nothing."""
    lines = np.zeros((64, 64, 3), np.float32)
    lines[::4] = 1
    np.testing.assert_allclose(resize(lines, 16, 16)[1:-1], 0.25, atol=1e-6)


def test_bytes_are_rounded_and_clipped():
    values = np.float32([-0.2, 0, 0.4999 / 255, 0.5001 / 255, 1, 1.7])
    found = to_bytes(values.reshape(1, 2, 3)).ravel()
    np.testing.assert_array_equal(found, [0, 0, 0, 1, 255, 255])


def start_from(path: pathlib.Path) -> np.ndarray:
    """The start of a whole experiment, as the launch script makes it."""
    experiment = get_config("smoke")
    experiment.canvas = nst_jax.Canvas(kind="file", path=str(path))
    plan = nst_jax.build(experiment)
    assert "canvas.path" in [item.role for item in plan.inputs]
    return plan.groups[0].starting_images([0])[0]


def test_an_array_file_of_the_right_size_is_taken_to_the_bit(tmp_path: pathlib.Path):
    """A run's final.npy, of 64 × 43 px like the smoke test, beyond the gamut too."""
    exact = smooth_picture(4, 43, 64) * 3 - 1
    np.save(tmp_path / "final.npy", exact)
    np.testing.assert_array_equal(start_from(tmp_path / "final.npy"), exact)


def test_an_array_file_of_another_size_is_resized(tmp_path: pathlib.Path):
    array = smooth_picture(4, 20, 70)
    np.save(tmp_path / "final.npy", array)
    found = start_from(tmp_path / "final.npy")
    np.testing.assert_array_equal(found, resize(array, 43, 64))


def test_a_picture_file_is_taken_at_8_bits(tmp_path: pathlib.Path):
    picture = smooth_picture(4, 43, 64)
    nst_jax.write_image(tmp_path / "start.png", picture)
    expected = np.round(picture * 255).astype(np.float32) / 255
    np.testing.assert_array_equal(start_from(tmp_path / "start.png"), expected)


def test_a_picture_file_of_another_shape_is_stretched(tmp_path: pathlib.Path):
    """To the longer side by Pillow, as every picture, then to the content's shape."""
    flat = np.full((90, 30, 3), 0.2, np.float32)
    nst_jax.write_image(tmp_path / "start.png", flat)
    np.testing.assert_allclose(start_from(tmp_path / "start.png"), 0.2, atol=1e-6)
    assert start_from(tmp_path / "start.png").shape == (43, 64, 3)


# The record.


@pytest.mark.parametrize(
    ("fields", "seeded"),
    [
        ({"kind": "content"}, False),
        ({"kind": "style"}, False),
        ({"kind": "file", "path": "start.png"}, False),
        ({"kind": "noise"}, True),
        ({"kind": "blend", "mix": 0.01}, True),
        ({"kind": "blend", "mix": 0.0}, False),
    ],
    ids=lambda value: str(value),
)
def test_seeded_says_whether_the_seed_matters(fields: dict, seeded: bool):
    canvas = nst_jax.Canvas(**fields)
    canvas.check()
    assert canvas.seeded is seeded
    if canvas.kind != "file":
        same = np.array_equal(start(0, **fields), start(1, **fields))
        assert same is not seeded


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "noize"}, "canvas.kind must be one of .*'noise'.* 'noize'"),
        ({"noise": "pink"}, r"canvas.noise must be one of .*'uniform'.* 'pink'"),
        ({"amplitude": -0.1}, "canvas.amplitude must be at least 0 .*, got -0.1"),
        ({"amplitude": np.inf}, "canvas.amplitude must be .* finite, got inf"),
        ({"amplitude": np.nan}, "canvas.amplitude must be .* finite, got nan"),
        ({"centre": "gray"}, "canvas.centre must be one of .* did you mean 'grey'"),
        ({"mix": 1.1}, "canvas.mix must be from 0 to 1, got 1.1"),
        ({"mix": np.nan}, "canvas.mix must be from 0 to 1, got nan"),
        ({"kind": "file"}, "canvas.path goes with canvas.kind='file'"),
        ({"path": "x.png"}, "canvas.path goes with canvas.kind='file'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_wrong_field_is_refused(fields: dict, message: str):
    with pytest.raises(nst_jax.RequestError, match=message):
        nst_jax.Canvas(**fields).check()
