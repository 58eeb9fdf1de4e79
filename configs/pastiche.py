"""The computation of the tool pastiche, for any pictures and any size.

    python launch.py --config=configs/pastiche.py \
        --config.content=samples/astronaut.png --config.styles=samples/woodcut.jpg

The exact loss: content relu4_2, 0.01 times the mean squared error; style relu1_1 to
relu5_1, 10/C² times the mean squared difference of FFᵀ/M; max pooling, no variation
term, from the content picture, pictures resized by Pillow's bilinear filter. Its L-BFGS
keeps 100 pairs and makes one evaluation a step without a line search, as this one does;
the safeguards against divergence are ours.

With Tübingen and the Starry Night at 256 px the loss starts at 9701076 (measured with
pastiche 1.6.0), and pastiche itself is at 22463 after 150 iterations. At 256 px on two
CPU cores: about a minute.
"""

import nst_jax


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = nst_jax.preset(
        "pastiche",
        content="samples/chelsea.png",
        styles=("samples/swirls.jpg",),
        size=256,
        fit="long",
        steps=150,
    )
    return nst_jax.variant(config, arg)
