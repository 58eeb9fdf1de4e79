"""Grids of members, and the programs that serve them."""

import dataclasses
import gc

import jax
import numpy as np
import pytest
from pictures import smooth_picture
from small_runs import small_experiment

import nst_jax
from nst_jax.config.field_path import with_field
from nst_jax.ensemble.ensemble import Ensemble
from nst_jax.ensemble.memory import fitting_batch
from nst_jax.images import colour

WEIGHTS = nst_jax.Vary("terms.style.weight", (1.0, 10.0, 100.0))
ADAM = nst_jax.SolverOptions("adam")
LAYERS = nst_jax.Vary("terms.content.layers", (("relu1_1",), ("relu2_1",)))


def test_members_are_the_grid_with_the_seeds_last():
    members = small_experiment(axes=(WEIGHTS, LAYERS), seeds=(4, 7)).members()
    assert len(members) == 12
    assert [m.index for m in members[:5]] == [
        (0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0),
    ]  # fmt: skip
    assert members[3].label == "style weight 1, content layers relu2_1, seed 7"
    assert members[3].varies == {
        "terms.style.weight": 1.0,
        "terms.content.layers": ("relu2_1",),
    }
    last = members[-1]
    assert last.seed == 7
    assert last.experiment.seeds == (7,)
    assert last.experiment.axes == ()
    assert last.experiment.terms[1].weight == 100.0
    assert last.experiment.terms[0].layers == ("relu2_1",)


def test_an_axis_may_be_the_seeds():
    asked = small_experiment(axes=(nst_jax.Seeds(3), WEIGHTS))
    members = asked.members()
    assert [(m.seed, m.index) for m in members[:4]] == [
        (0, (0, 0)), (0, (0, 1)), (0, (0, 2)), (1, (1, 0)),
    ]  # fmt: skip
    assert members[4].label == "seed 1, style weight 10"


def test_fields_that_change_together_are_one_axis():
    both = nst_jax.Vary(
        ("solver.name", "steps"),
        (("adam", 7), ("lbfgs", 3)),
        labels=("slow", "quick"),
        name="solver",
    )
    members = small_experiment(axes=(both,)).members()
    assert [(m.experiment.solver.name, m.experiment.steps) for m in members] == [
        ("adam", 7),
        ("lbfgs", 3),
    ]
    assert [m.label for m in members] == ["solver slow", "solver quick"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("size", 30),
        ("canvas.kind", "noise"),
        ("solver.learning_rate", 0.5),
        ("terms.style.weight", 3.0),
        ("terms[1].weight", 3.0),
        ("terms.1.weight", 3.0),
        ("numerics.precision", "default"),
        ("styles", ("samples/mosaic.jpg",)),
    ],
)
def test_any_field_can_be_assigned_in_a_copy(path, value):
    asked = small_experiment()
    before = repr(asked)
    changed = with_field(asked, path, value)
    assert repr(asked) == before
    differing = {
        f.name
        for f in dataclasses.fields(asked)
        if getattr(asked, f.name) != getattr(changed, f.name)
    }
    assert differing == {path.split(".")[0].split("[")[0]}
    node = changed
    for part in path.replace("style.", "1.").replace("[1]", ".1").split("."):
        node = node[int(part)] if part.isdecimal() else getattr(node, part)
    assert node == value


