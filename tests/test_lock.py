"""The lock is whole and consistent, for every Python the project supports; read off the installed environment."""

import platform
import re
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.conftest import PROJECT

PYTHONS = ["3.11.0", "3.11.9", "3.12.0"]


def environment(python):
    minor = python.rpartition(".")[0]
    return {"python_version": minor, "python_full_version": python, "sys_platform": "linux", "extra": ""}


def requirements(name):
    lines = (PROJECT / name).read_text().splitlines()
    return [Requirement(text) for line in lines if (text := line.split(" #")[0].strip()) and not text.startswith("#")]


def pins(name, python):
    """Return the version the lock gives each package on this Python."""
    found = [pin for pin in requirements(name) if not pin.marker or pin.marker.evaluate(environment(python))]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in found}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_line_is_one_exact_pin(name):
    for pin in requirements(name):
        assert re.fullmatch(r"==[\w.+!]+", str(pin.specifier)), pin
        assert pin.url is None


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("chosen", "lock"), [("requirements-data.txt", "requirements.lock"), ("requirements.txt", "requirements.lock")]
)
def test_what_we_chose_is_locked_within_its_bounds(chosen, lock, python):
    locked = pins(lock, python)
    for requirement in requirements(chosen):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)], prereleases=True), (
            requirement
        )


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_of_every_pin_is_locked_within_its_bounds(python):
    """The installed packages' own metadata, evaluated for each Python: nothing is missing, nothing contradicts."""
    locked = pins("requirements.lock", python)
    wanted = [(Requirement(line).name, extra) for line in locked for extra in [""]]
    wanted += [
        (requirement.name, extra)
        for chosen in ("requirements-data.txt", "requirements.txt")
        for requirement in requirements(chosen)
        for extra in requirement.extras
    ]
    seen = set()
    while wanted:
        name, extra = wanted.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        for line in installed_requirements(name):
            needed = Requirement(line)
            if needed.marker and not needed.marker.evaluate({**environment(python), "extra": extra}):
                continue
            version = locked.get(canonicalize_name(needed.name))
            assert version, f"{name} needs {needed}, which the lock lacks on Python {python}"
            assert needed.specifier.contains(version, prereleases=True), (
                f"{name} needs {needed}, the lock has {version}"
            )
            wanted += [(needed.name, inner) for inner in ["", *needed.extras]]


def installed_requirements(name):
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []  # locked for another platform or Python


def test_validating_needs_nothing_but_what_the_data_requirements_bring():
    """A pre-commit hook installs these alone: here everything else is as good as absent."""
    present, wanted = {"gemini-tuning"}, requirements("requirements-data.txt")
    while wanted:
        needed = wanted.pop()
        name = canonicalize_name(needed.name)
        if name not in present and (not needed.marker or needed.marker.evaluate({"extra": ""})):
            present.add(name)
            wanted += [Requirement(line) for line in installed_requirements(name)]
    absent = [
        module
        for module, makers in metadata.packages_distributions().items()
        if not present.intersection(map(canonicalize_name, makers))
    ]
    broken = PROJECT / "include" / "datasets" / "support_replies_broken" / "train.jsonl"
    code = f"""import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from gemini_tuning.cli import main
sys.exit(main(["validate", {str(broken)!r}, "--model", "gemini-2.5-flash"]))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Dataset rejected" in done.stdout


def test_what_is_installed_is_what_is_locked():
    for lock in ("requirements.lock", "requirements-dev.lock"):
        for name, version in pins(lock, platform.python_version()).items():
            assert metadata.version(name) == version, name
