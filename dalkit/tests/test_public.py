"""What services may rely on: the names in `__all__` of the public packages, each described."""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest

from tests.paths import PROJECT

#: A name that appears is a promise, one that goes is a new major version (0.x: a minor one).
PUBLIC = {
    "dalkit": """
        AbortedTransaction DataAccessLayer Database DatabaseUnreachable Entity EntityMismatch
        FreshReadTransaction IdempotentTransaction KeysetQueryModel NotReflected Page Problem
        QueryModel ReadEntity ReadTransaction SerializableTransaction Settings Transaction
        TransactionManager TransactionMiddleware UnknownColumn UnknownTable connect_or_exit
        fetch_entities fetch_entity page
    """,
    "dalkit.auth": "Auth0 AuthMiddleware CurrentUser User include_guarded me_router require",
    "dalkit.bulk": """
        BulkError CSV Counts Csv ExportResponse FILE_CONTENT JSON_LINES JsonLines columns_of export
        format_of_path insert_from load
    """,
    "dalkit.cli": "service_cli",
    "dalkit.data": """
        AbortedTransaction DataAccessLayer DatabaseUnreachable NotReflected TransactionManager
        UnknownTable connect_or_exit
    """,
    "dalkit.observe": "configure_logging telemetry",
    "dalkit.orm": """
        AsyncDatabaseManager Base ReadSession Session Timestamps make_db_session manager_from_config
        syncdb
    """,
    "dalkit.schema": """
        DatabaseManager NAMING_CONVENTION Status SyncError SyncResult concurrently
        create_idempotency_table manager_from_config migrate status sync
    """,
    "dalkit.settings": "BadSetting CommaSeparated Settings load",
    "dalkit.slack": "AlertMiddleware SlackLogger SlackNotifier send_slack_message slack_router",
    "dalkit.testing": "rolled_back",
    "dalkit.types": """
        Body Bytes Cidr Circle Composite Date Digits Duration Filter Float Id Inet Int16 Int32 Int64
        JsonData JsonFloat JsonInt16 JsonInt32 JsonInt64 LocalTimestamp Point Points RangeOf Text
        TextId Time Timestamp
    """,
    "dalkit.view": """
        Age CacheError Many Missing Mode NeverLoaded NotLive One OriginError Refreshed View
        ViewMismatch ViewObject in_memory_cache many one
    """,
    "dalkit.web": """
        AccessLogMiddleware BodyLimitMiddleware ConditionalRead ConditionalWrite CorsMiddleware
        Created HeadMiddleware RequestIdMiddleware SecurityHeadersMiddleware ServerErrorMiddleware
        Shutdown State TrustedHostsMiddleware document health_router idempotent_transaction
        index_routes pages_router problem_handlers sweep_idempotency_keys
    """,
    "dalkit.worker": "Worker run_worker",
}
NAMES = [(package, name) for package, names in PUBLIC.items() for name in names.split()]


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_names_what_is_public(package: str) -> None:
    assert sorted(import_module(package).__all__) == PUBLIC[package].split()


def test_the_public_names_are_few() -> None:
    assert len({name for _, name in NAMES}) <= 141


@pytest.mark.parametrize("package", PUBLIC)
def test_the_reference_has_a_page_for_a_package(package: str) -> None:
    page = PROJECT / "docs" / "api" / f"{package}.md"
    assert f"::: {package}\n" in page.read_text("utf-8")


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_a_public_name_is_described(package: str, name: str) -> None:
    """Functions, classes and their methods by a docstring, values by a text that follows them."""
    value = getattr(import_module(package), name)
    if inspect.isclass(value) or inspect.isfunction(value):
        undescribed = [what for what, described in _parts(name, value) if not described]
    else:
        undescribed = [] if name in _described_values() else [name]
    assert undescribed == []


def _parts(name: str, value: Any) -> Iterator[tuple[str, str | None]]:
    yield name, value.__doc__
    for attribute, member in vars(value).items() if inspect.isclass(value) else ():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if inspect.isfunction(function) and not attribute.startswith("_"):
            yield f"{name}.{attribute}", function.__doc__


@cache
def _described_values() -> set[str]:
    """The names of the library that are followed by a text."""
    found = set()
    for file in (PROJECT / "src" / "dalkit").rglob("*.py"):
        body = ast.parse(file.read_text("utf-8")).body
        for before, after in pairwise(body):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if is_text and isinstance(before, ast.Assign | ast.AnnAssign):
                target = before.targets[0] if isinstance(before, ast.Assign) else before.target
                found.add(ast.unparse(target))
    return found
