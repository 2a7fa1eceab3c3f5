"""Writes the tests of a resource, with rows that the database has taken."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from .catalog import Column
from .modules import docstring, etag_source, imports_for, string
from .names import Names, is_plain, variable_of
from .rows import Reference, Rows, Step, literal, quoted, statement_of
from .shape import Field, Shape

_CLIENT = "client: httpx.AsyncClient"
_PLAIN = {"int2", "int4", "int8", "text", "varchar", "bpchar", "citext", "bool"}
#: How many values that do not fit are tried.
MOST_WRONG = 6


def tests_of(shape: Shape, rows: Rows, package: str, *, guarded: bool) -> str:
    """The text of the tests, not yet formatted; `guarded`: whether the routes need scopes."""
    it = _Tests(shape, rows)
    parts = [*it.fixtures(), *it.tests(), *(it.scopes() if guarded else ())]
    body = "".join(f"\n\n{part}" for part in parts)
    names = shape.names
    models = [f"{names.class_name}{end}" for end in ("", "Create")]
    used = [model for model in models if re.search(rf"\b{model}\b", body)]
    module = f"{package}.{names.package}.schemas"
    own = f"from {module} import {', '.join(used)}\n" if used else ""
    third = "import httpx\n" + ("import pytest\n" if "@pytest" in body else "")
    head = docstring(f"The resource /v1{names.path}, as a client sees it.")
    return f"{head}\n{third}{imports_for(body)}\n{own}\n{body}"


class _Tests:
    """The tests of one resource."""

    def __init__(self, shape: Shape, rows: Rows) -> None:
        self.shape = shape
        self.rows = rows
        self.names = shape.names
        self.url = f"/v1{shape.names.path}"
        self.variable = shape.names.variable
        self.short = shape.names.singular if len(shape.names.singular) < 24 else "row"
        self.fixture_of = self._fixture_names()

    def _fixture_names(self) -> dict[Step, str]:
        found: dict[Step, str] = {}
        for step in self.rows.steps:
            names = Names.of(step.relation.name, None, None, ())
            name = variable_of(names.singular)
            name = "parent" if name == "row" else name
            while name in (*found.values(), self.variable, "new"):
                name = f"other_{name}"
            found[step] = name
        return found

    # -- what is there

    def fixtures(self) -> Iterator[str]:
        """The rows that have to be there, what a client sends, and a row of the table."""
        for step in self.rows.steps:
            yield self._parent(step)
        if self.rows.new is None:
            return
        name, one = self.names.class_name, self.names
        if self._is_long:
            yield (
                f"def path_of({self._row()}) -> str:\n"
                f"{docstring(f'Where {one.a} is found.', '    ')}"
                f"    key = ({self._key_parts()})\n"
                f"    return f\"{self.url}/{{'/'.join(map(str, key))}}\"\n"
            )
        needed = ", ".join(f"{fixture}: Any" for fixture in self._needed(self.rows.new))
        given = ", ".join(f"{string(key)}: {self._json(key)}" for key in self.rows.new)
        yield (
            f"@pytest.fixture\ndef new({needed}) -> dict[str, Any]:\n"
            f"{docstring(f'What a client sends to add {one.a}.', '    ')}"
            f"    return {{{given}}}\n"
        )
        etag = f", etag={etag_source(self.shape)}" if self.shape.gives_etag else ""
        article = one.a[0].upper() + one.a[1:]
        yield (
            f"@pytest.fixture\nasync def {self.variable}(transaction: TransactionManager,"
            f" new: dict[str, Any]) -> {name}:\n"
            f"{docstring(f'{article} that is there.', '    ')}"
            f"    return await {name}.insert("
            f"transaction, {name}Create.model_validate(new){etag})\n"
        )

    def _needed(self, values: Mapping[str, Any]) -> list[str]:
        used = [v.step for v in values.values() if isinstance(v, Reference)]
        return [self.fixture_of[step] for step in dict.fromkeys(used)]

    def _parent(self, step: Step) -> str:
        fixture = self.fixture_of[step]
        parameters: dict[str, str] = {}

        def shown(value: Any, column: Column) -> str:
            if not isinstance(value, Reference):
                return re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", literal(value, column))
            source = self._value(value)
            name = column.name if is_plain(column.name) else f"value_{len(parameters)}"
            while parameters.get(name, source) != source:
                name += "_"
            parameters[name] = source
            return f":{name}"

        columns = ", ".join(map(quoted, step.used))
        sql = statement_of(step, shown, columns)
        fetch = "fetch_value" if len(step.used) == 1 else "fetch_one"
        needed = "".join(f", {self.fixture_of[one.step]}: Any" for one in step.references)
        needed = "".join(dict.fromkeys(re.findall(r", \w+: Any", needed)))
        pairs = ", ".join(f"{string(name)}: {source}" for name, source in parameters.items())
        names = Names.of(step.relation.name, None, None, ())
        article = names.a[0].upper() + names.a[1:]
        return (
            "@pytest.fixture\n"
            f"async def {fixture}(transaction: TransactionManager{needed}) -> Any:\n"
            f"{docstring(f'{article} to refer to.', '    ')}"
            f"    sql = text({_wrapped(sql)})\n"
            f"    return await transaction.{fetch}(sql{f', {{{pairs}}}' if pairs else ''})\n"
        )

    def _value(self, value: Reference) -> str:
        fixture = self.fixture_of[value.step]
        several = len(value.step.used) > 1
        return f"{fixture}[{string(value.column)}]" if several else fixture

    def _json(self, name: str) -> str:
        value = (self.rows.new or {})[name]
        if not isinstance(value, Reference):
            return source_of(value.json)
        source = self._value(value)
        column = self.shape.relation.columns[name]
        is_plain = column.type.name in _PLAIN or column.type.kind == "e"
        return source if is_plain else f"str({source})"

    # -- what is tried

    @property
    def path(self) -> str:
        """The path of the row, as source."""
        return f"path_of({self.variable})" if self._is_long else f'f"{self.url}{self._key}"'

    @property
    def _key(self) -> str:
        return "".join(f"/{{{self.variable}.{one.attribute}}}" for one in self.shape.key)

    def _key_parts(self) -> str:
        parts = [f"{self.variable}.{one.attribute}" for one in self.shape.key]
        return ", ".join(parts) + ("," if len(parts) == 1 else "")

    @property
    def _is_long(self) -> bool:
        return len(self.url + self._key) > 50

    def _missing(self) -> str:
        return self.url + "".join(f"/{one.form.missing}" for one in self.shape.key)

    def _row(self) -> str:
        return f"{self.variable}: {self.names.class_name}"

    def tests(self) -> Iterator[str]:
        """The tests that hold whoever asks."""
        if self.rows.new is not None:
            yield from self._of_a_new_row(self.rows.new)
            yield from self._of_a_row()
        is_enum = any(
            one.column.type.kind == "e" or one.form.row == "bool" for one in self.shape.key
        )
        if self.rows.is_empty or not is_enum:
            yield (
                f"async def test_a_missing_{self.short}_is_a_problem({_CLIENT}) -> None:\n"
                f"    response = await client.get({string(self._missing())})\n"
                '    assert response.headers["content-type"] == "application/problem+json"\n'
                "    assert response.status_code == 404\n"
            )
        if not self.shape.is_view:
            yield self._refused()
        yield from self._listed()

    def _of_a_new_row(self, new: Mapping[str, Any]) -> Iterator[str]:
        compared = [name for name in new if self._is_exact(name)]
        same = "found.json()[name] for name in new"
        given = "new"
        if len(compared) < len(new):
            listed = ", ".join(map(string, compared)) + ","
            given = f"{{name: new[name] for name in ({listed})}}"
            same = f"found.json()[name] for name in ({listed})"
        assertion = f"    assert {{name: {same}}} == {given}\n" if compared else ""
        tag = '    assert found.headers["etag"] == created.headers["etag"]\n'
        yield (
            f"async def test_a_new_{self.short}_is_found_at_its_location({_CLIENT},"
            " new: dict[str, Any]) -> None:\n"
            f'    created = await client.post("{self.url}", json=new)\n'
            "    assert created.status_code == 201\n"
            '    found = await client.get(created.headers["location"])\n'
            "    assert found.json() == created.json()\n"
            f"{tag if self.shape.etag else ''}{assertion}"
        )
        if self.rows.conflicts:
            yield (
                f"async def test_a_{self.short}_is_added_once({_CLIENT}, new: dict[str, Any])"
                " -> None:\n"
                f'    assert (await client.post("{self.url}", json=new)).status_code == 201\n'
                f'    again = await client.post("{self.url}", json=new)\n'
                '    assert again.headers["content-type"] == "application/problem+json"\n'
                "    assert again.status_code == 409\n"
            )

    def _is_exact(self, name: str) -> bool:
        value = (self.rows.new or {})[name]
        field = self.shape.by_name[name]
        if not isinstance(value, Reference):
            return field.form.is_exact
        return field.column.type.name in {*_PLAIN, "uuid"} - {"bpchar"}

    def _of_a_row(self) -> Iterator[str]:
        if self.shape.etag is not None:
            yield from self._tagged()
        if self.rows.patch is not None:
            yield self._changed(*self.rows.patch)
        gone = 410 if self.shape.keeps_deleted else 404
        yield (
            f"async def test_a_deleted_{self.short}_is_gone({_CLIENT}, {self._row()}) -> None:\n"
            f"    assert (await client.delete({self.path})).status_code == 204\n"
            f"    assert (await client.get({self.path})).status_code == {gone}\n"
        )

    def _tagged(self) -> Iterator[str]:
        tag = f"f'\"{{{self.variable}.etag}}\"'"
        yield (
            f"async def test_an_unchanged_{self.short}_is_not_sent_again({_CLIENT},"
            f" {self._row()}) -> None:\n"
            f'    headers = {{"if-none-match": {tag}}}\n'
            f"    response = await client.get({self.path}, headers=headers)\n"
            '    assert (response.status_code, response.content) == (304, b"")\n'
        )
        if self.rows.patch is None:
            return
        name, value = self.rows.patch
        body = f"{{{string(name)}: {source_of(value.json)}}}"
        yield (
            '@pytest.mark.parametrize(("if_match", "status"), [(None, 428), (\'"stale"\', 412),'
            ' ("*", 200)])\n'
            f"async def test_a_patch_needs_the_etag_of_what_it_changes({_CLIENT}, {self._row()},"
            " if_match: str | None, status: int) -> None:\n"
            '    headers = {} if if_match is None else {"if-match": if_match}\n'
            f"    response = await client.patch({self.path}, json={body}, headers=headers)\n"
            "    assert response.status_code == status\n"
        )

    def _changed(self, name: str, value: Any) -> str:
        body = f"{{{string(name)}: {source_of(value.json)}}}"
        is_exact = self.shape.by_name[name].form.is_exact
        headers, tagged = "", ""
        if self.shape.etag is not None:
            headers = f', headers={{"if-match": f\'"{{{self.variable}.etag}}"\'}}'
            if self.shape.etag.type.name != "varchar" and self.shape.etag.is_written:
                tagged = f'    assert response.headers["etag"] != f\'"{{{self.variable}.etag}}"\'\n'
        seen = f", response.json()[{string(name)}]" if is_exact else ""
        expected = f"(200, {source_of(value.json)})" if is_exact else "200"
        got = f"(response.status_code{seen})" if is_exact else "response.status_code"
        return (
            f"async def test_a_patch_changes_what_it_names({_CLIENT}, {self._row()}) -> None:\n"
            f"    response = await client.patch({self.path}, json={body}{headers})\n"
            f"    assert {got} == {expected}\n{tagged}"
        )

    def _refused(self) -> str:
        new = (
            ("new: dict[str, Any], ", "new | value") if self.rows.new is not None else ("", "value")
        )
        values = [f"{{{string(name)}: {source_of(value)}}}" for name, value in self._wrong()]
        listed = "".join(f"        {value},\n" for value in values)
        return (
            f'@pytest.mark.parametrize("value", [\n{listed}    ])\n'
            f"async def test_a_value_that_does_not_fit_is_named({_CLIENT}, {new[0]}"
            "value: dict[str, Any]) -> None:\n"
            f'    response = await client.post("{self.url}", json={new[1]})\n'
            "    assert response.status_code == 422\n"
            '    places = [error["loc"][:2] for error in response.json()["errors"]]\n'
            '    assert ["body", *value] in places\n'
        )

    def _wrong(self) -> Iterator[tuple[str, Any]]:
        fields = sorted(self.shape.created, key=lambda one: not one.column.is_required)
        known = [one for one in fields if one.form.wrong is not None][:MOST_WRONG]
        for one in known:
            yield one.name, one.form.wrong
        never_null = [one for one in known if not one.nullable]
        if never_null:
            yield never_null[0].name, None
        unknown = "colour"
        while unknown in self.shape.relation.columns:
            unknown += "_"
        yield unknown, "red"

    def _listed(self) -> Iterator[str]:
        if self.rows.new is None:
            yield (
                f"async def test_the_list_is_shown({_CLIENT}) -> None:\n"
                f'    response = await client.get("{self.url}")\n'
                '    assert (response.status_code, "results" in response.json()) == (200, True)\n'
            )
        elif self.rows.other is not None and self.rows.is_empty:
            yield self._paged(self.rows.other)
        else:
            count = " == 1" if self.rows.is_empty else " >= 1"
            yield (
                f"async def test_the_list_has_what_is_there({_CLIENT}, {self._row()}) -> None:\n"
                f'    listed = (await client.get("{self.url}?limit=1")).json()\n'
                f'    assert listed["total_count"]{count}\n'
                '    assert len(listed["results"]) == 1\n'
            )
        if self.rows.new is not None and self.rows.is_empty and (known := self._filter()):
            field, operator = known
            parameter = f'{{"{field.name}__{operator}": new[{string(field.name)}]}}'
            yield (
                f"async def test_the_list_is_filtered({_CLIENT}, {self._row()},"
                " new: dict[str, Any]) -> None:\n"
                f'    listed = await client.get("{self.url}", params={parameter})\n'
                '    assert listed.json()["total_count"] == 1\n'
            )
        if self.rows.new is not None and self.shape.keeps_deleted and self.rows.is_empty:
            yield (
                f"async def test_a_deleted_{self.short}_is_not_listed({_CLIENT}, {self._row()})"
                " -> None:\n"
                f"    assert (await client.delete({self.path})).status_code == 204\n"
                f'    assert (await client.get("{self.url}")).json()["total_count"] == 0\n'
            )

    def _paged(self, other: Mapping[str, Any]) -> str:
        changes = ", ".join(f"{string(n)}: {source_of(v.json)}" for n, v in other.items())
        second = f"new | {{{changes}}}" if changes else "new"
        return (
            f"async def test_the_list_is_paged({_CLIENT}, new: dict[str, Any]) -> None:\n"
            f"    for row in (new, {second}):\n"
            f'        assert (await client.post("{self.url}", json=row)).status_code == 201\n'
            f'    first = (await client.get("{self.url}?limit=1")).json()\n'
            '    second = (await client.get(first["next_url"])).json()\n'
            '    assert (first["total_count"], second["next_url"]) == (2, None)\n'
            '    assert first["results"] != second["results"]\n'
        )

    def _filter(self) -> tuple[Field, str] | None:
        """A filter that finds the row by the value that was sent."""
        for field in self.shape.filtered:
            value = (self.rows.new or {}).get(field.name)
            if value is None or isinstance(value, Reference) or field.name in self.shape.foreign:
                continue
            operators = [one for one in field.form.operators if one not in ("lt", "gt")]
            if operators and field.form.is_exact and value.json != "":
                return field, operators[0]
        return None

    def scopes(self) -> Iterator[str]:
        """The test of what a token must allow."""
        package = self.names.package
        pairs = f'("GET", "write:{package}"), ("POST", "read:{package}")'
        if self.shape.is_view:
            yield (
                f"async def test_reading_needs_a_scope(anonymous: httpx.AsyncClient,"
                " token: Callable[..., str]) -> None:\n"
                f'    headers = {{"authorization": f"Bearer {{token(scopes=["read:others"])}}"}}\n'
                f'    response = await anonymous.get("{self.url}", headers=headers)\n'
                "    assert response.status_code == 403\n"
            )
            return
        yield (
            f'@pytest.mark.parametrize(("method", "scope"), [{pairs}])\n'
            "async def test_reading_and_writing_need_a_scope_each(anonymous: httpx.AsyncClient,"
            " token: Callable[..., str], method: str, scope: str) -> None:\n"
            '    headers = {"authorization": f"Bearer {token(scopes=[scope])}"}\n'
            f'    response = await anonymous.request(method, "{self.url}", json={{}},'
            " headers=headers)\n"
            "    assert response.status_code == 403\n"
        )


def source_of(value: Any) -> str:
    """A value of JSON as source."""
    match value:
        case str():
            return string(value) if len(value) < 60 else f'"{value[0]}" * {len(value)}'
        case list():
            return f"[{', '.join(map(source_of, value))}]"
        case dict():
            return "{" + ", ".join(f"{string(k)}: {source_of(v)}" for k, v in value.items()) + "}"
    return repr(value)


def _wrapped(sql: str) -> str:
    """A statement as source, over several lines where it is too long for one."""
    pieces = textwrap.wrap(sql, 80, drop_whitespace=False, break_on_hyphens=False)
    return "\n".join(map(string, pieces))
