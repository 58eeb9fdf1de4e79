"""The checks of a term: a sound term passes, and each fault fails one check."""

import itertools
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.custom_batching import custom_vmap

import nst_jax
from nst_jax.check import __main__ as command
from nst_jax.check import behaviour, check
from nst_jax.check.sample_inputs import SampleInputs, sample_image

static = nst_jax.static


@nst_jax.term
class Contrast(nst_jax.Term):
    """Sound: squared difference of the variances, softened; all faults start here."""

    name: str = static(default="contrast")
    softness: float = 1.0

    def target(self, content, styles):
        return self.measure(styles[0].image)

    def __call__(self, view, target):
        return (self.measure(view.image) - target) ** 2 / self.softness

    def measure(self, image):
        return ((image - image.mean((0, 1), keepdims=True)) ** 2).mean()


def no_network():
    raise AssertionError("a term without layers needs no network")


def verdicts(term, network=no_network):
    """Name -> (verdict, text)."""
    return dict(check(term, network))


def run_check(function, term, network=None):
    """Run one check alone."""
    with jax.enable_x64(True):
        return function(SampleInputs.from_term(term, network))


def failed(lines):
    return [name for name, (verdict, _) in lines.items() if verdict == "FAILED"]


# Sound terms.


def test_a_sound_term_passes():
    lines = verdicts(Contrast())
    assert list(lines) == [
        *("pytree", "fields", "scalar", "gradient", "minimum", "vmap", "weight"),
        *("size", "degenerate"),
    ]
    assert {verdict for verdict, _ in lines.values()} == {"ok"}
    assert lines["pytree"][1] == "leaves: 2, all numbers; static fields: 2"


def test_a_style_term_passes_with_its_network_and_regions(network):
    lines = verdicts(nst_jax.Gram(layers=("relu1_1",)), lambda: network)
    assert [verdict for verdict, _ in lines.values()] == ["ok"] * 10
    assert "at the style itself" in lines["minimum"][1]
    assert "one region is off by" in lines["regions"][1]


def test_a_content_term_is_checked_at_the_content(network):
    content = nst_jax.Content(layers=("relu1_1",))
    line = run_check(behaviour.check_minimum, content, network)
    assert line.verdict == "ok"
    assert line.text.startswith("0.0e+00 at the content itself")


def test_a_term_without_a_target_gets_a_remark():
    line = run_check(behaviour.check_minimum, nst_jax.TotalVariation())
    assert line.verdict == "remark" and line.text.startswith("it has no target")
    assert line.text.endswith("0 at flat grey")


def test_the_weight_of_a_term_is_ignored():
    """An axis often starts at weight 0."""
    assert SampleInputs.from_term(Contrast(weight=0.0), None) == SampleInputs(
        Contrast(), None
    )


def test_rounding_to_float32_within_a_term_passes():
    @nst_jax.term
    class Rounded(Contrast):
        def measure(self, image):
            return super().measure(image.astype(jnp.float32))

    assert run_check(behaviour.check_gradient, Rounded()).verdict == "ok"


# Faults.


@jax.custom_vjp
def half(x):
    return x


half.defvjp(lambda x: (x, None), lambda _, cotangent: (0.99 * cotangent,))


@nst_jax.term
class WrongGradient(Contrast):
    """The gradient is one per cent too small."""

    def __call__(self, view, target):
        return half(super().__call__(view, target))


class Undecorated(Contrast):
    sharpness: float = 2.0


@custom_vmap
def shared(x):
    return x


@shared.def_vmap
def _shared_over_a_batch(axis_size, in_batched, x):
    return x / axis_size, in_batched[0]


@nst_jax.term
class OfTheBatch(Contrast):
    """The loss is divided by the number of images in its batch."""

    def __call__(self, view, target):
        ones = jax.lax.stop_gradient(jnp.ones_like(view.image[0, 0, 0]))
        return super().__call__(view, target) * shared(ones + 0 * target)


@nst_jax.term
class LeafDecides(Contrast):
    sharpness: float = 2.0

    def __call__(self, view, target):
        if self.sharpness > 1:
            return super().__call__(view, target)
        return view.image.sum()


@nst_jax.term
class PictureDecides(Contrast):
    def __call__(self, view, target):
        return super().__call__(view, target) if view.image[0, 0, 0] > 0 else target


@nst_jax.term
class Root(Contrast):
    """A standard deviation, which has no gradient at 0."""

    def measure(self, image):
        return jnp.sqrt(super().measure(image))


