"""Set-up: what is promised to a fresh machine with Python 3.11 to 3.14, git and make."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
LINES = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line[0] != "#"]


def direct() -> list[Requirement]:
    """What pyproject.toml asks for, all extras and the build's own needs included."""
    lists = [PROJECT["project"]["dependencies"], PROJECT["build-system"]["requires"]]
    return [Requirement(line) for lines in [*lists, *EXTRAS.values()] for line in lines]


def locked(python: str) -> dict[str, str]:
    """Package -> version that the lock gives to this Python on this system."""
    version = {"python_version": python, "python_full_version": f"{python}.9"}
    requirements = [Requirement(line) for line in LINES]
    return {
        canonicalize_name(r.name): next(iter(r.specifier)).version
        for r in requirements
        if r.marker is None or r.marker.evaluate(version)
    }


def this_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def test_every_locked_requirement_has_one_exact_version():
    for line in LINES:
        assert [s.operator for s in Requirement(line).specifier] == ["=="], line
        assert "*" not in str(Requirement(line).specifier), line


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_satisfies_the_ranges_of_pyproject(python):
    versions = locked(python)
    for requirement in direct():
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}, locked at {version}"


def test_lock_is_complete():
    """Following what each installed package asks for never leaves the lock (CUDA aside)."""
    versions, todo, seen = locked(this_python()), direct(), set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (key := (name, *sorted(requirement.extras))) in seen or name.startswith(
            ("nvidia", "cuda", "triton")
        ):
            continue
        seen.add(key)
        assert name in versions, f"{name} is not in requirements.lock: run `make lock`"
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                todo.append(needed)


def test_installed_versions_are_the_locked_ones():
    different = {}
    for name, version in locked(this_python()).items():
        installed = importlib.metadata.version(name).split("+")[0]  # torch 2.13.0+cpu
        if installed != version:
            different[name] = f"{installed} installed, {version} locked"
    assert not different, "run `make install`"


def test_sources_are_valid_for_the_oldest_python():
    for path in [*ROOT.glob("hpkit/**/*.py"), *ROOT.glob("tests/**/*.py")]:
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 11))


def test_conda_file_says_nothing_but_one_of_the_pythons():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    *from_conda, from_pip = conda["dependencies"]
    assert from_conda in [[f"python={python}", "pip"] for python in PYTHONS]
    assert from_pip == {"pip": [f"-e .[{','.join(EXTRAS)}]"]}


def test_make_help_lists_every_target():
    command = ["make", "--no-print-directory", "help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split()
    assert [line.split()[1] for line in shown.stdout.splitlines()] == ["help", *targets[1:]]


def test_ci_runs_every_python_and_the_lowest_versions():
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]
    runs = {name: [step["run"] for step in job["steps"] if "run" in step]
            for name, job in jobs.items()}
    assert runs == {"all": [".ci/run"], "quick": ["make check"], "lowest": ["make lowest"]}
    one = {step["with"]["python-version"] for name in ("all", "lowest")
           for step in jobs[name]["steps"] if "python-version" in step.get("with", {})}
    assert one == {PYTHONS[0]}
    assert jobs["quick"]["strategy"]["matrix"]["python"] == list(PYTHONS[1:])
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
    assert f"--python-version {PYTHONS[0]} " in (ROOT / "Makefile").read_text()


def test_every_range_has_a_lowest_version():
    """What `make lowest` installs."""
    for requirement in direct():
        assert [s.operator for s in requirement.specifier] == [">="], requirement


@pytest.mark.parametrize("version", ["3.9.2", "3.10.19", "3.15.0"])
def test_make_refuses_another_python_in_one_sentence(tmp_path, version):
    other = tmp_path / "python3"
    number = version.replace(".", ", ")
    as_if = f"import sys; sys.version_info = ({number}); exec(sys.argv[1])"
    other.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python {version} && exit\n'
                     f'exec {sys.executable} -c "{as_if}" "$2"\n')
    other.chmod(0o755)
    command = ["make", "--no-print-directory", "install", f"PYTHON={other}"]
    command += [f"VENV={tmp_path / 'venv'}"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2 and not (tmp_path / "venv").exists()
    assert refused.stdout.startswith(f"hpkit needs Python {PYTHONS[0]} to {PYTHONS[-1]}, and ")
    assert f"is Python {version}: name another one" in refused.stdout


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_without_a_chromium_one_line_says_what_is_skipped(tmp_path):
    tests = ["tests/slow/test_browser.py", "-p", "no:cacheprovider"]
    run = subprocess.run([sys.executable, "-m", "pytest", *tests], cwd=ROOT, capture_output=True,
                         text=True, env=os.environ | {"PATH": str(tmp_path)})
    said = [line for line in run.stdout.splitlines() if "no Chromium" in line]
    assert run.returncode == 0 and "passed" not in run.stdout
    assert len(said) == 1 and said[0].endswith("skipped: no Chromium: apt-get install chromium")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("python", [python for python in PYTHONS if python != this_python()])
def test_lock_has_a_wheel_of_each_package_for(python, tmp_path):
    """Nothing is installed; torch is left out, since pip would fetch its 500 MB to read on."""
    wanted = [f"{n}=={v}" for n, v in locked(python).items() if n != "torch"]
    (tmp_path / "wanted.txt").write_text("\n".join(wanted))
    options = ["--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:"]
    options += [f"--python-version={python}", "--target", tmp_path / "never"]
    # pip holds what a package says of Python against the running one: that is checked below
    options += ["--ignore-requires-python", "--report", tmp_path / "report.json"]
    pip = [sys.executable, "-m", "pip", "install", "-qq", *options, "-r", tmp_path / "wanted.txt"]
    found = subprocess.run(pip, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2000:]
    packages = [
        p["metadata"] for p in json.loads((tmp_path / "report.json").read_text())["install"]
    ]
    assert len(packages) == len(wanted)
    for package in packages:
        assert f"{python}.9" in SpecifierSet(package.get("requires_python", "")), package["name"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_the_conda_file_gives_to_pip_installs_and_imports(tmp_path):
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--no-compile", "-c", "requirements.lock"]
    arguments = " ".join(conda["dependencies"][-1]["pip"]).split()
    subprocess.run([*pip, *arguments], cwd=ROOT, check=True)
    names = [canonicalize_name(r.name) for r in direct() if r.name != "setuptools"]
    imports = (
        "import importlib, importlib.metadata as m, hpkit, sys\n"
        "of = {d.lower().replace('_', '-'): k for k, v in m.packages_distributions().items()"
        " for d in v if not k.startswith('_')}\n"
        "[importlib.import_module(of[name]) for name in sys.argv[1:]]"
    )
    subprocess.run([python, "-c", imports, *names], cwd=tmp_path, check=True)
