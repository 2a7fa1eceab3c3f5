"""Writes the modules of a resource: the models, the routes, and what the package says of itself."""

import re
import textwrap
from collections.abc import Iterable, Iterator

from .names import IMPORTED, camel, words_of
from .shape import Field, Shape, is_parameter

#: Where the names come from that the modules use.
SOURCES = {
    "collections.abc": "Callable",
    "dalkit": (
        "Entity Page Problem QueryModel ReadEntity ReadTransaction Transaction TransactionManager"
    ),
    "dalkit.types": (
        "Body Bytes Cidr Circle Composite Date Digits Duration Filter Float Id Inet Int16 Int32"
        " Int64 JsonData JsonFloat JsonInt16 JsonInt32 JsonInt64 LocalTimestamp Point Points"
        " RangeOf Text TextId Time Timestamp"
    ),
    "dalkit.web": "ConditionalRead ConditionalWrite Created",
    "datetime": "date datetime time timedelta",
    "decimal": "Decimal",
    "fastapi": "APIRouter Query Request",
    "pydantic": "Field JsonValue MISSING StrictBool",
    "sqlalchemy": "ColumnElement text",
    "typing": "Annotated Any ClassVar Literal",
    "uuid": "UUID uuid4",
}
_STRINGS = re.compile(r'"""(?s:.)*?"""|r?"(?:[^"\\\n]|\\.)*"|r?\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*')


def schemas_of(shape: Shape) -> str:
    """The text of schemas.py, not yet formatted."""
    return _Schemas(shape).text()