def test_a_term_has_the_name_that_metrics_call_it():
    """A second term `style` is `style_2`, in axes as in metrics."""
    styles = [nst_jax.Gram(weight, layers=("relu1_1",)) for weight in (1.0, 3.0)]
    terms = (nst_jax.Content(layers=("relu1_1",)), *styles)
    axis = nst_jax.Vary("terms.style_2.weight", (5.0, 7.0))
    asked = small_experiment(terms=terms, axes=(axis,))
    members = asked.members()
    assert [[t.weight for t in m.experiment.terms] for m in members] == [
        [terms[0].weight, 1.0, 5.0],
        [terms[0].weight, 1.0, 7.0],
    ]
    assert [m.label for m in members] == ["style 2 weight 5", "style 2 weight 7"]
    (group,) = nst_jax.build(asked).groups
    assert group.objectives[0].names == ("content", "style", "style_2")
    asked.axes = (nst_jax.Vary("terms.q.weight", (1.0,)),)
    with pytest.raises(nst_jax.RequestError, match="content, style, style_2$"):
        asked.members()
    asked.axes = (axis, nst_jax.Vary("terms[2].weight", (1.0,)))
    with pytest.raises(nst_jax.RequestError, match="set the same field"):
        asked.members()


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        (
            [nst_jax.Vary("terms.stile.weight", (1.0,))],
            r"terms\[stile\] does not exist; did you mean 's",
        ),
        ([nst_jax.Vary("terms.style.wait", (1.0,))], "no field 'wait'"),
        (
            [nst_jax.Vary("terms[2].weight", (1.0,))],
            r"terms\[2\] does not exist; .* content, style",
        ),
        ([nst_jax.Vary("sise", (1,))], "no field 'sise'; did you mean 'size'"),
        ([nst_jax.Vary("size.long", (1,))], "has no field 'long'"),
        ([nst_jax.Vary("size", ())], r"axes\[0\].values is empty"),
        ([nst_jax.Vary("size", "64")], r"axes\[0\].values must be a tuple"),
        ([nst_jax.Vary("", (1,))], "must be the path of a field"),
        ([nst_jax.Vary("size", (32, -3))], "size must be at least 0, got -3 .at size"),
        ([nst_jax.Vary("size", ("a",))], "size must be an integer, got 'a'"),
        ([nst_jax.Vary("size", (32,), labels=("a", "b"))], "2 entries for 1 values"),
        ([nst_jax.Vary(("size", "steps"), ((3,),))], "one entry for each of size, st"),
        ([nst_jax.Vary("output.fps", (3,))], "'output.fps' cannot be varied"),
        ([nst_jax.Vary("axes", ((),))], "'axes' cannot be varied"),
        ([WEIGHTS, WEIGHTS], "set the same field"),
        ([WEIGHTS, nst_jax.Vary("terms[1].weight", (1.0,))], "set the same field"),
        (
            [nst_jax.Vary("solver.b1", (0.5,)), nst_jax.Vary("solver", (ADAM,))],
            "'solver.b1' and 'solver' set the same field",
        ),
        ([nst_jax.Vary("seeds", (3, 3))], "seeds must differ"),
        ([nst_jax.Vary(3, (24, 32))], r"axes\[0\].fields must be a string, got 3"),
        ([nst_jax.Vary("...", (1,))], r"axes\[0\].fields must be the path of a field"),
        ([nst_jax.Vary("steps", (1, 1))], "two values are called '1'"),
        (
            [nst_jax.Vary("steps", (1, 2), labels="ab")],
            r"labels must be a tuple, got 'ab'",
        ),
        (
            [nst_jax.Vary("terms.style.weight", (None,))],
            "must be a number, got None",
        ),
        ([nst_jax.Vary("size", (32,), labels=(32,))], r"labels\[0\] must be a string"),
        (["terms.style.weight"], r"axes\[0\] must be of type Vary, got"),
        (
            [nst_jax.Vary("terms.style.weight", (-1.0,))],
            "weight must be at least 0 and finite",
        ),
    ],
)
def test_a_wrong_axis_is_one_sentence(axes, says):
    with pytest.raises(nst_jax.RequestError, match=says) as caught:
        nst_jax.build(small_experiment(axes=tuple(axes)))
    assert "\n" not in str(caught.value)


class Opaque:
    """A value that prints like all others of its class."""

    def __str__(self):
        return "opaque"


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((1.0, 2.0), ("1", "2")),
        ((0.12345, 0.123451, 3.0), ("0.12345", "0.123451", "3")),
        ((("relu1_1",), (0.3, 1 / 3)), ("relu1_1", "0.3 0.3333")),
        (((0.33333, 1.0), (1 / 3, 1.0)), ("0.33333 1.0", f"{1 / 3} 1.0")),
        (("a/x.png", "b/x.png", "c/y.png"), ("a/x.png", "b/x.png", "y")),
        (
            (nst_jax.Gram(), nst_jax.Gram(weight=2.0), nst_jax.Content()),
            ("style", "style, weight 2.0", "content"),
        ),
        ((1, "1"), ("1 (value 0)", "1 (value 1)")),
    ],
)
def test_unequal_values_have_different_words(values, texts):
    axis = nst_jax.Vary("terms.style.weight", values)
    axis.check("axes[0]")
    assert axis.texts == texts


def test_objects_that_print_alike_are_numbered():
    axis = nst_jax.Vary("terms.style.weight", (Opaque(), Opaque(), 3.0))
    axis.check("axes[0]")
    assert axis.texts == ("opaque (value 0)", "opaque (value 1)", "3")


