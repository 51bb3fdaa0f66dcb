"""The rules of the house: what may import what, and what importing costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gemini_tuning.pipeline import PipelineConfig

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "plugins" / "gemini_tuning"
SHELLS = ("hooks", "operators", "sensors", "triggers", "stages", "links", "airflow_errors", "airflow_state", "retries")
HEAVY = (
    "google.genai",
    "google.cloud.storage",
    "google.cloud.aiplatform",
    "google.auth",
    "airflow.providers.google.c",
)  # common and cloud; Airflow itself reads the provider's info


def module_name(path):
    return ".".join(path.relative_to(PROJECT / "plugins").with_suffix("").parts).removesuffix(".__init__")


MODULES = [module_name(path) for path in sorted(PACKAGE.rglob("*.py"))]
DOMAIN = [name for name in MODULES if not name.startswith(tuple(f"gemini_tuning.{shell}" for shell in SHELLS))]


def imported_after(modules, *prefixes):
    """Return the modules of these families that a fresh interpreter holds after importing ``modules``."""
    code = (
        f"import sys\nfor name in {modules!r}: __import__(name)\n"
        f"print(*(name for name in sys.modules if name.startswith({prefixes!r})))"
    )
    environment = {"PYTHONPATH": str(PROJECT / "plugins"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_domain_imports_neither_airflow_nor_a_heavy_client():
    assert len(DOMAIN) > 20
    assert imported_after(DOMAIN, "airflow", *HEAVY, "jsonschema", "requests", "httpx") == []


def test_what_dag_files_import_is_light():
    shells = [name for name in MODULES if name not in DOMAIN and ".hooks." not in name]
    assert imported_after(shells, *HEAVY) == []


@pytest.mark.parametrize("name", DOMAIN)
def test_the_domain_mentions_no_shell(name):
    path = PROJECT / "plugins" / Path(*name.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert not node.module.startswith(("airflow", *(f"gemini_tuning.{shell}" for shell in SHELLS)))


def test_airflow_never_loads_the_package_by_its_bare_file_names():
    assert (PROJECT / "plugins" / ".airflowignore").read_text().split() == ["gemini_tuning/"]
    top_level = sorted(path.name for path in (PROJECT / "plugins").glob("*.py"))
    assert top_level == ["gemini_tuning_plugin.py"]


def test_no_file_names_an_index_or_a_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    words = ("--index" + "-url", "--extra-index" + "-url", "--find" + "-links", "pypi" + ".org", "python" + "hosted")
    for name in tracked.split():
        text = (PROJECT / name).read_text(encoding="utf-8", errors="replace")
        assert not [word for word in words if word in text], name


def test_the_readme_is_finished_and_its_links_lead_somewhere():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert "@@" not in readme
    links = re.findall(r"\]\(([^)#]+)\)", readme)
    assert links
    assert not [link for link in links if "://" not in link and not (PROJECT / link).exists()]


def test_the_readme_names_every_command_and_every_pipeline_field():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert not [field for field in PipelineConfig.model_fields if f"`{field}`" not in readme]
    targets = re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert not [target for target in targets if f"make {target}" not in readme]
