"""The objects of the guide to Kubernetes are valid, fit the service and each other, and run."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from dalkit import database
from dalkit.server import serve
from dalkit.settings import load

from tests.docs.pages import DOCS, blocks_of
from tests.docs.test_guides import _problems
from tests.paths import PROJECT
from tests.service.settings import Settings

GUIDE = DOCS / "kubernetes.md"
FILES = {block.title: block.text for block in blocks_of(GUIDE) if block.language == "yaml"}
OBJECTS: dict[str, Any] = {
    item["kind"]: item for text in FILES.values() for item in yaml.safe_load_all(text)
}
CONFIG = OBJECTS["ConfigMap"]["data"]
POD = OBJECTS["Deployment"]["spec"]["template"]
JOB = OBJECTS["Job"]["spec"]["template"]
API = POD["spec"]["containers"][0]
MIGRATE = JOB["spec"]["containers"][0]
#: What the operator makes of a Cluster named library-db, a secret with its keys each.
SECRETS = {
    "library-db-app": {"username", "password"},
    "library-db-ca": {"ca.crt"},
    "my-service": {"slack-webhook-url"},
}
#: The fields of its two objects that are used here, as its API reference names and types them:
#: https://cloudnative-pg.io/documentation/current/cloudnative-pg.v1/. No package has the schemas.
OPERATORS_FIELDS: dict[str, dict[str, Any]] = {
    "Cluster": {
        "instances": int,
        "imageName": str,
        "bootstrap.initdb.database": str,
        "bootstrap.initdb.owner": str,
        "bootstrap.initdb.encoding": str,
        "bootstrap.initdb.localeCollate": str,
        "bootstrap.initdb.localeCType": str,
        "postgresql.parameters.*": str,
        "postgresql.synchronous.method": {"any", "first"},
        "postgresql.synchronous.number": int,
        "postgresql.synchronous.dataDurability": {"required", "preferred"},
        "certificates.serverAltDNSNames": list,
        "storage.size": str,
        "resources.requests.*": str,
        "resources.limits.*": str,
    },
    "Pooler": {
        "cluster.name": str,
        "instances": int,
        "type": {"rw", "ro", "r"},
        "pgbouncer.poolMode": {"session", "transaction"},
        "pgbouncer.parameters.*": str,
    },
}
#: Read by the server, and not by the settings.
SERVER_VARIABLES = {"FORWARDED_ALLOW_IPS"}


def validate(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    file = folder / "objects.yaml"
    file.write_text(text, "utf-8")
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", str(file)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_set_is_complete() -> None:
    assert [*FILES] == ["database.yaml", "migrate.yaml", "service.yaml"]
    assert [*OBJECTS] == [
        "Cluster",
        "Pooler",
        "Job",
        "ConfigMap",
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
    ]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("", ""), ("periodSeconds: 1\n", "periodSecond: 1\n"), ("port: 80", "port: '80'")],
)
def test_the_objects_are_kubernetes_own(tmp_path: Path, right: str, wrong: str) -> None:
    """And a field that there is not, or of another type, is noticed."""
    text = "---\n".join(FILES[name] for name in ("migrate.yaml", "service.yaml"))
    result = validate(tmp_path, text.replace(right, wrong))
    assert (result.returncode == 0) is (right == wrong), result.stdout + result.stderr


@pytest.mark.parametrize("kind", OPERATORS_FIELDS)
def test_the_operators_objects_have_fields_that_it_documents(kind: str) -> None:
    """With values of their types: parameters are texts, also where they are numbers."""
    assert OBJECTS[kind]["apiVersion"] == "postgresql.cnpg.io/v1"
    known, used = OPERATORS_FIELDS[kind], set()
    for path, value in leaves(OBJECTS[kind]["spec"]):
        name = path if path in known else f"{path.rpartition('.')[0]}.*"
        used.add(name)
        wanted = known[name]
        assert value in wanted if isinstance(wanted, set) else type(value) is wanted, path
    assert used == known.keys()


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of everything that is no mapping."""
    if not isinstance(value, dict):
        yield path, value
        return
    for name, inner in value.items():
        yield from leaves(inner, f"{path}.{name}".removeprefix("."))


@pytest.mark.parametrize("container", [API, MIGRATE], ids=["api", "migrate"])
def test_the_commands_are_the_services(container: dict[str, Any]) -> None:
    assert container["image"] == API["image"]
    assert [*_problems(container["command"])] == []