def test_equal_values_are_refused_whatever_they_are():
    axis = nst_jax.Vary("terms.style.weight", (1 / 3, 1 / 3, 0.33333))
    with pytest.raises(nst_jax.RequestError, match="two values are called '0.33"):
        axis.check("axes[0]")
    labelled = nst_jax.Vary("steps", (1, 2), labels=("a", "a"))
    with pytest.raises(nst_jax.RequestError, match="two values are called 'a'"):
        labelled.check("axes[0]")


def test_seeds_are_given_once():
    with pytest.raises(nst_jax.RequestError, match="give one"):
        small_experiment(axes=(nst_jax.Seeds(2),), seeds=(3, 4)).members()


@dataclasses.dataclass
class Halved(nst_jax.Experiment):
    """A config with a word of its own."""

    word: int = 1

    def resolved(self):
        return dataclasses.replace(self, size=24 * self.word)


def halved(*axes):
    asked = small_experiment()
    return Halved(**{**vars(asked), "axes": axes})


def test_a_word_of_a_configs_own_is_an_axis_and_what_follows_from_it_is_not():
    plan = nst_jax.build(halved(nst_jax.Vary("word", (1, 2))))
    assert [max(g.content.shape) for g in plan.groups] == [24, 48]
    with pytest.raises(nst_jax.RequestError, match="derives it from other fields"):
        nst_jax.build(halved(nst_jax.Vary("size", (24, 48))))


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "3"])
def test_seeds_are_at_least_one(count):
    with pytest.raises(nst_jax.RequestError, match="must be an integer from 1"):
        nst_jax.Seeds(count)


def test_numbers_of_numpy_are_values():
    axis = nst_jax.Vary("terms.style.weight", np.logspace(0, 2, 3))
    members = small_experiment(axes=(axis,)).members()
    weights = [m.experiment.terms[1].weight for m in members]
    assert weights == pytest.approx([1, 10, 100])


def groups(**fields) -> list[list[int]]:
    plan = nst_jax.build(small_experiment(**fields))
    return [list(group.numbers) for group in plan.groups]


@pytest.mark.parametrize(
    "axis",
    [
        WEIGHTS,
        nst_jax.Vary("terms.style.blend", ((1.0,), (0.5,))),
        nst_jax.Vary("solver.learning_rate", (0.01, 0.1)),
        nst_jax.Vary("solver.tolerance", (0.0, 1.0)),
        nst_jax.Vary("canvas.amplitude", (0.1, 0.5)),
        nst_jax.Vary("canvas.kind", ("noise", "content", "style")),
        nst_jax.Vary("colour", ("style", "luminance", "match_pca")),
        nst_jax.Vary("resample", ("lanczos", "nearest")),
        nst_jax.Vary("smoothing.radius", (0, 2)),
        nst_jax.Seeds(3),
    ],
    ids=lambda axis: axis.title,
)
def test_numbers_and_starts_share_one_program(axis):
    assert groups(axes=(axis,)) == [list(range(len(axis.values)))]


@pytest.mark.parametrize(
    "axis",
    [
        LAYERS,
        nst_jax.Vary("pooling", ("max", "avg")),
        nst_jax.Vary("size", (24, 32)),
        nst_jax.Vary("styles", (("samples/swirls.jpg",), ("samples/coffee.png",))),
        nst_jax.Vary("solver.name", ("adam", "sgd")),
        nst_jax.Vary("solver.clip", (True, False)),
        nst_jax.Vary("steps", (1, 2)),
        nst_jax.Vary("numerics.precision", ("highest", "default")),
        nst_jax.Vary("ensemble.strategy", ("vmap", "map")),
        nst_jax.Vary("terms.style.layer_weights", ((), (1.0, 2.0))),
    ],
    ids=lambda axis: axis.title,
)
def test_what_selects_a_program_makes_a_group(axis):
    """And each group batches the rest: here two seeds."""
    assert groups(axes=(axis,), seeds=(0, 1)) == [[0, 1], [2, 3]]


def test_groups_of_a_grid_are_by_what_is_static():
    assert groups(axes=(WEIGHTS, LAYERS)) == [[0, 2, 4], [1, 3, 5]]


@pytest.fixture
def two_pictures(tmp_path):
    """Paths of two pictures of one size."""
    paths = [str(tmp_path / f"{name}.png") for name in "ab"]
    for seed, path in enumerate(paths):
        nst_jax.write_image(path, smooth_picture(seed, 24, 24))
    return paths


