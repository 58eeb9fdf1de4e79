"""Records of a config, made in Python: what they convert, and what they refuse."""

import copy
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import small_experiment

import nst_jax
from nst_jax.config.jsonable import to_jsonable
from nst_jax.core.image_array import ArrayInput

NONSENSE = [
    (nst_jax.Canvas, {"kind": "contnet"}, "canvas.kind .*did you mean 'content'"),
    (
        nst_jax.Canvas,
        {"amplitude": -1.0},
        "canvas.amplitude must be at least 0 and finite",
    ),
    (nst_jax.Canvas, {"mix": "half"}, "canvas.mix must be a number, got 'half'"),
    (nst_jax.Canvas, {"ulps": 2.5}, "canvas.ulps must be an integer, got 2.5"),
    (nst_jax.Canvas, {"kind": "file"}, "canvas.path goes with canvas.kind='file'"),
    (nst_jax.Film, {"motion": "shft", "amount": 1.0}, "film.motion must be one of"),
    (nst_jax.Film, {"motion": "shift"}, "film.amount must be 0 for film.motion"),
    (nst_jax.Film, {"motion": "shift", "amount": float("nan")}, "film.amount must be"),
    (nst_jax.Ladder, {"factor": 1.0}, "ladder.factor must be from 1.05"),
    (nst_jax.Ladder, {"sizes": 64}, "ladder.sizes must be a tuple, got 64"),
    (nst_jax.Ladder, {"sizes": [64.5]}, r"ladder.sizes\[0\] must be an integer, got"),
    (nst_jax.Masks, {"propagation": "out"}, "masks.propagation must be one of"),
    (nst_jax.Masks, {"content": "a.png"}, "masks.content and masks.styles go"),
    (
        nst_jax.Masks,
        {"styles": (3,), "content": "a"},
        r"masks.styles\[0\] must be a str",
    ),
    (nst_jax.Smoothing, {"radius": -1}, "smoothing.radius must be at least 0"),
    (nst_jax.Smoothing, {"radius": 1.5}, "smoothing.radius must be an integer"),
    (nst_jax.SolverOptions, {"name": "adma"}, "solver.name .*did you mean 'adam'"),
    (
        nst_jax.SolverOptions,
        {"tolerance": -1.0},
        "solver.tolerance must be at least 0 and",
    ),
    (nst_jax.SolverOptions, {"averaging": 1.0}, "solver.averaging must be at least 0"),
    (
        nst_jax.SolverOptions,
        {"name": "adam", "learning_rate": -1.0},
        "solver.learning_rate must be above 0 and at most",
    ),
    (nst_jax.EnsembleOptions, {"strategy": "vmp"}, "ensemble.strategy must be one of"),
    (
        nst_jax.EnsembleOptions,
        {"batch_size": -1},
        "batch_size must be from 0 to 65,536",
    ),
    (nst_jax.OutputOptions, {"log_every": 0}, "output.log_every must be at least 1"),
    (nst_jax.OutputOptions, {"fps": 0}, "output.fps must be from 1 to 240, got 0"),
    (
        nst_jax.OutputOptions,
        {"snapshots": (-1,)},
        r"snapshots\[0\] must be at least 0, got -1",
    ),
    (nst_jax.OutputOptions, {"quality": 1}, "output.quality must be True or False"),
    (nst_jax.Numerics, {"precision": "most"}, "numerics.precision must be one of"),
    (nst_jax.Adam, {"learning_rate": -0.1}, "solver.learning_rate must be above 0"),
    (nst_jax.Adam, {"learning_rate": np.float32(-1)}, "solver.learning_rate must be a"),
    (nst_jax.Adam, {"learning_rate": "fast"}, "solver.learning_rate must be a number"),
    (nst_jax.Adam, {"b1": 1.0}, "solver.b1 must be at least 0 and below 1"),
    (nst_jax.Adam, {"eps": None}, "solver.eps must be a number, got None"),
    (nst_jax.Adam, {"clip": "yes"}, "solver.clip must be True or False, got 'yes'"),
    (nst_jax.Adam, {"decay_steps": 2.5}, "solver.decay_steps must be an integer"),
    (nst_jax.Adam, {"schedule": "linear"}, "solver.schedule must be one of"),
    (nst_jax.SGD, {"learning_rate": float("nan")}, "solver.learning_rate must be a"),
    (nst_jax.LBFGS, {"history_size": 2.5}, "solver.history_size must be an integer"),
    (nst_jax.LBFGS, {"max_line_search_steps": True}, "solver.max_line_search_steps"),
    (nst_jax.LBFGS, {"line_search": "zoomy"}, "solver.line_search must be one of"),
    (nst_jax.FixedLBFGS, {"history_size": 0}, "solver.history_size must be at least"),
    (nst_jax.OptaxLBFGS, {"history_size": -1}, "solver.history_size must be at least"),
    (nst_jax.Content, {"weight": "much"}, "content.weight must be a number"),
    (nst_jax.Content, {"weight": -1.0}, "content.weight must be at least 0 and finite"),
    (nst_jax.Content, {"weight": None}, "content.weight must be a number, got None"),
    (nst_jax.Gram, {"layers": ["relu9_9"]}, "unknown layer 'relu9_9'"),
    (nst_jax.TotalVariation, {"weight": "x"}, "must be a number, got 'x'"),
    (nst_jax.Objective, {"terms": nst_jax.Gram()}, "terms must be a tuple"),
    (nst_jax.Objective, {"terms": ["gram"]}, r"terms\[0\] must be a loss term, got"),
    (nst_jax.Seeds, {"count": 0}, "must be an integer from 1, got 0"),
    (nst_jax.Frames, {"count": 2.5}, "must be an integer from 1, got 2.5"),
    (nst_jax.build, {"experiment": "x"}, "experiment must be a nst_jax.Experiment"),
    (nst_jax.execute, {"plan": "x", "workdir": "y"}, "plan must be a nst_jax.Plan"),
]


