"""The code of README and docs runs as it stands, and its links and pictures exist."""

import functools
import itertools
import re
import tomllib

import numpy as np
import pytest
from command_line import ROOT, launch
from narrow_weights import use_narrow_weights

import nst_jax
from nst_jax.check import __main__ as check

README, GUIDE, GALLERY, CONVENTIONS = (
    (ROOT / page).read_text()
    for page in ("README.md", "docs/guide.md", "docs/gallery.md", "docs/conventions.md")
)
PAGES = [
    path
    for folder in ("", "docs", "weights", "samples")
    for path in sorted((ROOT / folder).glob("*.md"))
]


def blocks(language, *texts):
    """Return the fenced code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", "".join(texts), re.DOTALL)


GRID, LOSS = blocks("python", README)
(TRANSFER,) = blocks("python", GUIDE)
COMMANDS = blocks("bash", README, GUIDE)


def test_the_python_example_makes_eight_pictures(tmp_path, monkeypatch):
    """With a small network, because the figures of the real one do not matter."""
    weights = use_narrow_weights(monkeypatch, tmp_path)
    load = functools.partial(nst_jax.load_network, weights)
    monkeypatch.setattr(nst_jax, "load_network", load)
    names = {}
    exec(TRANSFER, names)
    canvases = names["result"].canvas
    assert canvases.shape == (8, *names["content"].shape)
    first, last = names["result"].history[0].loss, names["result"].history[-1].loss
    assert (last < 0.2 * first).all()
    assert np.abs(canvases[0] - canvases[1]).max() > 0.05


def test_the_grid_is_built():
    exec(GRID, {})


def test_the_preset_example_is_built(monkeypatch):
    """The samples for a reader's pictures, at a small size."""
    plans = []
    monkeypatch.setattr(nst_jax, "execute", lambda plan, workdir: plans.append(plan))
    (code,) = blocks("python", CONVENTIONS)
    code = code.replace("me.jpg", "samples/coffee.png").replace("size=512", "size=64")
    exec(code.replace("painting.jpg", "samples/swirls.jpg"), {})
    (group,) = plans[0].groups
    assert group.objectives[0].terms[1].weight == 1000.0


def test_every_config_is_in_the_gallery():
    configs = {path.stem for path in (ROOT / "configs").glob("*.py")}
    assert set(re.findall(r"\(\.\./configs/(\w+)\.py\) \|", GALLERY)) == configs
    assert set(re.findall(r'src="images/(\w+)\.jpg"', GALLERY)) == configs
    for name in configs:
        assert (ROOT / "docs" / "images" / f"{name}.jpg").is_file(), name


def test_the_loss_of_ones_own_is_the_config_s():
    """Class and imports, letter by letter."""
    config = (ROOT / "configs" / "extend_my_loss.py").read_text()
    _, _, code = config.partition('"""\n\n')
    code, _, _ = code.partition("\n\n\ndef get_config")
    assert code + "\n" == LOSS


def test_the_loss_of_ones_own_is_part_of_an_objective(network):
    """Against the shares of pixels counted one level after the other."""
    names = {}
    exec(LOSS, names)
    term = names["Palette"](weight=100.0, sharpness=9.0, levels=4)
    rng = np.random.default_rng(0)
    canvas, style = rng.random((2, 20, 20, 3), np.float32)
    objective = nst_jax.Objective((nst_jax.Gram(layers=("relu1_1",)), term))
    targets = objective.targets(network, canvas, [style])
    _, parts = objective(network, canvas, targets)
    expected = 0.0
    for level in itertools.product(np.linspace(0, 1, 4), repeat=3):
        steps = [1 / (1 + np.exp(-9.0 * (level - x))) for x in (canvas, style)]
        mine, goal = (step.prod(-1).mean() for step in steps)
        expected += 100 * (mine - goal) ** 2 / 4**3
    np.testing.assert_allclose(parts["palette"], expected, rtol=1e-3)


def test_the_loss_of_ones_own_is_sound(capsys):
    """The command as it stands, in this process."""
    (command,) = (c for c in COMMANDS if "nst_jax.check" in c)
    python, flag, module, *terms = command.split()
    assert (python, flag, module) == (".venv/bin/python", "-m", "nst_jax.check")
    assert check.main([module, *terms]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == terms[0]
    assert len(lines) == 10 and all(line.startswith("  ok ") for line in lines[1:])


def test_the_two_commands_set_up_and_run():
    """`.ci/run` runs them; here it is held that they are what it finds."""
    ci = (ROOT / ".ci" / "run").read_text()
    for mark in ("main-job", "tests"):
        assert f"block {mark}" in ci
        assert f"<!-- {mark} -->\n```bash\npython3 -m venv .venv && " in README


#: A flag for programs that compile fast, without a line search.
ADAM = "--config.solver.name=adam"
LAUNCHES = [c for c in COMMANDS[2:] if "launch.py" in c and "--shard" not in c]


@pytest.mark.parametrize("command", LAUNCHES)
def test_other_commands_have_flags_that_exist(command, tmp_path):
    """The first member, with the samples for a reader's pictures, and no steps."""
    flags = [f for f in command.split()[2:] if not f.startswith("--workdir")]
    flags = [flag.replace("me.jpg", "samples/coffee.png") for flag in flags]
    flags = [flag.replace("painting.jpg", "samples/swirls.jpg") for flag in flags]
    small = "--config.steps=0", "--config.size=80", "--members=0", ADAM
    workdir = f"--workdir={tmp_path / 'run'}"
    status, _, err = launch(*flags, *small, workdir, narrow=True)
    assert status == 0, err


def test_shares_are_joined(tmp_path):
    """The commands as they stand but for their folders, and no steps."""
    (block,) = (c for c in COMMANDS if "--shard" in c)
    for command in block.replace("runs/", f"{tmp_path}/").splitlines():
        small = "--config.steps=0", "--config.size=48", ADAM
        status, out, err = launch(*command.split()[2:], *small, narrow=True)
        assert status == 0, err
    assert f"done: {tmp_path}/both" in out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Files exist, and so do the headings that links name."""
    text = page.read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if target.startswith("http"):
            continue
        path, _, heading = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if heading:
            assert heading in headings(linked.read_text()), target


def headings(text):
    """Return the anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert set(re.findall(r"^\| \[\w+\]\((\w+\.md)\) \|", index, re.M)) == pages


def test_citation_matches_the_package():
    text = (ROOT / "CITATION.cff").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for field in ("version", "license"):
        assert f"\n{field}: {project[field]}\n" in text