#: Field of `Experiment` -> paths and two values of each. Where the first value is
#: "a" or "b", it stands for one of two pictures of 24×24 px.
ALTERNATIVES = {
    "content": (("content", "a", "b"),),
    "styles": (("styles", ("a",), ("b",)), ("styles", ("a",), ("a", "b"))),
    "terms": (
        ("terms.style.weight", 1.0, 2.0),
        ("terms.content.layers", ("relu1_1",), ("relu1_2",)),
    ),
    "size": (
        ("size", 24, 16),
        ("size", 24, 0),
        ("size,fit", (24, "long"), (24, "short")),
    ),
    "max_pixels": (("max_pixels", 10**8, 10**6),),
    "steps": (("steps", 2, 3),),
    "pooling": (("pooling", "max", "avg"),),
    "pool_rounding": (("pool_rounding", "ceil", "floor"),),
    "solver": (
        ("solver.name", "adam", "lbfgs_fixed"),
        ("solver.learning_rate", 0.01, 0.02),
        ("solver.averaging", 0.0, 0.5),
        ("solver.clip", True, False),
    ),
    "canvas": (("canvas.kind", "content", "noise"),),
    "parametrisation": tuple(
        ("parametrisation,solver.clip", ("pixels", False), (name, False))
        for name in ("pyramid", "fourier", "spectrum")
    ),
    "ladder": (("ladder.sizes,ladder.steps", ((), ()), ((16,), (1,))),),
    "masks": (("masks.freeze", "", "b"),),
    "tile": (("tile", 0, 16), ("tile", 8, 16)),
    "fit": (("fit", "long", "area"),),
    "style_size": (("style_size", 24, 16),),
    "style_scale": (("style_scale", 1.0, 0.5), ("style_scale", 1.0, 1.001)),
    "colour": (("colour", "style", "luminance"), ("colour", "style", "match_pca")),
    "smoothing": (("smoothing.radius", 0, 2),),
    "padding": (("padding", "zeros", "reflect"),),
    "input_scale": (("input_scale", 1.0, 0.5),),
    "input_centred": (("input_centred", True, False),),
    "resample": (("resample", "lanczos", "nearest"),),
    "frame": (("frame", 0, 1),),
    "film": (("film.motion,film.amount", ("still", 0.0), ("shift", 1.0)),),
    "weights": (
        (
            "weights",
            "weights/vgg19.safetensors",
            "weights/../weights/vgg19.safetensors",
        ),
    ),
    "numerics": (
        ("numerics.precision", "highest", "default"),
        ("numerics.feature_dtype", "float32", "bfloat16"),
        ("numerics.deterministic", False, True),
    ),
    "ensemble": (
        ("ensemble.strategy", "vmap", "map"),
        ("ensemble.repeat", 0, 1),
        ("ensemble.batch_size", 0, 2),
        ("ensemble.process", "inline", "subprocess"),
    ),
}


def test_every_field_has_an_alternative():
    """But for seeds, which are numbers, and fields that no axis may vary."""
    fields = {field.name for field in dataclasses.fields(nst_jax.Experiment)}
    assert fields - {"seeds", "output", "axes"} == {*ALTERNATIVES}


@pytest.mark.parametrize(
    "alternative",
    [each for several in ALTERNATIVES.values() for each in several],
    ids=lambda each: f"{each[0]}={each[2]}",
)
def test_members_share_a_batch_if_and_only_if_their_programs_are_equal(
    alternative, two_pictures
):
    """The programs are those of the two members, each planned by itself.

    Members whose style pictures have other sizes do not share a batch either: the
    shapes of a term's targets may depend on them.
    """

    def given(value):
        if isinstance(value, tuple):
            return tuple(map(given, value))
        return dict(zip("ab", two_pictures, strict=True)).get(value, value)

    def planned(*values):
        names = path.split(",")
        names = names[0] if len(names) == 1 else tuple(names)
        axis = nst_jax.Vary(names, values, labels=tuple("xy"[: len(values)]))
        terms = (
            nst_jax.Content(layers=("relu1_1",)),
            nst_jax.Gram(layers=("relu1_1",)),
        )
        fields = {"content": two_pictures[0], "styles": (two_pictures[0],)}
        asked = small_experiment(**fields, terms=terms, axes=(axis,), size=24)
        return nst_jax.build(asked).groups

    def program(group):
        options = dataclasses.astuple(group.experiment.ensemble)
        return [
            (
                Ensemble.signature(
                    stage.problems()[:1],
                    stage.content.shape,
                    batch_size=1,
                    strategy="vmap",
                ),
                stage.experiment.steps,
                options,
                [style.shape for style in stage.styles],
                [id(leaf) for leaf in jax.tree.leaves(stage.network.params)],
            )
            for stage in group.stages
        ]

    path, *values = alternative
    values = [given(value) for value in values]
    one, other = (program(group) for v in values for group in planned(v))
    assert len(planned(*values)) == (1 if one == other else 2)


