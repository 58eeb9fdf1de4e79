"""`python -m nst_jax` is the command `nst-jax`."""

from nst_jax.launch.cli import main

if __name__ == "__main__":
    main()
