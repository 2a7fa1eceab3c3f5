"""Adds resources to a service and takes them out: `dalkit resource`, `dalkit delete-example`."""

import ast
import asyncio
import builtins
import keyword
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import typer
from sqlalchemy.exc import SAWarning

from ..errors import UnknownTable
from ..schema import SyncError, manager_from_config, typed_tables
from .postgres import PostgresError, discard
from .project import Project
from .resources import composition
from .resources.catalog import Catalog, Relation
from .resources.composition import NotFound
from .resources.modules import package_of, router_of, schemas_of
from .resources.names import Names
from .resources.rows import Rows, Trial
from .resources.shape import Shape
from .resources.tests import tests_of
from .scratch import migrated_database

DEFAULT_SCHEMA = "public"
EXAMPLE = ("books", "authors")
EXAMPLE_MIGRATION = "0001_author_and_book.py"
#: What tables.py says of the migration that it was made of.
REVISION = re.compile(r", info=\{[^}]*\}")
METADATA = re.compile(r"(?m)^metadata = .*\n")


class Changes:
    """Files that are written and removed, all of them or none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before: dict[Path, Path | None] = {}

    @property
    def written(self) -> list[Path]:
        """The files that were written and are there."""
        return [path for path in self._before if path.is_file()]

    def keep(self, path: Path) -> None:
        """Remember what the file is like now: content, mode, or where a link leads."""
        if path not in self._before:
            copy = self._folder / str(len(self._before))
            there = path.is_symlink() or path.is_file()
            self._before[path] = copy if there else None
            if there:
                shutil.copy2(path, copy, follow_symlinks=False)

    def write(self, path: Path, text: str) -> None:
        """Write a file, in folders that are made for it; through a link, the file that it names."""
        path = path.resolve()
        self.keep(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all that is in it."""
        for one in path.rglob("*") if path.is_dir() else (path,):
            if not one.is_dir() and "__pycache__" not in one.parts:
                self.keep(one)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()

    def undo(self) -> None:
        """Make everything as it was."""
        for path, copy in self._before.items():
            path.unlink(missing_ok=True)
            if copy is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(copy, path, follow_symlinks=False)
                continue
            shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()


@contextmanager
def changes() -> Iterator[Changes]:
    """Yield what to write with; when the block fails, nothing is written.

    Exits with a sentence where the block raises what a user can do something about.
    """
    with TemporaryDirectory() as folder:
        it = Changes(Path(folder))
        try:
            yield it
        except BaseException as error:
            it.undo()
            if isinstance(error, PostgresError | SyncError | NotFound):
                sys.exit(str(error))
            raise


def add_resources(
    project: Project, tables: Sequence[str], name: str | None, key: Sequence[str]
) -> None:
    """Write the resources of these tables, with tests, and name them in app.py.

    The tables are read from a database that the migrations have made. `name` is the package,
    `key` the columns that tell the rows of a view apart. Exits with a sentence, and nothing is
    written, for a table that is not there, has no key or has a resource.
    """
    if find_spec("ruff") is None:
        sys.exit("ruff formats what is written, and is not installed: uv add --dev ruff.")
    with changes() as it:
        service = Service(project)
        with migrated_database(project) as url:
            made = asyncio.run(_read(url, service, tables, name, key))
            for shape, rows in made:
                service.add(it, shape, rows)
            schemas = service.schemas_with([shape.relation for shape, _ in made])
            service.name_schemas(it, schemas)
            service.format(it)
            service.write_tables(it, url, schemas)
            service.write_document(it)
    for shape, _ in made:
        print(f"{shape.names.package}: /v1{shape.names.path}, of {shape.relation.full_name}")
    print("Look at what was written, then run `make check`.")


def remove_resources(project: Project, names: Sequence[str]) -> None:
    """Delete the folders and tests of these resources, and take their words out of app.py.

    Their tables stay: dropping one is a migration. Exits with a sentence, and nothing is deleted,
    when one of them is no resource of the service.
    """
    with changes() as it:
        _remove(it, Service(project), names)
    for name in names:
        print(f"{name}: gone, with its tests")


def _remove(it: Changes, service: "Service", names: Sequence[str]) -> None:
    gone = [service.remove(it, name) for name in names]
    service.refuse_uses(names)
    schemas = service.schemas_without({table for tables in gone for table in tables})
    service.name_schemas(it, schemas)
    service.format(it)
    if schemas != service.schemas:
        with migrated_database(service.project) as url:
            service.write_tables(it, url, schemas)
    service.write_document(it)


async def _read(
    url: str, service: "Service", tables: Sequence[str], name: str | None, key: Sequence[str]
) -> list[tuple[Shape, Rows]]:
    """What is to be written for each table."""
    connection = await asyncpg.connect(url)
    try:
        catalog, made = Catalog(connection), []
        for table in tables:
            relation = await catalog.find(table)
            if relation is None:
                known = await catalog.names()
                sentence = f"{UnknownTable(table, known, ())}".partition(" Reflected")[0]
                sys.exit(
                    f"{sentence} The migrations make none of that name:"
                    f' write one, make revision m="add {table}".'
                )
            shape = service.shape_of(relation, name, key)
            made.append((shape, await Trial(connection, catalog).rows_for(shape)))
        return made
    finally:
        await connection.close()


