"""Airflow's own home for this test process, and one local cloud that the real clients talk to."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
_HOME = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "GOOGLE_", "GEMINI_TUNING_", "STORAGE_EMU"))]:
    del os.environ[_name]
# Airflow reads these once, when it is first imported
os.environ.update(
    AIRFLOW_HOME=_HOME,
    AIRFLOW__CORE__DAGS_FOLDER=str(PROJECT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(PROJECT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    # google-auth looks up a service account's regions at Google in the background: nothing leaves this machine
    HTTPS_PROXY="http://127.0.0.1:9",
    # the learner's matrices are small: two threads would do its work in twice the processor time
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
)

import pytest  # noqa: E402
from tests.local_cloud.services import LocalCloud, running_local_cloud  # noqa: E402

from gemini_tuning.settings import DATA_ROOT_VARIABLE, INCLUDE_VARIABLE  # noqa: E402


@pytest.fixture(scope="session")
def local_cloud(tmp_path_factory):
    """Start the local Cloud Storage and Vertex AI, once per test process."""
    with running_local_cloud(tmp_path_factory.mktemp("local_cloud")) as cloud:
        yield cloud


@pytest.fixture
def google(local_cloud: LocalCloud, monkeypatch):
    """Point Google's clients and the default Airflow connection at the local cloud, the way a laptop does."""
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    extra = {"key_path": local_cloud.credentials_path, "project": local_cloud.project}
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
    return local_cloud


@pytest.fixture
def data_root(tmp_path, monkeypatch):
    """An empty data root."""
    root = tmp_path / "datasets"
    root.mkdir()
    monkeypatch.setenv(DATA_ROOT_VARIABLE, str(root))
    return root


@pytest.fixture
def include(tmp_path, monkeypatch):
    """A copy of ``include/`` without its datasets, free to change."""
    copy = tmp_path / "include"
    for folder in ("pipelines", "schemas", "smoke_tests"):
        shutil.copytree(PROJECT / "include" / folder, copy / folder)
    shutil.copy(PROJECT / "include" / "models.yaml", copy)
    monkeypatch.setenv(INCLUDE_VARIABLE, str(copy))
    return copy
