"""The map of the house, held by its imports."""

import ast
import pathlib

import pytest
from conftest import ROOT

PACKAGE = ROOT / "nst_jax"

#: From the ground up: a room may import from rooms before it, never after.
FLOORS = (
    "errors",
    "picture",
    "representation",
    "pytree",
    "keys",
    "numerics",
    "preprocessing",
    "winograd",
    "convolution",
    "layers",
    "vgg",
    "guides",
    "losses",
    "parametrisation",
    "solvers",
    "tiles",
    "transfer",
    "strategies",
    "memory",
    "diagnosis",
    "batching",
    "ensemble",
    "observer",
    "progress",
    "result",
    "weights",
    "image",
    "guided_filter",
    "colour",
    "atomic",
    "decoder",
    "paths",
    "io",
    "draft",
    "fields",
    "masks",
    "film",
    "canvas",
    "plain",
    "axes",
    "options",
    "ladder",
    "experiment",
    "variant",
    "presets",
    "group",
    "stages",
    "reader",
    "build",
    "forecast",
    "advice",
    "studies",
    "devices",
    "programs",
    "strict_json",
    "folder",
    "checkpoint",
    "metrics",
    "runfile",
    "manifest",
    "step_change",
    "records",
    "adoption",
    "report",
    "process",
    "runner",
    "shares",
    "cluster",
    "check",
    "flags",
    "__init__",
)
#: What the computation of one picture has nothing to do with.
EFFECTS = ("absl", "datetime", "io", "ml_collections", "os", "pathlib", "PIL", "random")
PURE = FLOORS[: FLOORS.index("transfer") + 1]


def room(path):
    if path == PACKAGE / "losses" / "check.py":
        return "check"  # The command lies beside what it checks, and is no part of it.
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Every module that a file names in an import, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    here = FLOORS.index(room(path))
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "nst_jax" and len(parts) > 1 and parts[1] in FLOORS:
            there = FLOORS.index(parts[1])
            assert there <= here, f"{room(path)} imports {parts[1]}, which is above it"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room(path) in PURE],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_one_picture_is_computed_without_effects(path):
    assert not {name.split(".")[0] for name in imports(path)} & set(EFFECTS)
    assert "time" not in set(imports(path))


def test_nothing_below_build_sees_a_config():
    below = FLOORS[: FLOORS.index("experiment")]
    for path in FILES:
        if room(path) in below:
            assert not any("experiment" in name for name in imports(path)), path


def test_modules_have_one_noun():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 420, f"{path} is long"
    assert not list(PACKAGE.rglob("utils.py"))


def test_the_public_names_are_few_and_documented():
    import nst_jax

    names = [
        node.asname
        for statement in ast.parse((PACKAGE / "__init__.py").read_text()).body
        if isinstance(statement, ast.ImportFrom)
        for node in statement.names
    ]
    assert 25 <= len(names) <= 48
    for name in names:
        assert getattr(nst_jax, name).__doc__, name


def test_no_path_of_a_machine_is_in_the_project():
    for path in [*FILES, *ROOT.glob("*.md"), *ROOT.glob("configs/*.py")]:
        text = path.read_text()
        assert str(pathlib.Path.home()) + "/" not in text.replace("~/", ""), path
