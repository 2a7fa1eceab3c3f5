"""What resources of tables are called, and how app.py and settings.py name them."""

import keyword
from pathlib import Path

import pytest

from dalkit.dev.resources.catalog import Column, Type
from dalkit.dev.resources.composition import (
    NotFound,
    modules_in,
    resources_in,
    schemas_in,
    with_resource,
    with_schemas,
    without_resource,
)
from dalkit.dev.resources.forms import candidates
from dalkit.dev.resources.names import Names, attributes_of
from dalkit.dev.scaffold import changes

APP = """from types import ModuleType

from . import authors, books
from .settings import Settings

RESOURCES: tuple[ModuleType, ...] = (books, authors)
SCOPES: dict[ModuleType, str] = {authors: "books"}
"""
SETTINGS = '''"""Variables."""

import dalkit


class Settings(dalkit.Settings):
    """The configuration."""
'''


@pytest.mark.parametrize(
    ("table", "schema", "package", "class_name", "path"),
    [
        ("publisher", None, "publishers", "Publisher", "/publishers"),
        ("order_items", None, "order_items", "OrderItem", "/order-items"),
        ("invoice", "billing", "billing_invoices", "BillingInvoice", "/billing-invoices"),
        ("category", None, "categories", "Category", "/categories"),
        ("bus", None, "buses", "Bus", "/buses"),
        ("address", None, "addresses", "Address", "/addresses"),
        ("person", None, "people", "Person", "/people"),
        ("CamelCase", None, "camel_cases", "CamelCase", "/camel-cases"),
        ("transaction", None, "transactions", "TransactionRecord", "/transactions"),
        ("setting", None, "setting_records", "SettingRecord", "/setting-records"),
        ("größe", None, "grosses", "Grosse", "/grosses"),
        ("2nd", None, "table_2nds", "Table2nd", "/table-2nds"),
    ],
)
def test_a_resource_is_called_after_its_table(
    table: str, schema: str | None, package: str, class_name: str, path: str
) -> None:
    names = Names.of(table, schema, None, {"settings"})
    assert (names.package, names.class_name, names.path) == (package, class_name, path)


def test_a_name_that_was_given_is_taken() -> None:
    names = Names.of("tbl_bk01", None, "books", ())
    assert (names.package, names.singular, names.class_name) == ("books", "book", "Book")


def test_columns_have_attributes_that_hide_nothing() -> None:
    columns = ["id", "class", "date", "firstName", "first_name", "update", "json", "ß", "2", "_x"]
    found = attributes_of([*columns, "deleted_at"], ["deleted_at"])
    assert (found["id"], found["class"], found["date"]) == ("id", "class_", "date_")
    assert found["first_name"] == "first_name"
    assert found["deleted_at"] == "deleted_at_"
    assert len({*found.values()}) == len(found)
    for name in found.values():
        assert name.isidentifier()
        assert name.isascii()
        assert not name.startswith("_")
        assert not keyword.iskeyword(name)


def test_a_resource_is_named_and_the_text_is_as_before_without_it() -> None:
    text = with_resource(APP, "publishers")
    assert resources_in(text) == ["books", "authors", "publishers"]
    assert "from . import authors, books, publishers\n" in text
    assert without_resource(text, "publishers") == APP


def test_the_last_resource_leaves_neither_import_nor_scopes() -> None:
    text = without_resource(without_resource(APP, "authors"), "books")
    assert "from . import" not in text
    assert resources_in(text) == []
    assert "str] = {}\n" in text
    again = with_resource(text, "books")
    assert "from . import books\nfrom .settings" in again
    assert "= (books,)\n" in again


def test_comments_between_resources_stay() -> None:
    commented = APP.replace("(books, authors)", "(\n    books,  # first\n    authors,\n)")
    text = with_resource(commented, "publishers")
    assert resources_in(text) == ["books", "authors", "publishers"]
    assert "books,  # first" in text
    assert resources_in(without_resource(text, "authors")) == ["books", "publishers"]


@pytest.mark.parametrize("text", ["from . import a\n", APP.replace("RESOURCES", "ALL")])
def test_an_app_without_resources_is_told(text: str) -> None:
    with pytest.raises(NotFound, match="RESOURCES"):
        with_resource(text, "publishers")


