"""The checks of a term, in their order."""

from collections.abc import Callable, Iterator

import jax

from nst_jax.check import behaviour, structure
from nst_jax.check.result import FAILED, CheckResult
from nst_jax.check.sample_inputs import SampleInputs
from nst_jax.losses import Term
from nst_jax.losses.trace_errors import describe_exception
from nst_jax.models.vgg import Network

_Check = Callable[[SampleInputs], CheckResult | None]

#: If one of these fails, the checks of the behaviour cannot run.
STRUCTURE: dict[str, _Check] = {
    "fields": structure.check_fields,
    "scalar": structure.check_scalar,
}
BEHAVIOUR: dict[str, _Check] = {
    "gradient": behaviour.check_gradient,
    "minimum": behaviour.check_minimum,
    "vmap": behaviour.check_vmap,
    "weight": behaviour.check_weight,
    "size": behaviour.check_size,
    "degenerate": behaviour.check_degenerate,
    "regions": behaviour.check_regions,
}


def check(
    term: object, network: Callable[[], Network]
) -> Iterator[tuple[str, CheckResult]]:
    """Check what the optimisation assumes about a term.

    The checks use small synthetic images in float64, and the network's own weights. The
    term's weight is ignored.

    Args:
      term: a loss term.
      network: returns the network; called only if the term has layers.

    Yields:
      Name and result of each check. The first failure of the structure is the last
      result.
    """
    result = structure.check_pytree(term)
    yield "pytree", result
    if result.verdict == FAILED or not isinstance(term, Term):
        return
    inputs = SampleInputs.from_term(term, network() if term.layers else None)
    for name, run in (STRUCTURE | BEHAVIOUR).items():
        # Not around the loop, because the caller's code runs between the results.
        with jax.enable_x64(True):
            checked = _run(run, inputs)
        if checked is not None:
            yield name, checked
            if checked.verdict == FAILED and name in STRUCTURE:
                return


def _run(run: _Check, inputs: SampleInputs) -> CheckResult | None:
    try:
        return run(inputs)
    except (Exception, SystemExit) as error:  # A term's code may raise anything.
        return CheckResult(FAILED, describe_exception(error))