@pytest.mark.parametrize(
    ("make", "fields", "says"),
    NONSENSE,
    ids=[f"{make.__name__}-{'-'.join(fields)}" for make, fields, _ in NONSENSE],
)
def test_nonsense_is_refused_where_it_is_said(make, fields, says):
    with pytest.raises(nst_jax.RequestError, match=says) as refused:
        make(**fields)
    assert len(str(refused.value).splitlines()) == 1


def test_fields_that_go_together_may_be_set_one_after_the_other():
    """As flags and axes do; the whole is checked when it is built."""
    canvas = nst_jax.Canvas()
    canvas.kind = "file"
    canvas.path = "x.png"
    canvas.check()
    axis = nst_jax.Vary(
        ("canvas.kind", "canvas.path"), [["content", ""], ["file", "x"]]
    )
    one, other = small_experiment(axes=(axis,)).members()
    assert (one.experiment.canvas.kind, other.experiment.canvas.path) == (
        "content",
        "x",
    )


def test_lists_ranges_and_numbers_of_numpy_are_taken():
    lists = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=["samples/swirls.jpg"],
        terms=[nst_jax.Content(layers=["relu1_1"]), nst_jax.Gram()],
        seeds=np.arange(3),
        size=np.int64(48),
        ladder=nst_jax.Ladder(sizes=[24, 36], steps=range(2, 4)),
        output=nst_jax.OutputOptions(snapshots=[1, 2]),
        masks=nst_jax.Masks(content="a.png", styles=["b.png"]),
        axes=[
            nst_jax.Vary("terms.style.layers", [["relu1_1"], ["relu2_1"]], ["a", "b"]),
            nst_jax.Vary(["size", "steps"], [[32, 4], [48, 2]]),
            nst_jax.Vary("terms.content.weight", np.geomspace(1, 4, 3)),
        ],
    )
    tuples = nst_jax.Experiment(
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        terms=(nst_jax.Content(layers=("relu1_1",)), nst_jax.Gram()),
        seeds=(0, 1, 2),
        size=48,
        ladder=nst_jax.Ladder(sizes=(24, 36), steps=(2, 3)),
        output=nst_jax.OutputOptions(snapshots=(1, 2)),
        masks=nst_jax.Masks(content="a.png", styles=("b.png",)),
        axes=(
            nst_jax.Vary(
                "terms.style.layers", (("relu1_1",), ("relu2_1",)), ("a", "b")
            ),
            nst_jax.Vary(("size", "steps"), ((32, 4), (48, 2))),
            nst_jax.Vary("terms.content.weight", (1.0, 2.0, 4.0)),
        ),
    )
    assert lists == tuples
    lists.check()
    assert all(type(seed) is int for seed in lists.seeds)
    lists.seeds = [4]
    assert lists.seeds == (4,)
    assert nst_jax.Objective([nst_jax.Gram()]) == nst_jax.Objective((nst_jax.Gram(),))


def test_a_picture_given_as_an_array_is_named_by_its_hash():
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    source = ArrayInput(picture)
    assert source == ArrayInput(jnp.asarray(picture))
    assert source != ArrayInput(picture[::-1])
    assert source != ArrayInput(picture.reshape(4, 2, 3))
    assert source != ArrayInput(picture.astype(np.int8))
    assert source == f"array uint8 [2, 4, 3], SHA-256 {source.sha256}"
    half = ArrayInput(jnp.asarray(picture, jnp.bfloat16))
    assert half.startswith("array bfloat16 [2, 4, 3], ")
    assert half != ArrayInput(jnp.zeros_like(half.array))
    picture[:] = 0
    assert source.array.any()
    with pytest.raises(ValueError, match="read-only"):
        source.array[:] = 0
    for twin in (copy.deepcopy(source), pickle.loads(pickle.dumps(source))):
        assert twin == source
        np.testing.assert_array_equal(twin.array, source.array)
    assert to_jsonable(source) == str(source)


def test_arrays_get_labels_that_differ():
    one, other = np.zeros((4, 4, 3)), np.ones((4, 4, 3))
    assert nst_jax.Vary("content", (one, other)).texts == ("array 1", "array 2")
    assert nst_jax.Vary("content", np.stack([one, other])).texts == (
        *("array 1", "array 2"),
    )
    axis = nst_jax.Vary("styles", ((one,), (one, other), ("samples/swirls.jpg",)))
    assert axis.texts == ("array 1", "array 1 array 2", "swirls")
    pairs = nst_jax.Vary(("content", "size"), ((one, 32), (other, 48)))
    assert pairs.texts == ("array 1 32", "array 2 48")
    with pytest.raises(nst_jax.RequestError, match="two values are called 'array 1'"):
        nst_jax.Vary("content", (one, one.copy())).check("axes[0]")