class Service:
    """The files of a service that say which resources it has."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.package = project.folder.joinpath("src", *project.package.split("."))
        if not self.package.is_dir():
            self.package = project.folder.joinpath(*project.package.split("."))
        self.app = self.package / "app.py"
        self.settings = self.package / "settings.py"
        self.taken: set[str] = set()
        self._require_syntax()
        #: The schemas that settings.py names; empty for the default one.
        settings = import_module(f"{project.package}.settings").Settings
        self.schemas: list[str] = list(settings.model_fields["database_schemas"].default or ())

    def _require_syntax(self) -> None:
        """Raise NotFound for the first module that cannot be read."""
        for folder in (self.package, self.project.folder / "tests"):
            for path in sorted(folder.rglob("*.py")):
                try:
                    ast.parse(path.read_text("utf-8"))
                except SyntaxError as error:
                    where = f"{path.relative_to(self.project.folder)}, line {error.lineno}"
                    raise NotFound(f"{where}: {error.msg}. Correct it first.") from None

    def shape_of(self, relation: Relation, name: str | None, key: Sequence[str]) -> Shape:
        """The resource of a relation; exits with a sentence where there can be none."""
        there = relation.full_name
        for folder in sorted(self.package.iterdir()):
            if (folder / "router.py").is_file() and there in composition.tables_in(folder):
                sys.exit(f"{there!r} has a resource: {folder.relative_to(self.project.folder)}.")
        key = self._key_of(relation, key)
        schema = None if relation.is_default else relation.schema
        names = Names.of(relation.name, schema, name, self._taken_names())
        if names.package in self._taken_names():
            sys.exit(f"{names.package!r} is taken in {self.package}: choose another NAME.")
        self.taken.add(names.package)
        shape = Shape(relation, names, key)
        for one in shape.key:
            if not one.form.path:
                sys.exit(
                    f"The key of {there!r} has {one.name!r}, whose type has no place in a path:"
                    " write this resource by hand."
                )
        return shape

    def _key_of(self, relation: Relation, key: Sequence[str]) -> Sequence[str]:
        there = relation.full_name
        if not relation.is_view:
            if key:
                sys.exit(f"{there!r} is a table: its primary key is its key, without KEY.")
            if not relation.primary_key:
                sys.exit(f"{there!r} has no primary key: add one in a migration.")
            return ()
        if not key and sys.stdin.isatty():
            key = _words(typer.prompt(f"Which columns tell the rows of {there} apart?"))
        if not key:
            sys.exit(f"{there!r} is a view: name the columns that tell its rows apart, KEY=id.")
        if unknown := [one for one in key if one not in relation.columns]:
            known = ", ".join(relation.columns)
            sys.exit(f"{there!r} has no column {unknown[0]!r}. There are: {known}.")
        return key

    def _taken_names(self) -> set[str]:
        """What a package of a resource cannot be called."""
        folders = [self.package, self.project.folder / "tests"]
        there = {path.stem for one in folders if one.is_dir() for path in one.iterdir()}
        words = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
        used = composition.names_used(self.app.read_text("utf-8"))
        return there | words | used | self.taken

    def add(self, it: Changes, shape: Shape, rows: Rows) -> None:
        """Write the resource and its tests, and name it in app.py."""
        folder, name = self.package / shape.names.package, shape.names.package
        app = self.app.read_text("utf-8")
        guarded = composition.needs_scopes(app)
        tests = self.project.folder / "tests" / name / f"test_{name}.py"
        made = {
            folder / "__init__.py": package_of(shape),
            folder / "router.py": router_of(shape),
            folder / "schemas.py": schemas_of(shape),
            tests: tests_of(shape, rows, self.project.package, guarded=guarded),
            self.app: composition.with_resource(app, name),
        }
        for path, text in made.items():
            it.write(path, text)

    def remove(self, it: Changes, name: str) -> set[str]:
        """Take a resource away; returns its tables. Raises NotFound."""
        folder, app = self.package / name, self.app.read_text("utf-8")
        if not (folder / "router.py").is_file():
            raise NotFound(f"{name!r} is not a resource: {folder} has no router.py.")
        tables = composition.tables_in(folder)
        try:
            text = composition.without_resource(app, name)
        except NotFound as error:
            raise NotFound(f"{self.app}: {error}") from None
        it.write(self.app, text)
        it.remove(folder)
        it.remove(self.project.folder / "tests" / name)
        return tables

    def refuse_uses(self, names: Sequence[str]) -> None:
        """Raise NotFound when a module that is left imports one of these resources."""
        gone = {f"{self.project.package}.{name}": name for name in names}
        for folder in (self.package, self.project.folder / "tests"):
            package = self.project.package if folder == self.package else "tests"
            for path in sorted(folder.rglob("*.py")):
                within = ".".join([package, *path.parent.relative_to(folder).parts])
                used = composition.modules_in(path.read_text("utf-8"), within)
                for module in gone.keys() & used:
                    where = path.relative_to(self.project.folder)
                    raise NotFound(f"{where} uses {gone[module]}: change it first, or remove both.")

    def schemas_with(self, relations: Sequence[Relation]) -> list[str]:
        """The schemas that the service has to reflect for these tables, too."""
        needed = {one.schema for one in relations if not one.is_default} - set(self.schemas)
        return [*(self.schemas or [DEFAULT_SCHEMA]), *sorted(needed)] if needed else self.schemas

    def schemas_without(self, tables: set[str]) -> list[str]:
        """The schemas that are left when nothing but these tables named some of them."""
        gone = {table.partition(".")[0] for table in tables if "." in table}
        sources = [path for path in self.package.rglob("*.py") if path.name != "tables.py"]
        named = "".join(path.read_text("utf-8") for path in sources)
        left = [one for one in self.schemas if one not in gone or f'"{one}.' in named]
        return left if left != [DEFAULT_SCHEMA] else []

    def name_schemas(self, it: Changes, schemas: list[str]) -> None:
        """Write the schemas into settings.py; raises NotFound where they are named otherwise."""
        if schemas != self.schemas:
            text = composition.with_schemas(self.settings.read_text("utf-8"), schemas)
            it.write(self.settings, text)

    def format(self, it: Changes) -> None:
        """Format what was written, with its imports in order and only those that are used."""
        paths = [str(path) for path in it.written]
        for command in (["check", "--fix-only", "--select=I,F401"], ["format"]):
            self._run([sys.executable, "-m", "ruff", *command, "--quiet", *paths])

    def write_tables(self, it: Changes, url: str, schemas: list[str]) -> None:
        """Bring tables.py up to date; raises SyncError when it has changes without a migration."""
        path = self.package / "tables.py"
        written = path.read_text("utf-8") if path.is_file() else ""
        revision = typed_tables.revision_in(written)
        text = asyncio.run(_rendered(url, schemas))
        if revision is None or text == written:
            return
        if revision == typed_tables.revision_in(text):
            known = text if schemas == self.schemas else asyncio.run(_rendered(url, self.schemas))
            if written != known:
                raise SyncError(f"{path} has changes of its own: make the migration first.")
        it.keep(path)
        with warnings.catch_warnings():  # of tables that refer to each other
            warnings.simplefilter("ignore", SAWarning)
            typed_tables.write(path, text)

    def write_document(self, it: Changes) -> None:
        """Write openapi.json again, where the service has one; raises NotFound when it cannot."""
        path = self.project.folder / "openapi.json"
        if not path.is_file():
            return
        it.keep(path)
        self._run([sys.executable, "-m", f"{self.project.package}.cli", "openapi"])

    def _run(self, command: list[str]) -> None:
        options: Any = {"capture_output": True, "encoding": "utf-8"}
        done = subprocess.run(command, cwd=self.project.folder, check=False, **options)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise NotFound(f"{' '.join(command[1:4])} failed, and nothing was changed:\n{said}")


async def _rendered(url: str, schemas: Sequence[str]) -> str:
    with warnings.catch_warnings():  # of types that it does not know
        warnings.simplefilter("ignore", SAWarning)
        async with manager_from_config({"database_url": url}).migration_connection() as connection:
            return await connection.run_sync(typed_tables.render, schemas or [None])


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def delete_example(project: Project) -> None:
    """Delete the example's resources with their tables, migration and rows.

    The database of `dalkit run` is deleted with them when it is there: it has their tables. Exits
    with a sentence when other migrations follow the example's. Raises PostgresError while that
    database is in use.
    """
    versions = project.folder / "migrations" / "versions"
    if others := sorted({path.name for path in versions.glob("*.py")} - {EXAMPLE_MIGRATION}):
        sys.exit(
            f"{others[0]} follows the example's migration: take its resources away one by one,"
            f" `make resource-rm NAME={EXAMPLE[0]}`, and drop their tables in a migration of yours."
        )
    with changes() as it:
        service = Service(project)
        _remove(it, service, EXAMPLE)
        it.remove(versions / EXAMPLE_MIGRATION)
        tables = service.package / "tables.py"
        text = tables.read_text("utf-8")
        if metadata := METADATA.search(text):
            declared = REVISION.sub("", metadata[0])
            it.write(tables, text[: metadata.start()] + declared)
        if project.seed:
            it.write(project.folder / project.seed, "-- Rows for `make run SEED=1`.\n")
        discard(project.data_dir)
    for name in EXAMPLE:
        print(f"{name}: gone, with its tests")
    _tidy(project, tables)


def _tidy(project: Project, *files: Path) -> None:
    """Remove unused imports and format, where ruff is installed."""
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--fix", "--quiet"], ["format", "--quiet"]):
        subprocess.run([*ruff, *command, *map(str, files)], cwd=project.folder, check=False)
