"""The systems that are compared over HTTP, and how each of them is started."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dalkit.dev.issuer import Issuer

from ..options import Options, select
from ..stage import ROOT, Service
from .work import CASES

REFERENCE, ORM, OURS_ORM = "bare", "fastapi_orm", "ours_orm"
#: Those that app.py asks for: they are called as the resource.
SCOPES = ("read:items", "write:items")


@dataclass(frozen=True)
class System:
    """One row of the tables."""

    name: str
    title: str
    app: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cases: tuple[str, ...] = tuple(CASES)


def others() -> list[System]:
    """Return those that are files of this repository."""
    path = {"PYTHONPATH": str(ROOT)}
    titles = {
        REFERENCE: "bare ASGI, asyncpg, orjson",
        "fastapi_asyncpg": "FastAPI, asyncpg",
        ORM: "FastAPI, ORM async session",
        "fastapi_sqlmodel": "FastAPI, SQLModel, psycopg",
    }
    found = [
        System(name, title, f"benchmarks.systems.{name}:app", ROOT, path)
        for name, title in titles.items()
    ]
    unsafe = replace(
        found[0],
        name="bare_autocommit",
        title="bare, without BEGIN and COMMIT",
        environment={**path, "BARE_AUTOCOMMIT": "1"},
        cases=("post",),
    )
    return [found[0], unsafe, *found[1:]]


def generated(service: Service, issuer: Issuer) -> list[System]:
    """Return the generated service: as it is, quieter, and with a token to verify."""
    variables = {
        **service.variables,
        "AUTH0_DEV_ISSUER": issuer.url,
        "AUTH0_AUDIENCE": issuer.audience,
        "LOG_LEVEL": "INFO",
        # Alerts are on, and there is nothing to alert about: nobody is sent anything.
        "SLACK_WEBHOOK_URL": "http://127.0.0.1:9/",
        "SLACK_ENVIRONMENTS": "local",
        "ENVIRONMENT": "local",
        "BENCH_PROTOCOL": "dalkit.protocol:LimitedProtocol",
    }
    plain = System(
        "ours",
        "ours",
        "benchmarks.systems.ours:app",
        service.folder,
        variables,
    )
    quiet = {**variables, "LOG_LEVEL": "WARNING"}
    return [
        plain,
        replace(plain, name="ours_quiet", title="ours, LOG_LEVEL=WARNING", environment=quiet),
        replace(
            plain,
            name=OURS_ORM,
            title="ours, ORM session",
            app=f"benchmarks.systems.{OURS_ORM}:app",
        ),
        replace(
            plain,
            name="ours_auth",
            title="ours, with a token",
            environment={**variables, "BENCH_GUARDED": "1"},
            headers={"Authorization": f"Bearer {issuer.token(SCOPES)}"},
        ),
    ]


def chosen(everything: list[System], options: Options) -> list[System]:
    """Return what `--only` names, and `ours` with the variables of `--set` beside `ours`."""
    names = select([system.name for system in everything], options.only, "system")
    found = [system for system in everything if system.name in names]
    if not options.settings:
        return found
    plain = next(system for system in everything if system.name == "ours")
    text = ", ".join(f"{name}={value}" for name, value in options.settings.items())
    changed = replace(
        plain,
        name="ours_set",
        title=f"ours, {text}",
        environment={**plain.environment, **options.settings},
    )
    return [*found, changed]