class _Schemas:
    """The models of one resource."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.name = shape.names.class_name
        self.aliases = aliases_of(shape)

    def text(self) -> str:
        one = self.shape.names
        classes: dict[str, str] = {}
        for each in self.shape.fields:
            classes |= each.form.classes
        what = "as a row and as a query" if self.shape.is_view else _AS_ALL
        body = "".join(f"{name} = {source}\n" for source, name in self.aliases.items())
        body += "".join(f"\n\n{source}\n" for source in classes.values())
        body += "".join(f"\n\n{source}\n" for source in self._models())
        head = docstring(f"What {one.a} looks like: {what}.")
        return f"{head}\n{imports_for(body)}\n{body}"

    def _models(self) -> Iterator[str]:
        one, relation = self.shape.names, self.shape.relation
        base = "ReadEntity" if self.shape.is_view else "Entity"
        kind = {"v": "view", "m": "materialized view"}.get(relation.kind, "table")
        head = f"class {self.name}({base}, table={string(relation.full_name)}):"
        lines = [self._row(each) for each in self.shape.fields]
        yield _class(head, f"A row of the {kind} `{relation.full_name}`.", lines)
        if not self.shape.is_view:
            lines = [self._created(each) for each in self.shape.created]
            yield _class(f"class {self.name}Create(Body):", f"A new {one.one}.", lines)
        if self.shape.patched and not self.shape.is_view:
            lines = [self._patched(each) for each in self.shape.patched]
            yield _class(f"class {self.name}Patch(Body):", _PATCH, lines)
        head = f"class {self.name}Query(QueryModel, entity={self.name}):"
        query = _class(head, f"The parameters of the list of {one.many}.", [*self._query()])
        yield query + (_RESTRICT.format(many=one.many.capitalize()) if self._restricts else "")

    @property
    def _restricts(self) -> bool:
        return self.shape.keeps_deleted

    def _declared(self, source: str) -> str:
        return self.aliases.get(source, source)

    def _row(self, field: Field) -> str:
        options = {"exclude": "True"} if field.is_hidden else {}
        kind = _or_none(self._declared(field.form.row), nullable=field.nullable)
        return _line(field, kind, None, options)

    def _created(self, field: Field) -> str:
        kind = self._declared(body_of(self.shape, field))
        if field.column.default is not None:
            return _line(field, _or_none(f"{kind} | MISSING", nullable=field.nullable), "MISSING")
        default = "None" if field.nullable else None
        return _line(field, _or_none(kind, nullable=field.nullable), default)

    def _patched(self, field: Field) -> str:
        kind = f"{self._declared(body_of(self.shape, field))} | MISSING"
        return _line(field, _or_none(kind, nullable=field.nullable), "MISSING")

    def _query(self) -> Iterator[str]:
        for field in self.shape.filtered:
            kind = self._declared(field.form.filter)
            if field.name in self.shape.foreign and field.form.is_sortable:
                yield f"{field.name}__eq: Filter[{kind}] = None"
                yield f"{field.name}__in: Filter[list[{kind}]] = None"
                continue
            for operator in field.form.operators:
                yield f"{field.name}__{operator}: Filter[{kind}] = None"
        orderings = [f"{sign}{one.name}" for one in self.shape.sorted for sign in ("", "-")]
        if orderings:
            literal = ", ".join(map(string, orderings))
            yield f"order_by: Literal[{literal}] = {string(orderings[0])}"
        if self.shape.is_view:
            names = "".join(f"{string(name)}, " for name in self.shape.key_columns)
            yield f"tie_break: ClassVar[tuple[str, ...]] = ({names})"


_AS_ALL = "as a row, as a request and as a query"
_PATCH = "The fields to change; a field that is left out stays as it is."
_RESTRICT = '''
    @classmethod
    def restrict(cls, columns: Any) -> ColumnElement[bool]:
        """{many} that were deleted are not listed."""
        condition: ColumnElement[bool] = columns.deleted_at.is_(None)
        return condition
'''


def body_of(shape: Shape, field: Field) -> str:
    """The annotation of a field in a body: the value of a key fits a path, too."""
    body = field.form.body
    if field.name not in shape.key_columns:
        return body
    if field.form.path == "Id":
        return f"Annotated[{body}, Field(ge=0)]"
    return re.sub(r"\bText\b", "TextId", body) if field.form.path == "TextId" else body


def aliases_of(shape: Shape) -> dict[str, str]:
    """Annotations that are long and not used only once, and what they are called."""
    uses: dict[str, list[Field]] = {}
    for field in shape.fields:
        sources = [field.form.row] if not field.is_hidden else []
        sources += [body_of(shape, field)] * (field.in_create + field.in_patch)
        sources += [field.form.filter] * (field in shape.filtered)
        for source in sources:
            if re.search(r"\b(Annotated|Literal)\[", source):
                uses.setdefault(source, []).append(field)
    found: dict[str, str] = {}
    name = shape.names.class_name
    taken = IMPORTED | {name, f"{name}Create", f"{name}Patch", f"{name}Query"}
    taken |= {known for field in shape.fields for known in field.form.classes}
    for source, fields in uses.items():
        if len(fields) > 1:
            alias = camel("_".join(words_of(fields[0].name)))
            alias = alias if alias.isidentifier() else f"N{alias}"
            while alias in taken:
                alias += "Value"
            taken = taken | {alias}
            found[source] = alias
    return found


def _or_none(kind: str, *, nullable: bool) -> str:
    return f"{kind} | None" if nullable else kind


def _line(field: Field, kind: str, default: str | None, options: dict[str, str] = {}) -> str:  # noqa: B006
    if field.attribute != field.name:
        options = {"alias": string(field.name), **options}
    if options:
        given = ({"default": default} if default else {}) | options
        default = f"Field({', '.join(f'{name}={source}' for name, source in given.items())})"
    return f"{field.attribute}: {kind}" + (f" = {default}" if default else "")


def _class(head: str, says: str, lines: Iterable[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"{head}\n{docstring(says, '    ')}" + (f"\n{body}" if body else "")


def router_of(shape: Shape) -> str:
    """The text of router.py, not yet formatted."""
    body = "".join(f"\n\n{source}" for source in _routes(shape))
    names = shape.names
    head = f"router = APIRouter(prefix={string(names.path)}, tags=[{string(names.many)}])\n"
    models = sorted(
        name
        for name in (*_models_of(shape), *aliases_of(shape).values())
        if re.search(rf"\b{name}\b", _STRINGS.sub("", body))
    )
    imports = imports_for(body + head) + f"\nfrom .schemas import {', '.join(models)}\n"
    return f"{docstring(f'The routes of `/v1{names.path}`.')}\n{imports}\n{head}{body}"


def _models_of(shape: Shape) -> list[str]:
    return [f"{shape.names.class_name}{end}" for end in ("", "Create", "Patch", "Query")]


def _routes(shape: Shape) -> Iterator[str]:
    names, parameters = shape.names, shape.parameters
    name, one, variable = names.class_name, names.singular, names.variable
    aliases = aliases_of(shape)
    path = "".join(f"/{{{parameter}}}" for parameter in parameters.values())
    key = ", ".join(parameters.values())
    declared = ", ".join(
        f"{parameters[f.name]}: {aliases.get(f.form.path, f.form.path)}" for f in shape.key
    )
    pk = f"({key})" if len(parameters) > 1 else key
    yield (
        '@router.get("")\n'
        f"async def list_{names.package}(query: Annotated[{name}Query, Query()],"
        f" tx: ReadTransaction, request: Request) -> Page[{name}]:\n"
        f"{docstring(f'{names.many.capitalize()} that match every filter.', '    ')}"
        f"    return await {name}.page(tx, query, request)\n"
    )
    if shape.is_view:
        yield _read_of_view(shape, path, declared)
        return
    etag = shape.etag is not None
    conditional = ", conditional: ConditionalRead" if etag else ""
    found = f"await {name}.get_or_404(tx, {key})"
    says = f"One {names.one} and its ETag." if etag else f"One {names.one}."
    yield (
        f"@router.get({string(path)})\n"
        f"async def get_{one}({declared}, tx: ReadTransaction{conditional}) -> {name}:\n"
        f"{docstring(says, '    ')}"
        f"    return {f'conditional.tagged({found})' if etag else found}\n"
    )
    made = ", ".join(f"{parameters[f.name]}={variable}.{f.attribute}" for f in shape.key)
    given = f", etag={etag_source(shape)}" if shape.gives_etag else ""
    says = f"Add {names.a}; `Location` is where it is found."
    yield (
        '@router.post("", status_code=201)\n'
        f"async def create_{one}(new: {name}Create, tx: Transaction, created: Created) -> {name}:\n"
        f"{docstring(says, '    ')}"
        f"    {variable} = await {name}.insert(tx, new{given})\n"
        f"    return created.at({string(f'get_{one}')}, {variable}, {made})\n"
    )
    if shape.patched:
        seen = " that the client has seen" if etag else ""
        yield (
            f"@router.patch({string(path)})\n"
            f"async def change_{one}({declared}, patch: {name}Patch, tx: Transaction,"
            f" conditional: ConditionalWrite) -> {name}:\n"
            f"{docstring(f'Change some fields of the {names.one}{seen}.', '    ')}"
            f"    return await conditional.update(tx, {name}, {pk}, patch)\n"
        )
    stays = (
        "; its row stays, and it is answered with 410 from now on" if shape.keeps_deleted else ""
    )
    yield (
        f"@router.delete({string(path)}, status_code=204)\n"
        f"async def delete_{one}({declared}, tx: Transaction,"
        " conditional: ConditionalWrite) -> None:\n"
        f"{docstring(f'Delete {names.a}{stays}.', '    ')}"
        f"    await conditional.delete(tx, {name}, {pk})\n"
    )


def _read_of_view(shape: Shape, path: str, declared: str) -> str:
    names, parameters = shape.names, shape.parameters
    name, variable = names.class_name, names.variable
    plain = all(is_parameter(f.name) for f in shape.key)
    equal = ", ".join(f"{f.name}={parameters[f.name]}" for f in shape.key)
    pairs = ", ".join(f"{string(f.name)}: {parameters[f.name]}" for f in shape.key)
    shown = ", ".join(f"{{{parameter}}}" for parameter in parameters.values())
    return (
        f"@router.get({string(path)})\n"
        f"async def get_{names.singular}({declared}, tx: ReadTransaction) -> {name}:\n"
        f"{docstring(f'One {names.one}.', '    ')}"
        f"    {variable} = await {name}.get_one(tx, {equal if plain else f'**{{{pairs}}}'})\n"
        f"    if {variable} is None:\n"
        f"        raise Problem(404, f{string(f'There is no {names.one} {shown}.')})\n"
        f"    return {variable}\n"
    )


def etag_source(shape: Shape) -> str:
    """The etag of a new row."""
    kind = shape.etag.type.name if shape.etag else ""
    if kind.startswith("int"):
        return "1"
    return "uuid4()" if kind == "uuid" else "str(uuid4())"


def package_of(shape: Shape) -> str:
    """The text of __init__.py."""
    name, many = shape.names.class_name, shape.names.many
    kind = {"v": "view", "m": "materialized view"}.get(shape.relation.kind, "table")
    says = f"{many.capitalize()}: the rows of the {kind} `{shape.relation.full_name}`."
    return f'''{docstring(says)}
from .router import router
from .schemas import {name}, {name}Query

#: What is checked against the reflected tables, at startup.
ENTITIES = ({name}, {name}Query)

__all__ = ["ENTITIES", "{name}", "{name}Query", "router"]
'''


def imports_for(body: str) -> str:
    """The imports of the names that a module uses; without those of its own package."""
    words = set(re.findall(r"\w+", _STRINGS.sub("", body)))
    lines = []
    for module, names in SOURCES.items():
        used = [name for name in names.split() if name in words]
        if used:
            lines.append(f"from {module} import {', '.join(used)}\n")
    return "".join(lines)


def docstring(says: str, indent: str = "") -> str:
    """A docstring, over several lines where it is too long for one."""
    plain = says.replace("\\", "\\\\").replace('"""', '\\"""')
    if len(indent) + len(plain) + 6 <= 100:
        return f'{indent}"""{plain}"""\n'
    lines = textwrap.wrap(plain, 94 - len(indent), break_long_words=False)
    return f'{indent}"""' + f"\n{indent}".join(lines) + f'\n{indent}"""\n'


def string(text: str) -> str:
    """A text as source; letters that look like others are written as their numbers."""
    source = text.replace("\\", "\\\\").replace('"', '\\"')
    shown = "".join(
        letter
        if letter.isprintable() and (letter.isascii() or _is_latin(letter))
        else _escape(letter)
        for letter in source
    )
    return f'"{shown}"'


def _is_latin(letter: str) -> bool:
    return letter.isalpha() and ord(letter) < 0x180


def _escape(letter: str) -> str:
    return (
        letter.encode("ascii", "backslashreplace").decode()
        if not letter.isascii()
        else repr(letter)[1:-1]
    )
