"""Records that hold arrays are shown in a few lines, arrays by dtype and shape."""

import dataclasses

import jax
import numpy as np
import pytest
from pictures import smooth_picture
from small_runs import small_experiment

import nst_jax
from nst_jax.ensemble.observer import StepInfo
from nst_jax.models.weights import load_weights
from nst_jax.optim import transfer
from nst_jax.optim.problem import FixedPixels
from nst_jax.optim.solvers import Report

TERMS = (nst_jax.Content(layers=("relu1_1",)), nst_jax.Gram(layers=("relu1_1",)))


@pytest.fixture(scope="module")
def records(network):
    picture = smooth_picture(0, 24, 24)
    objective = nst_jax.Objective(TERMS)
    fixed_pixels = FixedPixels(picture[..., :1] > 0.5, picture)
    problem = nst_jax.Problem.from_images(
        network,
        objective,
        picture,
        [picture] * 9,
        nst_jax.Adam(),
        fixed_pixels=fixed_pixels,
    )
    plan = nst_jax.build(
        small_experiment(
            axes=(nst_jax.Vary("size", tuple(range(40, 60))), nst_jax.Seeds(9))
        )
    )
    report = Report(
        np.ones(4), {str(i): np.ones(4) for i in range(99)}, *[np.ones(4)] * 4
    )
    state = jax.eval_shape(transfer.start, problem, picture)
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state)
    result = nst_jax.run(problem, [picture[::-1]] * 4, steps=3, log_every=1)
    return [
        *(problem, network, objective, fixed_pixels, report, state, result, plan),
        *(plan.groups[0], plan.members[0], plan.groups[0].scenes[0], load_weights()),
        *(StepInfo((0,), 1, np.ones(1), {}, picture[None]), *plan.groups[0].problems()),
    ]


def test_records_are_shown_in_a_few_lines(records):
    for record in records:
        text = repr(record)
        name = type(record).__name__
        assert len(text) < 1600, f"{name}: {len(text)}"
        assert sum(-(-len(line) // 88) for line in text.splitlines()) < 20, name
        assert "array(" not in text
        assert "Array(" not in text


def test_arrays_are_shown_by_dtype_and_shape(network):
    picture = smooth_picture(0, 24, 20)
    term = dataclasses.replace(nst_jax.Content(), weight=jax.numpy.ones(3))
    assert "weight=float32[3]" in repr(term)
    fixed_pixels = FixedPixels(picture[..., :1] > 0.5, picture)
    assert (
        repr(fixed_pixels)
        == "FixedPixels(mask=bool[24, 20, 1], picture=float32[24, 20, 3])"
    )
    assert "'kernel': float32[3, 3, 3, 64]" in repr(network)


def test_a_small_record_is_shown_whole():
    shown = repr(nst_jax.SGD())
    assert eval(shown, vars(nst_jax)) == nst_jax.SGD()
    assert eval(repr(TERMS), vars(nst_jax)) == TERMS