def test_the_command_and_the_port_are_the_images() -> None:
    [dockerfile] = PROJECT.parent.glob("{{*}}/Dockerfile")
    text = dockerfile.read_text("utf-8")
    command = yaml.safe_load(re.findall(r"^CMD (.+)", text, re.MULTILINE)[-1])
    assert API["command"][1:] == command[1:]
    [port] = API["ports"]
    assert API["command"][-1] == str(port["containerPort"])
    assert f"EXPOSE {port['containerPort']}\n" in text
    assert f"USER {POD['spec']['securityContext']['runAsUser']}:" in text
    targets = {API[probe]["httpGet"]["port"] for probe in API if probe.endswith("Probe")}
    targets |= {OBJECTS["Service"]["spec"]["ports"][0]["targetPort"]}
    targets |= {OBJECTS["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"]}
    assert targets == {port["name"]}


@pytest.mark.parametrize("container", [API, MIGRATE], ids=["api", "migrate"])
def test_every_variable_is_read_by_somebody(container: dict[str, Any]) -> None:
    """By the settings, by the server, or by the value of a later one."""
    given = [item["name"] for item in container["env"]]
    quoted = re.findall(r"\$\((\w+)\)", str(container["env"]))
    assert all(given.index(name) < given.index("DATABASE_URL") for name in quoted)
    read = {name.upper() for name in Settings.model_fields} | SERVER_VARIABLES | {*quoted}
    assert {*CONFIG, *given} <= read


@pytest.mark.parametrize("template", [POD, JOB], ids=["api", "migrate"])
def test_the_secrets_are_the_operators_and_the_guides(template: dict[str, Any]) -> None:
    spec = template["spec"]
    sources = [item.get("valueFrom", {}) for item in spec["containers"][0]["env"]]
    used = [(ref["name"], ref["key"]) for it in sources if (ref := it.get("secretKeyRef"))]
    files = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
    used += [(file["secretName"], item["key"]) for file in files for item in file["items"]]
    assert used
    assert all(key in SECRETS[name] for name, key in used)
    assert {volume["name"] for volume in spec["volumes"]} == {
        mount["name"] for mount in spec["containers"][0]["volumeMounts"]
    }
    assert "generic my-service --from-literal=slack-webhook-url=" in GUIDE.read_text("utf-8")


