"""Each knob of `deep_style.py` turned alone, on one sheet.

    python launch.py --config=configs/deep_style_knobs.py

Ten pictures: the middle setting, and one knob turned at a time. The sheet shows the
effect of each knob, and the page its distance from the middle. About four minutes on
two CPU cores.
"""

import pathlib
import runpy

import nst_jax

DEEP_STYLE = runpy.run_path(str(pathlib.Path(__file__).parent / "deep_style.py"))
FIELDS = ("depth", "style_weight", "style_scale", "preserve_colors", "enhance")
MIDDLE = (5, 50.0, 1.0, False, 0.0)
TURNED: dict[str, dict[str, int | float | bool]] = {
    "middle": {},
    "depth 2": {"depth": 2},
    "depth 3": {"depth": 3},
    "style 10 %": {"style_weight": 10.0},
    "style 90 %": {"style_weight": 90.0},
    "scale 0.5": {"style_scale": 0.5},
    "scale 2": {"style_scale": 2.0},
    "colours kept": {"preserve_colors": True},
    "enhance 50": {"enhance": 50.0},
    "enhance 100": {"enhance": 100.0},
}


def get_config(arg: str = "") -> nst_jax.Experiment:
    config = DEEP_STYLE["get_config"](arg)
    config.size = min(config.size, 160)
    turned = TURNED
    if arg == "smoke":
        turned = {name: TURNED[name] for name in ("middle", "colours kept")}
    config.axes = (
        nst_jax.Vary(
            FIELDS,
            tuple(
                tuple({**dict(zip(FIELDS, MIDDLE, strict=True)), **knobs}.values())
                for knobs in turned.values()
            ),
            labels=tuple(turned),
            name="knob",
        ),
    )
    return config