def test_a_module_of_the_same_name_elsewhere_is_not_the_resource() -> None:
    source = "from .queries import a\nfrom ..books import Book\nimport my_service.loans.router\n"
    found = modules_in(source, "my_service.authors")
    assert {"my_service.authors.queries", "my_service.books", "my_service.loans"} <= found
    assert "my_service.queries" not in found
    assert "my_service.books" in modules_in("from . import books", "my_service")


def test_schemas_are_named_and_the_class_is_as_before_without_them() -> None:
    text = with_schemas(SETTINGS, ["public", "billing"])
    assert schemas_in(text) == ["public", "billing"]
    assert "from dalkit.settings import CommaSeparated\n" in text
    assert schemas_in(with_schemas(text, [])) == []
    assert with_schemas(text, []).rstrip().endswith('"""The configuration."""')


@pytest.mark.parametrize(
    ("type_", "check", "wanted"),
    [
        (Type("text", "pg_catalog", "b"), "(code ~ '^[A-Z]{2}-[0-9]{4}$'::text)", "AA-0000"),
        (Type("text", "pg_catalog", "b"), "(mail ~ '^[a-z]+@x[.](de|com)$'::text)", "a@x.de"),
        (Type("varchar", "pg_catalog", "b", 12), "(char_length(card) = 8)", "aaaaaaaa"),
        (Type("text", "pg_catalog", "b"), "(c = ANY (ARRAY['it''s'::text]))", "it's"),
        (Type("int4", "pg_catalog", "b"), "((n > 2000) AND (n < 3000))", "2001"),
        (Type("numeric", "pg_catalog", "b", 655366), "(x > (7.5)::numeric)", "8.50"),
        (Type("date", "pg_catalog", "b"), "(d > '1900-01-01'::date)", "1900-01-01"),
    ],
)
def test_values_are_tried_that_a_check_is_about(type_: Type, check: str, wanted: str) -> None:
    column = Column("c", type_, not_null=True)
    assert wanted in [sample.sql for sample in candidates(column, [check])]


def test_a_word_in_a_comment_of_resources_is_no_resource() -> None:
    app = (
        "from . import books\n\nRESOURCES = (\n    books,  # the one of publishers comes later\n)\n"
    )
    changed = with_resource(app, "publishers")
    assert resources_in(changed) == ["books", "publishers"]
    assert "# the one of publishers comes later" in changed


@pytest.mark.parametrize(("gone", "stays"), [("books", "authors"), ("authors", "books")])
def test_what_is_on_the_line_of_a_removed_resource_stays(gone: str, stays: str) -> None:
    app = "from . import authors, books\n\nRESOURCES = (\n    books, authors,  # both\n)\n"
    changed = without_resource(app, gone)
    assert resources_in(changed) == [stays]
    assert "# both" in changed


def test_the_same_word_outside_of_scopes_stays() -> None:
    app = (
        "from . import authors, books\n\n"
        "RESOURCES = (books, authors)\n"
        'SCOPES: dict[ModuleType, str] = {authors: "books", books: "books"}\n'
        'OTHER = {authors: "writers", books: "volumes"}\n'
    )
    changed = without_resource(app, "authors")
    assert 'OTHER = {authors: "writers", books: "volumes"}' in changed
    assert 'SCOPES: dict[ModuleType, str] = {books: "books"}\n' in changed


def test_a_scope_with_a_comment_goes_alone() -> None:
    app = (
        "from . import authors, books\n\nRESOURCES = (books, authors)\n"
        'SCOPES = {\n    authors: "books",  # as theirs\n    books: "all",  # ours\n}\n'
    )
    changed = without_resource(app, "authors")
    assert 'SCOPES = {\n    books: "all",  # ours\n}' in changed


def test_changes_that_fail_leave_modes_and_links_as_they_were(tmp_path: Path) -> None:
    there, script, link = (tmp_path / name for name in ("there.py", "script.py", "link.py"))
    folder = tmp_path / "folder"
    folder.mkdir()
    inner = folder / "inner.py"
    inner.symlink_to(there)
    for path in (there, script):
        path.write_text("old")
    script.chmod(0o755)
    link.symlink_to(there)
    with pytest.raises(SystemExit, match="no such"), changes() as it:
        it.write(script, "new")
        it.write(link, "new")
        it.write(tmp_path / "made" / "new.py", "new")
        it.remove(folder)
        it.remove(link)
        raise NotFound("no such")
    assert (there.read_text(), script.read_text()) == ("old", "old")
    assert script.stat().st_mode & 0o777 == 0o755
    assert link.readlink() == there
    assert inner.readlink() == there
    assert not (tmp_path / "made").exists()