@pytest.mark.parametrize("container", [API, MIGRATE], ids=["api", "migrate"])
def test_production_takes_these_settings(
    container: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(container).items():
        monkeypatch.setenv(name, value)
    alone = {"auth0_dev_issuer": None, "slack_webhook_url": None}  # what the tests set
    settings = load(Settings, environment="production", **alone)
    assert settings.database_url is not None
    host = re.search(r"@([a-z-]+):5432/", settings.database_url.get_secret_value())
    cluster, pooler = OBJECTS["Cluster"]["metadata"]["name"], OBJECTS["Pooler"]["metadata"]["name"]
    assert host is not None
    assert host[1] == (pooler if container is API else f"{cluster}-rw")
    assert pooler in OBJECTS["Cluster"]["spec"]["certificates"]["serverAltDNSNames"]
    assert OBJECTS["Pooler"]["spec"]["cluster"]["name"] == cluster
    assert f"@{host[1]}:5432/{OBJECTS['Cluster']['spec']['bootstrap']['initdb']['database']}?" in (
        settings.database_url.get_secret_value()
    )
    if container is API:
        assert settings.database_pgbouncer
        assert OBJECTS["Pooler"]["spec"]["pgbouncer"]["poolMode"] == "transaction"


def test_every_selector_finds_the_pods_that_it_means() -> None:
    """The service must not send requests to a migration; both may talk to the database."""

    def finds(selector: dict[str, str], template: dict[str, Any]) -> bool:
        labels: dict[str, str] = template["metadata"]["labels"]
        return selector.items() <= labels.items()

    specs = {kind: item.get("spec") for kind, item in OBJECTS.items()}
    spread = POD["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    budget = specs["PodDisruptionBudget"]["selector"]["matchLabels"]
    owned = specs["Deployment"]["selector"]["matchLabels"]
    for selector in (owned, budget, spread, specs["Service"]["selector"]):
        assert (finds(selector, POD), finds(selector, JOB)) == (True, False)
    policy = specs["NetworkPolicy"]
    allowed = policy["podSelector"]["matchLabels"]
    assert (finds(allowed, POD), finds(allowed, JOB)) == (True, True)
    assert [peer["podSelector"]["matchLabels"] for peer in policy["egress"][1]["to"]] == [
        {"cnpg.io/poolerName": OBJECTS["Pooler"]["metadata"]["name"]},
        {"cnpg.io/cluster": OBJECTS["Cluster"]["metadata"]["name"]},
    ]
    target = specs["HorizontalPodAutoscaler"]["scaleTargetRef"]
    assert target["name"] == OBJECTS["Deployment"]["metadata"]["name"]
    assert API["envFrom"][0]["configMapRef"]["name"] == OBJECTS["ConfigMap"]["metadata"]["name"]
    assert "replicas" not in specs["Deployment"]


def test_the_pods_time_to_stop_is_enough() -> None:
    """The delay outlasts the failing of the readiness probe, and the grace period all of it."""
    delay = float(CONFIG["SHUTDOWN_DELAY"])
    readiness = API["readinessProbe"]
    assert delay > readiness["periodSeconds"] * readiness["failureThreshold"]
    assert readiness["timeoutSeconds"] > database.PATIENCE
    requests = (serve.__kwdefaults__ or {})["timeout_graceful_shutdown"]
    alerts = 5  # the guide to deploying says how long they may take
    assert POD["spec"]["terminationGracePeriodSeconds"] > delay + requests + alerts
    assert "lifecycle" not in API  # SHUTDOWN_DELAY is the preStop hook


def test_each_limit_of_connections_holds_what_the_one_before_lets_through() -> None:
    """And the sums are those of the guide."""
    pods = (
        OBJECTS["HorizontalPodAutoscaler"]["spec"]["maxReplicas"]
        + OBJECTS["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    )
    pooler = OBJECTS["Pooler"]["spec"]
    parameters = {name: int(value) for name, value in pooler["pgbouncer"]["parameters"].items()}
    pools, probes = pods * int(CONFIG["DATABASE_POOL_SIZE"]), pods
    assert "--workers" not in API["command"]
    assert parameters["max_client_conn"] >= pools + probes
    servers = pooler["instances"] * parameters["default_pool_size"]
    most = int(OBJECTS["Cluster"]["spec"]["postgresql"]["parameters"]["max_connections"])
    assert servers <= most - 20
    text = GUIDE.read_text("utf-8")
    assert f"= {pools} |" in text
    assert f"at least {pools + probes}, on each instance" in text
    assert f"= {servers} |" in text
    assert f"| {most} |" in text


def variables(container: dict[str, Any]) -> dict[str, str]:
    """The environment of a container, with what its secrets might hold."""
    secret = {"username": "library", "password": "Zx81k3n"}
    found = dict(CONFIG) if "envFrom" in container else {}
    for item in container["env"]:
        key = item.get("valueFrom", {}).get("secretKeyRef", {}).get("key")
        if key is None:
            found[item["name"]] = re.sub(r"\$\((\w+)\)", lambda m: found[m[1]], item["value"])
        elif key in secret:
            found[item["name"]] = secret[key]
    return found


def arguments(container: dict[str, Any], **instead: str) -> list[str]:
    """The command of a container for this machine, with other values behind its options."""
    words = [sys.executable, "-m", "tests.service.cli", *container["command"][1:]]
    for option, value in instead.items():
        words[words.index(f"--{option}") + 1] = value
    return words


@contextmanager
def pod(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], httpx.AsyncClient]]:
    """The process of the Deployment's container, and who probes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    command = arguments(API, host="127.0.0.1", port=port)
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)
    with subprocess.Popen(command, cwd=PROJECT, env=environment) as process:
        try:
            yield process, client
        finally:
            process.kill()


async def until(client: httpx.AsyncClient, probe: str, status: int) -> None:
    """Probe as often as it takes; raises TimeoutError."""
    path = API[probe]["httpGet"]["path"]
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.get(path)).status_code == status:
                    return
            except httpx.ConnectError:
                pass
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_pod_runs_from_its_start_before_the_migration_to_its_end(
    empty_database: str,
) -> None:
    """Alive without a schema, ready with it, and nobody who comes after SIGTERM is turned away."""
    local = {"DATABASE_URL": empty_database, "ENVIRONMENT": "testing", "TRUSTED_HOSTS": ""}
    environment = os.environ | variables(API) | local
    with pod(environment) as (process, client):
        async with client:
            await until(client, "startupProbe", 200)
            await until(client, "readinessProbe", 503)
            migrated = await asyncio.to_thread(
                subprocess.run,
                arguments(MIGRATE),
                cwd=PROJECT,
                env=os.environ | variables(MIGRATE) | local,
                check=False,
            )
            assert migrated.returncode == 0
            await until(client, "readinessProbe", 200)
            process.send_signal(signal.SIGTERM)
            loop = asyncio.get_running_loop()
            told = loop.time()
            await until(client, "readinessProbe", 503)
            answers = []
            while loop.time() < told + float(CONFIG["SHUTDOWN_DELAY"]) / 2:
                answers.append((await client.get("/livez")).status_code)
                answers.append((await client.get("/v1/books")).status_code)
                await asyncio.sleep(0.2)
        grace = POD["spec"]["terminationGracePeriodSeconds"]
        code = await asyncio.to_thread(process.wait, grace)
    assert set(answers) == {200, 401}  # the books are for those with a token
    assert code in (0, -signal.SIGTERM)  # uvicorn ends by the signal that it got
