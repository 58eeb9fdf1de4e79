"""The order of the package's folders, held by its imports."""

import ast
import re

import pytest
from command_line import ROOT

PACKAGE = ROOT / "nst_jax"

#: A folder imports from folders before it, never from folders after it.
FOLDERS = (
    "core",
    "models",
    "losses",
    "images",
    "metrics",
    "optim",
    "check",
    "ensemble",
    "config",
    "plan",
    "workdir",
    "studies",
    "report",
    "launch",
)
#: Modules that the computation of one picture must not import.
EFFECTS = ("absl", "datetime", "io", "os", "pathlib", "PIL", "random")
#: The folders whose modules compute one picture.
PURE_FOLDERS = ("models", "losses", "optim")
#: Reads a file.
IMPURE_MODULE = PACKAGE / "models" / "weights.py"


def folder(path):
    return path.relative_to(PACKAGE).parts[0]


def imports(path):
    """Every module that a file names in an import, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


FILES = sorted(PACKAGE.rglob("*.py"))
#: The public names, and what `python -m nst_jax` runs.
ROOT_FILES = {"__init__.py", "__main__.py"}
MODULES = [path for path in FILES if path.parent != PACKAGE]


def test_the_root_holds_folders_alone():
    assert {path.name for path in PACKAGE.glob("*.py")} == ROOT_FILES
    assert {folder(path) for path in MODULES} == set(FOLDERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    allowed = FOLDERS[: FOLDERS.index(folder(path)) + 1]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "nst_jax" and len(parts) > 1 and parts[1] in FOLDERS:
            assert parts[1] in allowed, f"{path} imports {name}"


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if folder(p) in PURE_FOLDERS and p != IMPURE_MODULE],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_one_picture_is_computed_without_effects(path):
    assert not {name.split(".")[0] for name in imports(path)} & set(EFFECTS)
    assert "time" not in set(imports(path))


def test_modules_are_short():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 350, f"{path} is long"
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
        assert not re.search(r"/(home|root|Users)/", text), path
