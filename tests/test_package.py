"""The package shows its layers, has a thin core, is light to import, and documented."""

import ast
import io
import subprocess
import sys
import tokenize
from importlib import import_module
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hpkit"
FILES = sorted(PACKAGE.rglob("*.py"))
each_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: str(path.relative_to(PACKAGE).with_suffix(""))
)
# What a reader has to know: it reads like the chapters, and depends on nothing above it.
CORE = [
    "data/patches",
    "data/noise",
    "data/strips",
    "networks/layers",
    "networks/unet",
    "networks/l2net",
    "training/losses",
    "training/augment",
    "training/samplers",
    "training/optimizers",
    "training/fit",
    "evaluation/describe",
    "evaluation/precision",
    "evaluation/scores",
    "experiments/configs",
    "experiments/build",
    "experiments/runs",
]
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
          tokenize.ENDMARKER}


def definitions(path):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


def lines_of_code(path):
    """Numbers of the lines that hold code: no comment, blank line or docstring."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    lines = {line for t in tokens if t.type not in LAYOUT
             for line in range(t.start[0], t.end[0] + 1)}
    for node in definitions(path):
        if ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def test_each_layer_knows_only_those_below_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", is_debug_mode=False) == 0


def test_the_core_is_thin():
    assert sum(len(lines_of_code(PACKAGE / f"{name}.py")) for name in CORE) <= 2150


def test_a_name_has_one_home():
    """No module hands on what another defines, but for the lazy face."""
    for path in FILES:
        text = path.read_text()
        assert "__all__" not in text, path
        if path.name == "__init__.py" and path.parent != PACKAGE:
            tree = ast.parse(text)
            used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
            imported = {a.asname or a.name for n in tree.body
                        if isinstance(n, ast.ImportFrom) for a in n.names}
            assert imported <= used, f"{path} hands on {imported - used}"
    unused = [sys.executable, "-m", "ruff", "check", "--select", "F401,F811", "--quiet", PACKAGE]
    assert subprocess.run(unused, cwd=ROOT).returncode == 0


@each_file
def test_functions_fit_on_a_screen(path):
    long = [f"{node.name}: {node.end_lineno - node.lineno + 1} lines" for node in definitions(path)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno - node.lineno >= 35]
    assert not long, long


@each_file
def test_public_names_are_documented_and_typed(path):
    public = [node for node in ast.parse(path.read_text()).body
              if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
              and not node.name.startswith("_")]
    for node in public:
        assert ast.get_docstring(node), f"{node.name}: no docstring"
        if not isinstance(node, ast.ClassDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            untyped = [argument.arg for argument in arguments if argument.annotation is None]
            assert node.returns is not None and not untyped, f"{node.name}: {untyped or 'returns'}"


@pytest.mark.slow
@pytest.mark.parametrize("code", [
    "import hpkit, hpkit.data.sets, hpkit.data.photos, hpkit.lessons.widgets",
    "import hpkit.__main__, hpkit.book.executed",
])
def test_what_needs_no_torch_does_not_load_it(code):
    code += "; import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_face_gives_what_it_names_and_nothing_else():
    import hpkit

    for name, module in hpkit.FACE.items():
        assert getattr(hpkit, name).__module__ == module
        assert name in dir(hpkit)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = hpkit.lode


# Names that recorded results, chapters and what readers wrote depend on. Entries may be added.
REGISTRIES = {
    "data.sets:DATA_SETS": "photos scenes hpatches",
    "networks.layers:INITIALIZERS":
        "he_normal lecun_uniform xavier_normal xavier_uniform orthogonal",
    "networks.registry:DENOISERS": "unet unet++ framing",
    "networks.registry:DESCRIPTORS": "l2net joint",
    "training.augment:AUGMENTATIONS": "none flips flips_invert",
    "training.augment:NOISE_MODELS": "gaussian",
    "training.losses:DENOISER_LOSSES": "mae mse charbonnier ssim",
    "training.losses:DESCRIPTOR_LOSSES": "triplet anchor_swap hardest hardest_all hardest_sos",
    "training.optimizers:OPTIMIZERS": "sgd rmsprop adam adamax nadam adadelta adamw",
    "training.optimizers:SCHEDULES": "constant decay warmup warmup_decay",
    "evaluation.baselines:BASELINES": "raw pixels|SIFT|RootSIFT",
    "evaluation.baselines:FILTERS": "non-local means",
    "experiments.claims:CLAIMS": "C1 C2 C3 C4a C4b C5 C6 C7 C8 C9 C10 C11 C12",
    "__main__:COMMANDS":
        "match book site download export evaluate class marks colab record",
}


@pytest.mark.parametrize("home", REGISTRIES)
def test_no_registry_has_lost_an_entry(home):
    module, name = home.split(":")
    entries = list(getattr(import_module(f"hpkit.{module}"), name))
    between = "|" if name in ("BASELINES", "FILTERS") else " "
    expected = REGISTRIES[home].split(between)
    assert [entry for entry in entries if entry in expected] == expected
