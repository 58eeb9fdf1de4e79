"""Check of the devices that JAX finds."""

import jax

from nst_jax.core.errors import RequestError


def check_devices() -> None:
    """Raise RequestError if there is no device of the kind in `jax_platforms`."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # The latter has no message.
        wanted = jax.config.jax_platforms  # type: ignore[attr-defined]
        reason = str(error).partition(" (")[0] or "no device of that kind is found"
        raise RequestError(f"jax_platforms is {wanted!r}: {reason}") from None
