"""What can be checked of the image and the compose file without a Docker engine."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from packaging.requirements import Requirement
from tests.conftest import PROJECT

from local_cloud.__main__ import _parser

DOCKERFILE = (PROJECT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image", "").startswith("gemini-tuning")}
AIRFLOW = {name: service for name, service in OURS.items() if not service.get("profiles")}


def unset(text):
    """Return what Compose makes of a text when its variables are unset."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def locked(package):
    for line in (PROJECT / "requirements.lock").read_text().splitlines():
        if line.startswith(f"{package}=="):
            return str(Requirement(line).specifier).removeprefix("==")
    raise AssertionError(f"{package} is not locked")


class TestImage:
    def test_it_is_the_official_image_of_the_locked_version_and_the_tested_python(self):
        bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert bases[0] == f"apache/airflow:slim-{locked('apache-airflow')}-python{python}"

    def test_the_lock_is_installed_whole_and_in_one_layer(self):
        installs = [line for line in DOCKERFILE.splitlines() if "requirements.lock" in line and line.startswith("RUN")]
        assert len(installs) == 1
        assert "--requirement" in installs[0]

    def test_everything_it_copies_exists_and_is_let_through(self):
        ignored = (PROJECT / ".dockerignore").read_text().splitlines()
        for line in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE, re.MULTILINE):
            *sources, _ = [word for word in line.split() if not word.startswith("--")]
            for source in sources:
                assert (PROJECT / source).exists(), source
                assert f"!{source}" in ignored, source

    def test_the_pipelines_image_is_what_a_plain_build_makes(self):
        assert re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE)[-1] == "airflow"
        for service in OURS.values():
            assert f" AS {service['build']['target']}\n" in DOCKERFILE + "\n"

    def test_it_runs_as_a_user_that_is_not_root(self):
        assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1] == "airflow"


class TestCompose:
    def test_the_whole_set_is_there(self):
        commands = {service["command"] for service in AIRFLOW.values()}
        assert {"api-server", "scheduler", "dag-processor", "triggerer", "celery worker"} <= commands
        assert {"postgres", "redis"} <= set(SERVICES)

    def test_every_command_is_one_airflow_knows(self):
        commands = [shlex.split(unset(service["command"])) for service in AIRFLOW.values()]
        code = (
            "from airflow.cli.cli_parser import get_parser\n"
            f"for command in {commands!r}: print(get_parser().parse_args(command).func)"
        )
        environment = {**os.environ, "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("name", AIRFLOW)
    def test_its_settings_are_ones_airflow_knows(self, name):
        from airflow.configuration import conf
        from airflow.providers.celery.get_provider_info import get_provider_info

        known = {
            section: {option.lower() for option in description["options"]}
            for section, description in {**conf.configuration_description, **get_provider_info()["config"]}.items()
        }
        for variable in AIRFLOW[name]["environment"]:
            if match := re.fullmatch(r"AIRFLOW__(\w+?)__(\w+)", variable):
                section, option = match.group(1).lower(), match.group(2).lower()
                assert option in known.get(section, ()), variable

    @pytest.mark.parametrize("name", SERVICES)
    def test_the_folders_it_mounts_exist_or_are_the_users_own(self, name):
        for volume in SERVICES[name].get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (PROJECT / source).exists() or source == "./secrets", source
            else:
                assert source in COMPOSE["volumes"], source

    @pytest.mark.parametrize("name", SERVICES)
    def test_it_depends_on_services_there_are_and_that_can_be_healthy(self, name):
        for other, rule in SERVICES[name].get("depends_on", {}).items():
            assert other in SERVICES
            if rule["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]

    @pytest.mark.parametrize("name", SERVICES)
    def test_it_is_published_on_loopback_only(self, name):
        for port in SERVICES[name].get("ports", []):
            assert str(port).startswith("127.0.0.1:")

    def test_airflow_can_write_its_password_file(self):
        for service in AIRFLOW.values():
            file = service["environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
            (mode,) = [v.split(":")[2:] for v in service["volumes"] if file.startswith(v.split(":")[1] + "/")]
            assert mode == []

    def test_the_local_cloud_is_asked_for_by_name_and_started_with_flags_it_knows(self):
        service = SERVICES["local-cloud"]
        assert service["profiles"] == ["local-cloud"]
        python, dash_m, module, *flags = shlex.split(service["command"])
        assert (python, dash_m, module) == ("python", "-m", "local_cloud")
        options = _parser().parse_args(flags)
        assert options.host == "local-cloud", "the name other containers know it by"
        assert options.allow_non_loopback

    def test_no_secret_stands_in_the_file(self):
        for service in SERVICES.values():
            for variable, value in service.get("environment", {}).items():
                if re.search("KEY|SECRET|PASSWORD(?!S_FILE|S)", variable):
                    assert re.search(r"\$\{\w+:\?", str(value)), variable
