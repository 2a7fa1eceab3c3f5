"""The generated project's CI, containers and Makefile say what their validators accept."""

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from .baking import PROJECT, ROOT, bake
from .compose import services_of
from .environments import run

BIN = Path(sys.executable).parent
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
WORKFLOWS = [
    ROOT / ".github" / "workflows" / "ci.yml",
    PROJECT / ".github" / "workflows" / "ci.yml",
]


@pytest.fixture(scope="module")
def gitlab_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake(tmp_path_factory.mktemp("gitlab"), ci="gitlab")


def validate(schema: str, path: Path) -> None:
    """Fail unless `path` fits one of check-jsonschema's own schemas."""
    run(ROOT, BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", path)


def test_the_github_workflow_fits_its_schema(default_project: Path) -> None:
    validate("github-workflows", default_project / ".github" / "workflows" / "ci.yml")


def test_the_gitlab_pipeline_fits_its_schema(gitlab_project: Path) -> None:
    validate("gitlab-ci", gitlab_project / ".gitlab-ci.yml")


def test_compose_fits_its_schema(default_project: Path) -> None:
    validate("compose-spec", default_project / "compose.yaml")


@pytest.mark.parametrize("where", ["template", "service"])
def test_the_workflow_has_no_known_weakness(where: str, default_project: Path) -> None:
    folder = ROOT if where == "template" else default_project
    workflows = folder / ".github" / "workflows"
    run(ROOT, BIN / "zizmor", "--offline", "--persona=pedantic", "--quiet", workflows)


@pytest.mark.parametrize("path", WORKFLOWS, ids=["template", "service"])
def test_actions_are_pinned_and_nothing_is_permitted_by_default(path: Path) -> None:
    text = path.read_text()
    uses = [line.strip(" -") for line in text.splitlines() if "uses:" in line]
    assert uses
    for line in uses:
        assert PINNED.fullmatch(line), line
    assert "\npermissions: {}\n" in text


def test_the_dockerfile_is_clean(default_project: Path) -> None:
    run(default_project, BIN / "hadolint", "Dockerfile")


def test_the_image_is_checked_as_production_unless_it_is_told_otherwise(
    default_project: Path, services: dict[str, Any]
) -> None:
    lines = (default_project / "Dockerfile").read_text().splitlines()
    [own] = [line for line in lines if "ENVIRONMENT" in line]
    assert own.startswith("ENV ")
    assert "ENVIRONMENT=production" in own.split()
    assert services["api"]["environment"]["ENVIRONMENT"] == "local"
    told = services_of(default_project, ENVIRONMENT="staging")
    assert told["api"]["environment"]["ENVIRONMENT"] == "staging"


@pytest.fixture(scope="module")
def services(default_project: Path) -> dict[str, Any]:
    return services_of(default_project, COMPOSE_PROFILES="development")


def test_compose_holds_no_password(default_project: Path) -> None:
    text = (default_project / "compose.yaml").read_text()
    assert not re.search(r"PASSWORD\s*[:=]\s*\w|://[^/\s]*@", text)
    assert ".secrets/" in (default_project / ".gitignore").read_text().splitlines()


def test_compose_publishes_only_the_api_and_only_on_loopback(services: dict[str, Any]) -> None:
    """And the issuer, where it runs."""
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"api": ["127.0.0.1:8000:8000"], "issuer": ["127.0.0.1:9000:9000"]}


def test_the_issuer_is_there_for_development_only(
    services: dict[str, Any], default_project: Path
) -> None:
    assert services["issuer"]["profiles"] == ["development"]
    for variables, url in (
        ({"COMPOSE_PROFILES": "development"}, "http://issuer.localhost:9000/"),
        ({}, None),
    ):
        api = services_of(default_project, **variables)["api"]["environment"]
        assert api["AUTH0_DEV_ISSUER"] == url


@pytest.mark.parametrize(
    ("domain", "env", "profile"),
    [
        ("", "", "development"),
        ("a.eu.auth0.com", "", ""),
        ("", "AUTH0_DOMAIN=a.eu.auth0.com\n", ""),
        ("", "AUTH0_DOMAIN=\n", "development"),
    ],
)
def test_make_up_brings_the_issuer_unless_there_is_a_tenant(
    domain: str, env: str, profile: str, tmp_path: Path
) -> None:
    """`docker` on the PATH says what it is given."""
    project = bake(tmp_path)
    (project / ".env").write_text(env)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\necho "docker $*, $COMPOSE_PROFILES, $PORT, $ISSUER_PORT"\n')
    docker.chmod(0o755)
    path = f"{docker.parent}{os.pathsep}{os.environ['PATH']}"
    output = run(project, "make", "up", "PORT=8123", PATH=path, AUTH0_DOMAIN=domain)
    assert f"docker compose up --detach --build --wait, {profile}, 8123, 9123\n" in output
    published = project / ".cache" / "issuers" / "8123"
    assert published.exists() == bool(profile)
    if profile:
        assert published.read_text() == "http://127.0.0.1:9123/"
        assert "make token PORT=8123" in output
    run(project, "make", "down", "PORT=8123", PATH=path)
    assert not published.exists()


def test_the_api_never_sees_the_superuser(services: dict[str, Any]) -> None:
    for name in ("api", "migrate", "issuer"):
        assert "postgres.env" not in str(services[name])


def test_containers_of_the_service_cannot_write_or_gain_privileges(
    services: dict[str, Any],
) -> None:
    for name in ("api", "migrate", "issuer"):
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]


def test_make_writes_the_passwords_once_and_for_its_user_only(tmp_path: Path) -> None:
    project = bake(tmp_path)
    run(project, "make", ".secrets")
    files = sorted((project / ".secrets").iterdir())
    assert [path.name for path in files] == ["owner.env", "postgres.env"]
    assert {path.stat().st_mode & 0o077 for path in files} == {0}
    owner, superuser = (path.read_text() for path in files)
    (password,) = re.findall(r"^OWNER_PASSWORD=([0-9a-f]{48})$", owner, re.MULTILINE)
    assert f"postgresql://my_service:{password}@postgres:5432/my_service\n" in owner
    assert password not in superuser
    run(project, "make", ".secrets")
    assert (project / ".secrets" / "owner.env").read_text() == owner


def test_make_brings_its_own_uv_where_there_is_none(tmp_path: Path) -> None:
    project = bake(tmp_path)
    system = os.pathsep.join(path for path in os.defpath.split(os.pathsep) if path)
    run(project, "make", ".tools/bin/uv", PATH=f"{Path(sys.base_prefix) / 'bin'}:{system}")
    assert run(project, ".tools/bin/uv", "--version").startswith("uv ")
    assert tomllib.loads((project / ".tools" / "uv.toml").read_text())["system-certs"] is True


def test_make_help_names_every_command(default_project: Path) -> None:
    for folder in (ROOT, default_project):
        output = run(folder, "make")
        makefile = (folder / "Makefile").read_text()
        for target in re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split():
            assert re.search(rf"^  make {target} ", output, re.MULTILINE), target