@nst_jax.term
class Offset(Contrast):
    def __call__(self, view, target):
        return super().__call__(view, target) + 0.01


@nst_jax.term
class Unsquared(Contrast):
    """Negative if an image has less contrast than the target."""

    def __call__(self, view, target):
        return self.measure(view.image) - target


@nst_jax.term
class Row(Contrast):
    def __call__(self, view, target):
        return ((view.image - target) ** 2).mean((0, 1))


@nst_jax.term
class WeightTwice(Contrast):
    def __call__(self, view, target):
        return self.weight * super().__call__(view, target)


@nst_jax.term
class Counted(Contrast):
    """A step function, whose gradient is 0."""

    def measure(self, image):
        return (image > 0.5).mean(dtype=image.dtype)


@nst_jax.term
class Wordy(Contrast):
    mode: str = "soft"


@nst_jax.term
class Unhashable(Contrast):
    shifts: list = static(default_factory=lambda: [1, 2])


@nst_jax.term
class Leaves(Contrast):
    def measure(self, image):
        raise SystemExit(0)


@nst_jax.term
class Leaving(Contrast):
    def measure(self, image):
        return jnp.asarray(np.asarray(image).mean())


@nst_jax.term
class Broken(Contrast):
    def measure(self, image):
        return image.reshape(7, 7).mean()


def test_a_switch_that_is_not_static_is_refused_at_construction():
    with pytest.raises(
        nst_jax.RequestError,
        match="mode must be a number.* declare a switch with nst_jax.static",
    ):
        Wordy()


@pytest.mark.parametrize(
    ("term", "line", "sentence"),
    [
        (WrongGradient, "gradient", "off by 1.0e-02 from central differences"),
        (Undecorated, "pytree", "write @nst_jax.term above the class"),
        (OfTheBatch, "vmap", "from a loop over 3 images"),
        (LeafDecides, "fields", "leaf 'sharpness', .* declare it static"),
        (PictureDecides, "fields", "value of a pixel or feature, .* jnp.where"),
        (Root, "degenerate", "at 23×17 px for the canvas flat grey and the target"),
        (Offset, "minimum", "1.0e-02 at the style itself.* must be 0"),
        (Unsquared, "minimum", "must not be lower elsewhere"),
        (Row, "scalar", r"contrast must be one real number, got shape \(3,\)"),
        (WeightTwice, "weight", "twice the weight is 4 times the loss"),
        (Counted, "gradient", "it is 0 in every direction"),
        (
            Unhashable,
            "pytree",
            "'shifts' is a list, which cannot be hashed; use a tuple",
        ),
        (Broken, "fields", "TypeError: cannot reshape array of shape"),
        (Leaves, "fields", "SystemExit: 0"),
        (Leaving, "fields", "converts a pixel or feature to NumPy.*jax.numpy"),
        (lambda: check, "pytree", "function is not an nst_jax.Term"),
    ],
)
def test_a_fault_fails_one_check_only(term, line, sentence):
    lines = verdicts(term())
    assert failed(lines) == [line]
    assert re.search(sentence, lines[line][1])


@nst_jax.term
class Blind(nst_jax.Term):
    """A term that does not name its layer."""

    name: str = static(default="blind")

    def __call__(self, view, target):
        return view.features["relu1_1"].mean()


def test_an_undeclared_layer_is_named_with_a_remedy():
    text = verdicts(Blind())["fields"][1]
    assert "'relu1_1': the term uses a layer that is not in its field layers" in text
    with pytest.raises(nst_jax.RequestError, match="add 'relu1_1' there"):
        nst_jax.build(small_experiment(Blind()))


def small_experiment(term):
    return nst_jax.Experiment(
        "samples/chelsea.png", ("samples/swirls.jpg",), (term,), size=16, steps=0
    )


@pytest.mark.parametrize(
    ("term", "field"), [(LeafDecides, "sharpness"), (PictureDecides, None)]
)
def test_a_plan_gives_the_same_hint_as_the_check(term, field):
    hint = verdicts(term())["fields"][1]
    with pytest.raises(nst_jax.RequestError) as caught:
        nst_jax.build(small_experiment(term()))
    assert str(caught.value) == f"terms (contrast): {hint}"
    assert "jnp.where" in hint
    assert ("declare it static" in hint) == (field is not None)


