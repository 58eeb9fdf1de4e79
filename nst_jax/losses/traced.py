"""What a term's own code raises while a program is traced, in words."""

import jax

from nst_jax.errors import RequestError
from nst_jax.vgg import canonical_layer

#: What JAX raises where Python asks for a number that is not there yet.
UNKNOWN = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def unknown(error: BaseException, leaf: str = "") -> str:
    """Describe one of `UNKNOWN`, and how to write the code instead.

    Args:
      error: it.
      leaf: the field whose number was asked for; "" for what is in a picture.
    """
    what = f"the leaf {leaf!r}" if leaf else "what is in a picture"
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return f"it takes {what} out of JAX, as np.asarray does; compute with jax.numpy"
    field = leaf.rpartition(".")[2]
    static = f"declare it static, {field}: … = nst_jax.static(…), or " if leaf else ""
    return (
        f"Python decides by {what}, which is unknown while the program is traced: "
        f"{static}let jnp.where decide"
    )


def raised(error: BaseException) -> str:
    """Describe any other exception in one line; one about a layer with its remedy."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    if isinstance(key, str) and _is_layer(key):
        return (
            f"{reason}: the term looks at a layer that its field layers does not "
            f"name; add {key!r} there"
        )
    return reason


def _is_layer(name: str) -> bool:
    try:
        canonical_layer(name)
    except RequestError:
        return False
    return True