def test_each_member_of_a_batch_has_its_own_colours(tmp_path):
    """Three colours by two seeds are one batch of six, and what each is by itself."""
    colours = "style", "luminance", "match_pca"
    options = {"seeds": (0, 1), "canvas": nst_jax.Canvas("blend", mix=0.5)}
    loop = nst_jax.EnsembleOptions(strategy="loop")

    def finals(workdir, values):
        axis = nst_jax.Vary("colour", values)
        asked = small_experiment(**options, axes=(axis,), ensemble=loop)
        plan = nst_jax.build(asked)
        assert [len(group.members) for group in plan.groups] == [2 * len(values)]
        nst_jax.execute(plan, workdir)
        paths = sorted(workdir.glob("members/*/final.npy"))
        return [np.load(path) for path in paths]

    together = finals(tmp_path / "together", colours)
    alone = [x for c in colours for x in finals(tmp_path / c, (c,))]
    np.testing.assert_array_equal(together, alone)


def test_each_member_continues_its_film_in_its_own_colours():
    axes = nst_jax.Frames(2), nst_jax.Vary("colour", ("style", "luminance"))
    canvas = nst_jax.Canvas(kind="previous")
    film = nst_jax.Film(motion="shift", amount=1.0)
    _, second = nst_jax.build(
        small_experiment(axes=axes, canvas=canvas, film=film)
    ).groups
    before = smooth_picture(0, *second.content.shape[:2])
    plain, grey = second.starting_images([0, 1], lambda member: before)
    np.testing.assert_array_equal(plain, before)
    np.testing.assert_array_equal(grey, colour.prepare_canvas("luminance", before))


def test_another_picture_of_the_same_size_needs_no_second_program(two_pictures):
    """It is another argument of the same one; other layers are another program."""

    def signature(group):
        return Ensemble.signature(
            group.problems(), group.content.shape, batch_size=1, strategy="vmap"
        )

    first, second = (
        nst_jax.build(small_experiment(content=path)).groups[0] for path in two_pictures
    )
    assert not np.array_equal(first.content, second.content)
    assert signature(first) == signature(second)
    one, other = nst_jax.build(
        small_experiment(content=two_pictures[0], axes=(LAYERS,))
    ).groups
    assert signature(one) != signature(other)


@nst_jax.term
class Tinted(nst_jax.Term):
    """A user's term whose target depends on one of its numbers."""

    amount: float = 1.0
    name: str = nst_jax.static(default="tinted")

    def target(self, content, styles):
        return content.image.mean((0, 1)) * self.amount

    def __call__(self, view, target):
        return ((view.image.mean((0, 1)) - target) ** 2).sum()


def test_a_target_that_depends_on_what_varies_is_each_members_own():
    amounts = nst_jax.Vary("terms.tinted.amount", (0.0, 0.5, 1.0))
    terms = (nst_jax.Content(layers=("relu1_1",)), Tinted(weight=10.0))
    (group,) = nst_jax.build(small_experiment(terms=terms, axes=(amounts,))).groups
    mean = group.content.mean((0, 1), np.float64)
    problems = group.problems()
    for problem, amount in zip(problems, (0.0, 0.5, 1.0), strict=True):
        np.testing.assert_allclose(problem.targets[1], amount * mean, atol=1e-5)
        assert problem.targets[0][0] is problems[0].targets[0][0]


def test_plans_share_one_network_and_leave_no_other_behind(two_pictures):
    """Also where what depends on the content is found by a trace that fails."""
    contents = nst_jax.Vary("content", two_pictures)

    def kernels():
        (group,) = nst_jax.build(small_experiment(axes=(contents,))).groups
        assert group.problems()
        return {id(leaf) for leaf in jax.tree.leaves(group.network)}

    first = kernels()
    assert len(first) > 16
    gc.collect()
    before = len(jax.live_arrays())
    assert kernels() == first
    gc.collect()
    assert len(jax.live_arrays()) <= before


