"""Gradients by tiles: against the same written out in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax
from nst_jax import losses
from nst_jax.core.keys import seed_key
from nst_jax.losses import Objective
from nst_jax.optim.parametrisation import Pyramid
from nst_jax.optim.problem import FixedPixels, Problem
from nst_jax.optim.tiling import Tiling, _grid

HEIGHT, WIDTH, SIDE = 21, 30, 8


@nst_jax.term
class Pixels(nst_jax.Term):
    """Mean squares: from the content's pixels, and from a style's mean colour."""

    name: str = nst_jax.static(default="pixels")

    def target(self, content, styles):
        return content.image, styles[0].image.mean((0, 1))

    def __call__(self, view, target):
        near, colour = target
        mean = view.image.mean((0, 1))
        return ((view.image - near) ** 2).mean() + ((mean - colour) ** 2).sum()


def picture(seed, height=HEIGHT, width=WIDTH):
    return np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)


def view(picture):
    return nst_jax.losses.View(jnp.asarray(picture), {})


def posed(side):
    pictures = jnp.asarray(picture(1)), (view(picture(2, 9, 9)),)
    tiling = Tiling(*pictures, side, content_dependent=(True,))
    network = nst_jax.Network({}, {}, None)
    objective = Objective((Pixels(weight=3.0),))
    return Problem(network, objective, ((),), nst_jax.Adam(), tiling=tiling)


evaluate = jax.jit(lambda problem, canvas, step: problem.evaluate(canvas, step))


@pytest.mark.parametrize("length", [8, 20, 21, 24, 47])
def test_tiles_cover_an_axis_each_pixel_once(length):
    """By their places in the grid; those moved inside lie inside."""
    begins = set()
    for seed in range(30):
        first, share = map(np.asarray, _grid(jax.random.key(seed), length, SIDE))
        assert share.sum() == pytest.approx(1) and (share >= 0).all()
        assert first.min() >= 0 and first.max() <= length - SIDE
        whole = share * length > SIDE - 0.5
        assert (np.diff(first[whole]) == SIDE).all()
        seen = np.zeros(length, bool)
        for at in first[share > 0]:
            seen[at : at + SIDE] = True
        assert seen.all()
        begins.add(tuple(first))
    assert len(begins) == 1 if length == SIDE else len(begins) > 4
    assert (len(first) == 1) == (length == SIDE)


def written_out(canvas, content, colour, step):
    """(loss, gradient) in float64, tile by tile."""
    key = jax.random.fold_in(seed_key(0), step)
    axes = [
        tuple(map(np.asarray, _grid(jax.random.fold_in(key, axis), length, SIDE)))
        for axis, length in enumerate((HEIGHT, WIDTH))
    ]
    loss, gradient = 0.0, np.zeros(canvas.shape)
    for y, share_y in zip(*axes[0], strict=True):
        for x, share_x in zip(*axes[1], strict=True):
            here = np.s_[y : y + SIDE, x : x + SIDE]
            apart = canvas[here].astype(float) - content[here]
            mean = canvas[here].mean((0, 1), float) - colour
            share = 3 * share_y * share_x
            loss += share * ((apart**2).mean() + (mean**2).sum())
            own = 2 * apart / apart.size + 2 * mean / SIDE**2
            gradient[here] += share * own
    return loss, gradient


@pytest.mark.parametrize("step", [0, 5])
def test_tiles_are_summed_as_written_out(step):
    canvas = picture(3)
    (loss, parts), gradient = evaluate(posed(SIDE), canvas, step)
    colour = picture(2, 9, 9).mean((0, 1), float)
    wanted, slope = written_out(canvas, picture(1), colour, step)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    np.testing.assert_allclose(parts["pixels"], wanted, rtol=1e-5)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-7)


def test_one_tile_is_the_whole():
    """Whatever the step; and the grid moves from step to step where there are more."""
    canvas = picture(3)
    tiled = posed(64)
    targets = tiled.objective.targets(nothing(), picture(1), [picture(2, 9, 9)])
    plain = Problem(tiled.network, tiled.objective, targets, tiled.solver)
    (one, _), slope = evaluate(plain, canvas, 0)
    for step in (0, 7):
        (other, _), gradient = evaluate(tiled, canvas, step)
        np.testing.assert_allclose(other, one, rtol=1e-5)
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-8)
    small = [evaluate(posed(SIDE), canvas, step)[1] for step in (0, 1)]
    assert np.abs(small[0] - small[1]).max() > 1e-4


def nothing():
    return nst_jax.Network({}, {}, None)


def test_a_gradient_of_tiles_is_taken_back_to_what_moves():
    """To the bands of a pyramid, without fixed pixels: by the adjoint of decoding."""
    tiled, form = posed(SIDE), Pyramid((HEIGHT, WIDTH, 3))
    mask = np.zeros((HEIGHT, WIDTH, 1), bool)
    mask[4:12, 9:20] = True
    fixed_pixels = FixedPixels(jnp.asarray(mask), jnp.asarray(picture(5)))
    moved = dataclasses.replace(tiled, parametrisation=form, fixed_pixels=fixed_pixels)
    variable = form.encode(jnp.asarray(picture(3)))
    (found, _), gradient = evaluate(moved, variable, 3)
    canvas, back = jax.vjp(form.decode, variable)
    (wanted, _), slope = evaluate(tiled, jnp.where(mask, picture(5), canvas), 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    (expected,) = back(jnp.where(mask, 0, slope))
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_what_is_of_the_style_alone_is_taken_once():
    """Of the style's features none are kept but those of terms that look at a tile's
    content; and a target that is given is the one that is used."""
    experiment = nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/mosaic.jpg",),
        terms=(nst_jax.Gram(layers=("relu1_1",)), nst_jax.Content(layers=("relu2_1",))),
        size=48,
        tile=16,
    )
    (group,) = nst_jax.build(experiment).groups
    (problem,) = group.problems()
    assert problem.tiling.content_dependent == (False, True)
    assert [*problem.tiling.styles[0].features] == ["relu2_1"]
    (region,) = problem.targets[0][0]
    seen = group.network(group.styles[0], ["relu1_1"])["relu1_1"]
    np.testing.assert_allclose(region.statistics[0], losses.gram(seen), rtol=1e-4)
    (_, parts), _ = problem.evaluate(jnp.asarray(group.content))
    assert parts["content/relu2_1"] == 0 < parts["style/relu1_1"]


def test_tiles_go_with_every_strategy_and_stage(tmp_path):
    nst_jax.write_image(tmp_path / "a.png", picture(4, 40, 48))
    experiment = nst_jax.Experiment(
        content=str(tmp_path / "a.png"),
        styles=(str(tmp_path / "a.png"),),
        terms=(nst_jax.Gram(layers=("relu1_1",)), nst_jax.Content(layers=("relu1_2",))),
        size=48,
        steps=2,
        seeds=(0, 1),
        tile=16,
        canvas=nst_jax.Canvas(kind="noise"),
        solver=nst_jax.SolverOptions(name="adam"),
        ladder=nst_jax.Ladder((24,)),
        axes=(nst_jax.Vary("ensemble.strategy", ("vmap", "loop", "map")),),
    )
    assert nst_jax.execute(nst_jax.build(experiment), tmp_path / "run") == "done"
    one, seed, *others = (
        np.load(tmp_path / f"run/members/{member:03d}/final.npy")
        for member in (0, 1, 2, 4)
    )
    for other in others:
        np.testing.assert_allclose(other, one, atol=1e-3)
    assert np.abs(one - seed).max() > 0.1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tile": -1}, "tile must be at least 0, got -1"),
        ({"tile": 1}, "tile must be 0 or at least 2, got 1"),
        ({"tile": 8}, "tile must be 0, or 16 or more to reach layer relu5_1; got 8"),
        (
            {"tile": 2, "terms": (losses.Photorealism(),)},
            "needs a content image of at least 3 × 3 pixels .*, got 2 × 2",
        ),
        (
            {"tile": 32, "masks": nst_jax.Masks("a.png", ("b.png",))},
            "tile=32 cannot be combined with masks.content",
        ),
    ],
)
def test_tiles_that_cannot_be_are_refused(options, says):
    experiment = nst_jax.Experiment(
        content="samples/coffee.png",
        styles=("samples/mosaic.jpg",),
        size=64,
        **{"terms": (nst_jax.Gram(),), **options},
    )
    with pytest.raises(nst_jax.RequestError, match=says):
        nst_jax.build(experiment)