def test_a_loss_that_depends_on_the_size_gets_a_remark():
    @nst_jax.term
    class Summed(Contrast):
        def measure(self, image):
            return super().measure(image) * image.shape[0]

    line = run_check(behaviour.check_size, Summed())
    assert line.verdict == "remark" and "4 times the loss of 40×32 px" in line.text


@nst_jax.term
class Means(nst_jax.StyleTerm):
    layers: tuple[str, ...] = static(default=("relu1_1",))

    def statistic(self, features):
        return features.mean((0, 1))

    def distance(self, statistic, target):
        return ((statistic - target) ** 2).mean()


@nst_jax.term
class Normalised(Means):
    """NaN where a region is empty."""

    def statistic(self, features, weights=None):
        if weights is None:
            return super().statistic(features)
        return (features * (weights / weights.sum())[..., None]).sum((0, 1))


@nst_jax.term
class Unweighted(Means):
    """A sum in place of a mean: one region differs from none."""

    def statistic(self, features, weights=None):
        weights = jnp.full(features.shape[:2], 1 / 7) if weights is None else weights
        return (features * weights[..., None]).sum((0, 1))


def test_a_statistic_without_weights_gets_a_remark(network):
    line = run_check(behaviour.check_regions, Means(), network)
    assert line.verdict == "remark" and "takes no weights" in line.text


@pytest.mark.parametrize(
    ("term", "sentence"),
    [(Normalised, "its weights are all 0"), (Unweighted, "one region is off by")],
)
def test_wrong_regions_fail(term, sentence, network):
    line = run_check(behaviour.check_regions, term(), network)
    assert line.verdict == "FAILED" and sentence in line.text


def test_sample_images_are_the_same_at_any_size():
    small, large = sample_image(3), sample_image(3, (96, 120))
    blocks = large.reshape(32, 3, 40, 3, 3)[:, 1, :, 1]
    np.testing.assert_allclose(small, blocks, atol=1e-12)
    for one, other in itertools.combinations(map(sample_image, range(4)), 2):
        assert abs(one.mean() - other.mean()) > 0.005
        assert abs(one.std() - other.std()) > 0.005
        assert np.abs(one - other).mean() > 0.1


# The command.

FILE = """
import dataclasses
import nst_jax
from neighbour import power


@nst_jax.term
class Grey(nst_jax.Term):
    def target(self, content, styles):
        return content.image.mean()

    def __call__(self, view, target):
        return abs(view.image.mean() - target) ** power


@nst_jax.term
class Worse(Grey):
    def __call__(self, view, target):
        return super().__call__(view, target) + 1


@nst_jax.term
class Needy(nst_jax.Term):
    angle: float = dataclasses.field(kw_only=True)


def helper():
    pass
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", sys.path.copy())
    (tmp_path / "neighbour.py").write_text("power = 2")
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


def test_the_command_prints_a_line_for_each_check(file, capsys):
    assert command.main(["check", f"{file}:Grey"]) == 0
    assert command.main(["check", f"{file}:Grey", f"{file}:Worse"]) == 1
    out = capsys.readouterr().out
    assert out.count(f"{file}:Grey\n  ok     pytree: leaves: 1, all numbers") == 2
    assert "\n  FAILED minimum: 1.0e+00 at the content itself" in out
    assert out.count("FAILED") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name a term: FILE.py:CLASS or package.module:CLASS"),
        (["{file}"], "a term must be FILE.py:CLASS or package.module:CLASS, got"),
        (["{file}:Gray"], "has no class 'Gray'; did you mean 'Grey'"),
        (["{file}:helper"], "has no class 'helper'"),
        (["{file}:Needy"], "'angle'); give each field a default"),
        (["{file}s.py:Grey"], "no file"),
        (
            ["nst_jax.loses:Gram"],
            "ModuleNotFoundError: No module named 'nst_jax.loses'",
        ),
        (["{file}:Grey", "{broken}:X"], "ZeroDivisionError: division by zero"),
    ],
)
def test_a_wrong_request_is_one_sentence(arguments, sentence, file, capsys):
    broken = file.with_name("broken.py")
    broken.write_text("1 / 0")
    given = [argument.format(file=file, broken=broken) for argument in arguments]
    assert command.main(["check", *given]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("nst_jax.check: ") and err.count("\n") == 1
    assert sentence in err


def test_a_wrong_flag_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as raised:
        command.parse_flags(["check", "--nonsense=1"])
    assert raised.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
