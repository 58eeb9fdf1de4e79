"""What is looked at, and in which order."""

from collections.abc import Callable, Iterator

import jax

from nst_jax.check import behaviour
from nst_jax.check import structure as form
from nst_jax.check.result import FAILED, Line
from nst_jax.check.sample_inputs import SampleInputs
from nst_jax.losses import Term
from nst_jax.losses.trace_errors import raised
from nst_jax.models.vgg import Network

#: Where one of these fails, the others cannot be looked at.
FORM = (form.fields, form.scalar)
BEHAVIOUR = (
    behaviour.gradient,
    behaviour.own_target,
    behaviour.vmap,
    behaviour.weight,
    behaviour.size,
    behaviour.degenerate,
    behaviour.regions,
)


def check(term: object, network: Callable[[], Network]) -> Iterator[Line]:
    """Whether a term does what the optimisation presumes of it.

    On small made-up pictures, in float64; what the network sees in them it does see,
    with its own weights. The weight that the term has does not count.

    Args:
      term: as it is put into an objective.
      network: gives one; it is asked if the term has layers.

    Yields:
      A line for each thing, as soon as it is found. If the form of the term is wrong,
      that is the last one.
    """
    first = form.pytree(term)
    yield first
    if first.verdict == FAILED or not isinstance(term, Term):
        return
    inputs = SampleInputs.from_term(term, network() if term.layers else None)
    for look in (*FORM, *BEHAVIOUR):
        # Not around the loop: what is yielded goes to code of its own numerics.
        with jax.enable_x64(True):
            line = _looked(look, inputs)
        if line is not None:
            yield line
            if line.verdict == FAILED and look in FORM:
                return


def _looked(
    look: Callable[[SampleInputs], Line | None], inputs: SampleInputs
) -> Line | None:
    try:
        return look(inputs)
    except (Exception, SystemExit) as error:  # A term is code, and may raise anything.
        return Line(look.__name__.replace("_", " "), raised(error), FAILED)