def test_targets_are_there_once_where_only_weights_vary():
    (group,) = nst_jax.build(small_experiment(axes=(WEIGHTS,))).groups
    first, *others = group.problems()
    for other in others:
        assert all(
            a is b
            for a, b in zip(
                jax.tree.leaves(first.targets),
                jax.tree.leaves(other.targets),
                strict=True,
            )
        )
    weights = [p.objective.terms[1].weight for p in group.problems()]
    assert weights == [1.0, 10.0, 100.0]


def test_a_grid_that_is_run_is_each_of_its_members_run_alone(tmp_path):
    """Through the run directory: other weights, other layers, two seeds."""
    asked = small_experiment(
        axes=(WEIGHTS, LAYERS), canvas=nst_jax.Canvas("noise"), seeds=(0, 5)
    )
    asked.ensemble.batch_size = 4
    assert nst_jax.execute(nst_jax.build(asked), tmp_path / "grid") == "done"
    alone = small_experiment(
        terms=(
            nst_jax.Content(layers=("relu1_1",)),
            nst_jax.Gram(10.0, layers=("relu1_1", "relu2_1")),
        ),
        canvas=nst_jax.Canvas("noise"),
        seeds=(5,),
    )
    assert nst_jax.execute(nst_jax.build(alone), tmp_path / "alone") == "done"
    label = "style weight 10, content layers relu1_1, seed 5"
    number = [member.label for member in asked.members()].index(label)
    got, expected = (
        np.load(tmp_path / path / "final.npy")
        for path in (f"grid/members/{number:03d}", "alone/members/000")
    )
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_a_program_is_compiled_once_for_groups_that_share_it(
    tmp_path, two_pictures, monkeypatch
):
    """Two pictures of one size, each a group of its own here: one compilation."""
    compiled = []
    compile_ = Ensemble.compile

    def counted(*args, **kwargs):
        compiled.append(args)
        return compile_(*args, **kwargs)

    monkeypatch.setattr(Ensemble, "compile", counted)
    one, other = two_pictures
    styles = nst_jax.Vary(("styles", "ensemble.repeat"), (((one,), 0), ((other,), 1)))
    plan = nst_jax.build(small_experiment(axes=(styles,)))
    assert len(plan.groups) == 2
    nst_jax.execute(plan, tmp_path / "run")
    assert len(compiled) == 1
    finals = [
        np.load(tmp_path / "run" / "members" / m / "final.npy") for m in ("000", "001")
    ]
    assert np.abs(finals[0] - finals[1]).max() > 0.01


def test_pictures_of_one_size_are_one_program(two_pictures):
    """Each member with its own targets, and what all share there once."""
    one, other = two_pictures
    contents = nst_jax.Vary("content", two_pictures)
    styles = nst_jax.Vary("styles", ((one,), (other,)))
    (group,) = nst_jax.build(small_experiment(axes=(contents, styles))).groups
    problems = group.problems()
    for problem, content, style in zip(
        problems, (one, one, other, other), (one, other) * 2, strict=True
    ):
        alone = nst_jax.build(
            small_experiment(content=content, styles=(style,))
        ).groups[0]
        (expected,) = alone.problems()
        for a, b in zip(
            jax.tree.leaves(problem), jax.tree.leaves(expected), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    names = group.objectives[0].names
    for i, shared in enumerate(names):
        targets = [jax.tree.leaves(problem.targets[i]) for problem in problems]
        like = {"content": (0, 0, 2, 2), "style": (0, 1, 0, 1)}[shared]
        for j, k in enumerate(like):
            assert all(a is b for a, b in zip(targets[j], targets[k], strict=True))


@pytest.mark.parametrize("solver", ["adam", "lbfgs_fixed"])
def test_memory_is_reckoned_on_the_safe_side(monkeypatch, solver):
    """Against what the compiler sets aside for a batch of four."""
    (group,) = nst_jax.build(
        small_experiment(solver=nst_jax.SolverOptions(solver), size=48)
    ).groups
    (problem,), shape = group.problems(), group.content.shape
    program = Ensemble.compile(problem, shape, batch_size=4)._advance
    memory = program.memory_analysis()
    used = memory.temp_size_in_bytes / 4
    monkeypatch.setattr("nst_jax.ensemble.memory._free_bytes", lambda device: 2**40)
    reckoned = 2**40 / 2 / fitting_batch(problem, shape)
    assert used <= reckoned < 6 * used
