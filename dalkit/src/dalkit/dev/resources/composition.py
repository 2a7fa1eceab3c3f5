"""Edits what names the resources: app.py, and the schemas in settings.py."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path


class NotFound(ValueError):
    """The text has no such place; says which one."""


def resources_in(app: str) -> list[str]:
    """The words of RESOURCES; raises NotFound."""
    found = _resources(app)
    return [one.id for one in found.elts if isinstance(one, ast.Name)]


def with_resource(app: str, name: str) -> str:
    """The text of app.py with the resource in its import and in RESOURCES."""
    names = resources_in(app)
    text = _replaced(app, _resources(app), [*names, name])
    return _imported(text, {*_imported_names(text), name})


def without_resource(app: str, name: str) -> str:
    """The text of app.py without the resource; raises NotFound when it does not have it."""
    names = resources_in(app)
    if name not in names or name not in _imported_names(app):
        raise NotFound(f"It does not name {name!r} in RESOURCES and import it.")
    text = _replaced(app, _resources(app), [one for one in names if one != name])
    text = _without_scope(text, name)
    return _imported(text, {*_imported_names(text)} - {name})


def needs_scopes(app: str) -> bool:
    """Whether it mounts the resources with scopes."""
    return "include_guarded(" in app


def names_used(source: str) -> set[str]:
    """Every name that a module uses or defines."""
    nodes = list(ast.walk(ast.parse(source)))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    used |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    aliases = [alias for node in nodes for alias in getattr(node, "names", ())]
    used |= {one.asname or one.name for one in aliases if isinstance(one, ast.alias)}
    functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return used | {node.name for node in nodes if isinstance(node, functions)}


def modules_in(source: str, package: str) -> set[str]:
    """The modules that a module of a package imports, with the packages they are in."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{module}.{one.name}" for one in node.names}
    parts_of = [name.split(".") for name in found]
    return {".".join(parts[:i]) for parts in parts_of for i in range(1, len(parts) + 1)}


def tables_in(folder: Path) -> set[str]:
    """The tables of the entities that the modules of a folder define."""
    found = set()
    for path in folder.glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for one in node.keywords if isinstance(node, ast.ClassDef) else ():
                if one.arg == "table" and isinstance(one.value, ast.Constant):
                    found.add(str(one.value.value))
    return found


def _resources(app: str) -> ast.Tuple:
    found = _value_of(app, "RESOURCES")
    if isinstance(found, ast.Tuple):
        return found
    raise NotFound("It has no tuple RESOURCES.")


def _value_of(app: str, name: str) -> ast.expr | None:
    """What the module assigns to a name."""
    for node in ast.parse(app).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value: ast.expr | None = getattr(node, "value", None)
            return value
    return None


def _without_scope(app: str, name: str) -> str:
    """The text without the resource's entry in SCOPES, where it has one."""
    node = _value_of(app, "SCOPES")
    if not isinstance(node, ast.Dict):
        return app
    entries = [(key, value) for key, value in zip(node.keys, node.values, strict=True) if key]
    gone = [pair for pair in entries if isinstance(pair[0], ast.Name) and pair[0].id == name]
    start, end = _span(app, node)
    if not gone or "#" in app[start:end]:
        return _without(app, *gone[0]) if gone else app
    kept = [
        app[_span(app, key)[0] : _span(app, value)[1]]
        for key, value in entries
        if (key, value) not in gone
    ]
    return f"{app[:start]}{{{', '.join(kept)}}}{app[end:]}"


def _replaced(text: str, node: ast.expr, names: list[str]) -> str:
    """The text with these names in a tuple; comments in it stay, where there are any."""
    start, end = _span(text, node)
    inner = text[start + 1 : end - 1]
    if "#" not in inner:
        comma = "," if len(names) == 1 else ""
        return f"{text[: start + 1]}{', '.join(names)}{comma}{text[end - 1 :]}"
    there = [node.id for node in ast.walk(node) if isinstance(node, ast.Name)]
    added = "".join(f"\n{name}," for name in names if name not in there)
    text = f"{text[: start + 1]}{inner.rstrip()}{added}\n{text[end - 1 :]}"
    for one in reversed(list(ast.walk(node))):
        if isinstance(one, ast.Name) and one.id not in names:
            text = _without(text, one)
    return text


def _without(text: str, first: ast.expr, last: ast.expr | None = None) -> str:
    """The text without an element, and without its line where nothing else is on it."""
    start, end = _span(text, first)[0], _span(text, last or first)[1]
    while text[end] in ", ":
        end += 1
    line, after = text.rfind("\n", 0, start) + 1, text.find("\n", end) + 1
    if re.fullmatch(r"\s*(#.*)?\n", text[line:start] + text[end:after]):
        start, end = line, after
    return text[:start] + text[end:]


def _span(text: str, node: ast.expr | ast.stmt) -> tuple[int, int]:
    """Where a node begins and ends in the text, in characters."""
    lines = text.splitlines(keepends=True)

    def offset(line: int, column: int) -> int:
        return sum(map(len, lines[: line - 1])) + len(lines[line - 1].encode()[:column].decode())

    start = offset(node.lineno, node.col_offset)
    return start, offset(node.end_lineno or 0, node.end_col_offset or 0)


def _import(app: str) -> ast.ImportFrom | None:
    """`from . import ...`."""
    for node in ast.parse(app).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module is None:
            return node
    return None


def _imported_names(app: str) -> list[str]:
    node = _import(app)
    return [one.name for one in node.names] if node else []


def _imported(app: str, names: Iterable[str]) -> str:
    """The text with these names imported from its package."""
    line = f"from . import {', '.join(sorted(names))}\n" if names else ""
    node = _import(app)
    if node is not None:
        start, end = _span(app, node)
        return app[:start] + line.removesuffix("\n") + app[end if line else end + 1 :]
    relative = re.search(r"(?m)^from \.", app)
    if relative is None:
        raise NotFound("It has no import of its own package's modules.")
    return app[: relative.start()] + line + app[relative.start() :]


SCHEMAS = re.compile(r"\n*    database_schemas: CommaSeparated = Field\((\[[^\]]*\])\)\n")


def schemas_in(settings: str) -> list[str]:
    """The schemas that the class names; empty when it names none."""
    found = SCHEMAS.search(settings)
    return [str(one) for one in ast.literal_eval(found[1])] if found else []


def with_schemas(settings: str, names: list[str]) -> str:
    """The text of settings.py with these schemas as a default, without any if there are none."""
    text = SCHEMAS.sub("\n", settings)
    if not names:
        return text
    node = next((n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)), None)
    if node is None or "database_schemas" in text:
        raise NotFound("Its class has a database_schemas that was written otherwise.")
    _, end = _span(text, node.body[0])
    listed = ", ".join(f'"{name}"' for name in names)
    line = f"\n\n    database_schemas: CommaSeparated = Field([{listed}])"
    text = text[:end] + line + text[end:]
    for source in ("from dalkit.settings import CommaSeparated\n", "from pydantic import Field\n"):
        if source.split()[-1] not in names_used(settings):
            text = text.replace("import dalkit\n", f"import dalkit\n{source}", 1)
    return text
