"""The devices that JAX computes on."""

import jax

from nst_jax.core.errors import RequestError


def check_devices() -> None:
    """Raises RequestError where JAX finds none of the kind that it was told to use."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # The latter without a word.
        wanted = jax.config.jax_platforms  # type: ignore[attr-defined]
        reason = str(error).partition(" (")[0] or "no device of that kind is found"
        raise RequestError(f"jax_platforms is {wanted!r}: {reason}") from None
