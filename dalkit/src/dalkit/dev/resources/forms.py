"""How a PostgreSQL type is written in a model, sent as JSON, and tried out in a test."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from importlib import import_module
from itertools import islice
from typing import Any

from .catalog import Column, Type
from .names import attributes_of, camel, words_of


@dataclass(frozen=True)
class Sample:
    """A value as JSON and as PostgreSQL's text."""

    json: Any
    sql: str


#: Of a nullable column.
NULL = Sample(None, "NULL")


@dataclass(frozen=True)
class Form:
    """How a column's values are declared and tried."""

    #: The annotations of an entity, a body and a filter.
    row: str
    body: str
    filter: str = ""
    #: The operators that a filter on it has.
    operators: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    is_sortable: bool = False
    #: Whether a response has the value as it was sent.
    is_exact: bool = True
    #: As a parameter of a path, and a value of it that no row has.
    path: str = ""
    missing: str = ""
    #: A value that a body is refused for.
    wrong: Any = field(default_factory=list)
    #: Classes that the annotations need, by name, as source.
    classes: dict[str, str] = field(default_factory=dict)


def _values(*values: Any) -> tuple[Sample, ...]:
    return tuple(Sample(one, _text(one)) for one in values)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)


_EQ, _SPAN = ("eq",), ("ge", "le")
_UUIDS = ("6f1b7a52-0c7e-4d3b-9a58-1f2e3d4c5b6a", "0a9b8c7d-6e5f-4a3b-8c1d-2e3f4a5b6c7d")
_WORDS: tuple[str, ...] = (
    "one",
    "two",
    "a",
    "AB",
    "ABC",
    "ab",
    "abc",
    "1",
    "12",
    "123",
    "1234",
    "0123456789",
)
_WORDS += ("a@example.com", "https://example.com", "+4912345678", "a-b", "a_b", "", "#1234ab")
_NUMBERS = (1, 2, 10, 0, 5, 50, 100, 1000, 2026, -1)
_DATES = ("2026-01-31", "2026-02-28", "2000-01-01", "2026-01-01", "1990-05-17", "2099-12-31")
_INSTANTS = tuple(f"{one}T12:00:00Z" for one in _DATES)
_LOCAL = tuple(f"{one}T12:00:00" for one in _DATES)
_TWO = "Annotated[Points, Field(min_length=2, max_length=2)]"
_PAIR = (Sample([[3.0, 4.0], [1.0, 2.0]], "(3,4),(1,2)"),)
_POINTS = (Sample([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], "((0,0),(1,0),(1,1))"),)


def _integer(bits: int) -> Form:
    return Form(
        row="int",
        body=f"JsonInt{bits}",
        filter=f"Int{bits}",
        operators=_SPAN,
        samples=_values(*_NUMBERS),
        is_sortable=True,
        path="Id",
        missing="12345",
        wrong="one",
    )


_TEXT = Form(
    row="str",
    body="Text",
    filter="Text",
    operators=("icontains",),
    samples=_values(*_WORDS),
    is_sortable=True,
    path="TextId",
    missing="missing",
    wrong=1,
)
_OPAQUE = replace(_TEXT, operators=(), is_sortable=False, is_exact=False, path="")
_FLOAT = Form(
    row="float",
    body="JsonFloat",
    filter="Float",
    operators=_SPAN,
    samples=_values(1.5, 2.5, 0.5, 10.0, 50.0, 100.0, -1.5),
    is_sortable=True,
    path="Float",
    missing="12345",
    wrong="one",
)
_TIME = Form(
    row="Time",
    body="Time",
    filter="Time",
    operators=_SPAN,
    samples=_values("08:30:00", "17:00:00"),
    is_sortable=True,
    path="Time",
    missing="03:04:05",
    wrong="late",
)
_FORMS: dict[str, Form] = {
    "int2": _integer(16),
    "int4": _integer(32),
    "int8": _integer(64),
    "oid": replace(_integer(64), body="Annotated[JsonInt64, Field(ge=0, le=4294967295)]"),
    "bool": Form(
        row="bool",
        body="StrictBool",
        filter="bool",
        operators=_EQ,
        samples=_values(True, False),
        path="bool",
        missing="false",
        wrong="maybe",
    ),
    "float4": _FLOAT,
    "float8": _FLOAT,
    "text": _TEXT,
    "citext": _TEXT,
    "name": replace(_TEXT, body="Annotated[Text, Field(max_length=63)]"),
    "uuid": Form(
        row="UUID",
        body="UUID",
        filter="UUID",
        operators=_EQ,
        samples=_values(*_UUIDS),
        path="UUID",
        missing="00000000-0000-0000-0000-000000000000",
        wrong="one",
    ),
    "date": Form(
        row="date",
        body="Date",
        filter="Date",
        operators=("ge", "lt"),
        samples=_values(*_DATES),
        is_sortable=True,
        path="Date",
        missing="1234-05-06",
        wrong="yesterday",
    ),
    "timestamptz": Form(
        row="datetime",
        body="Timestamp",
        filter="Timestamp",
        operators=("ge", "lt"),
        samples=_values(*_INSTANTS),
        is_sortable=True,
        path="Timestamp",
        missing="1234-05-06T00:00:00Z",
        wrong="yesterday",
    ),
    "timestamp": Form(
        row="LocalTimestamp",
        body="LocalTimestamp",
        filter="LocalTimestamp",
        operators=("ge", "lt"),
        samples=_values(*_LOCAL),
        is_sortable=True,
        path="LocalTimestamp",
        missing="1234-05-06T00:00:00",
        wrong="yesterday",
    ),
    "time": _TIME,
    "timetz": Form(row="time", body="time", samples=_values("08:30:00Z"), wrong="late"),
    "interval": Form(
        row="timedelta",
        body="Duration",
        samples=(Sample("P1DT12H", "1 day 12:00"), Sample("PT30M", "00:30")),
        wrong="long",
    ),
    "bytea": Form(
        row="Bytes",
        body="Bytes",
        samples=(Sample("AP8=", r"\x00ff"), Sample("AQ==", r"\x01")),
        wrong=1,
    ),
    "json": Form(
        row="JsonValue", body="JsonData", samples=_values({"one": 1}, ["two"], {}), wrong=None
    ),
    "jsonb": Form(
        row="JsonValue", body="JsonData", samples=_values({"one": 1}, ["two"], {}), wrong=None
    ),
    "inet": Form(
        row="Inet",
        body="Inet",
        samples=_values("192.0.2.1/32", "198.51.100.0/24"),
        is_exact=False,
        wrong="here",
    ),
    "cidr": Form(
        row="Cidr",
        body="Cidr",
        samples=_values("192.0.2.0/24", "198.51.100.0/24"),
        wrong="here",
    ),
    "macaddr": replace(
        _OPAQUE,
        path="TextId",
        missing="00:00:00:00:00:00",
        samples=_values("08:00:2b:01:02:03", "08:00:2b:01:02:04"),
    ),
    "macaddr8": replace(
        _OPAQUE, samples=_values("08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:06")
    ),
    "money": replace(_OPAQUE, samples=_values("1.50", "2.50")),
    "xml": replace(_OPAQUE, samples=_values("<one/>", "<two/>")),
    "tsvector": replace(_OPAQUE, samples=_values("one two", "three")),
    "tsquery": replace(_OPAQUE, samples=_values("one & two", "three")),
    "pg_lsn": replace(_OPAQUE, samples=_values("16/B374D848", "16/B374D849")),
    "ltree": replace(_OPAQUE, path="TextId", missing="missing", samples=_values("one.two", "one")),
    "hstore": Form(
        row="dict[str, str | None]",
        body="dict[Text, Text | None]",
        samples=(Sample({"one": "1"}, "one=>1"), Sample({}, "")),
    ),
    "point": Form(
        row="Point",
        body="Point",
        samples=(Sample([1.0, 2.0], "(1,2)"), Sample([3.0, 4.0], "(3,4)")),
    ),
    "line": Form(
        row="list[float]",
        body="Annotated[list[JsonFloat], Field(min_length=3, max_length=3)]",
        samples=(Sample([1.0, 2.0, 3.0], "{1,2,3}"), Sample([1.0, 0.0, 2.0], "{1,0,2}")),
    ),
    "lseg": Form(row="Points", body=_TWO, samples=_PAIR, wrong="none"),
    "box": Form(row="Points", body=_TWO, samples=_PAIR, wrong="none"),
    "circle": Form(
        row="Circle",
        body="Circle",
        samples=(Sample({"center": [1.0, 2.0], "radius": 3.0}, "<(1,2),3>"),),
        wrong="none",
    ),
    "path": Form(row="Points", body="Points", samples=_POINTS, wrong="none"),
    "polygon": Form(row="Points", body="Points", samples=_POINTS, wrong="none"),
}


def form_of(column: Column) -> Form:
    """How the values of a column are declared, without regard to NULL."""
    return _form(column.type, camel("_".join(words_of(column.name))))


def _form(type_: Type, name: str) -> Form:
    if type_.kind == "d" and type_.inner:
        return _form(type_.inner, name)
    if type_.kind == "a" and type_.inner:
        return _array(_form(type_.inner, name), type_.inner)
    if type_.kind in "rm" and type_.inner:
        return _range(_form(type_.inner, name), type_)
    if type_.kind == "e":
        literal = f"Literal[{', '.join(map(repr, type_.labels))}]"
        shown = literal if len(type_.labels) else "str"
        slashed = any("/" in label or not label for label in type_.labels)
        return Form(
            row=shown,
            body=shown,
            filter=shown,
            operators=_EQ,
            samples=_values(*type_.labels),
            path="" if slashed else shown,
            missing=type_.labels[-1] if type_.labels else "",
            wrong=_other_than(type_.labels),
        )
    if type_.kind == "c":
        return _composite(type_, name)
    return _of_base(type_)


def _of_base(type_: Type) -> Form:
    length = type_.modifier - 4
    if type_.name in ("varchar", "bpchar"):
        return _text_of(length, is_padded=type_.name == "bpchar")
    if type_.name in ("bit", "varbit"):
        return _bits(type_.modifier, is_varying=type_.name == "varbit")
    if type_.name == "numeric":
        return _numeric(type_.modifier)
    return _FORMS.get(type_.name, _OPAQUE)


def _other_than(labels: Iterable[str]) -> str:
    word = "none"
    while word in labels:
        word += "_"
    return word


def _text_of(length: int, *, is_padded: bool) -> Form:
    if length < 1:
        return replace(_TEXT, is_exact=not is_padded)
    body = f"Annotated[Text, Field(max_length={length})]"
    fitting = [*(word for word in _WORDS if len(word) == length), *_WORDS, "a" * min(length, 80)]
    fitting = [word for word in dict.fromkeys(fitting) if len(word) <= length]
    if is_padded:
        fitting = [word for word in fitting if len(word) == length] or ["a" * length]
        fitting += [one[:-1] + "b" for one in fitting if one[-1] != "b"]
    wrong = "a" * (length + 1) if length < 30 else 1
    return replace(_TEXT, body=body, samples=_values(*fitting), wrong=wrong)


def _bits(length: int, *, is_varying: bool) -> Form:
    size = f"{{1,{length}}}" if is_varying and length > 0 else f"{{{max(length, 1)}}}"
    size = "+" if is_varying and length < 1 else size
    bits = ["1" * max(length, 1), "0" * max(length, 1)] if not is_varying else ["1", "0"]
    body = f'Annotated[Text, Field(pattern=r"^[01]{size}$")]'
    return replace(_OPAQUE, body=body, samples=_values(*bits), is_exact=True, wrong="two")


def _numeric(modifier: int) -> Form:
    precision, scale = (modifier - 4) >> 16, (modifier - 4) & 0x7FF
    is_plain = modifier >= 4 and scale <= precision and scale < 1024
    body = f"Annotated[Decimal, Digits({precision}, {scale})]" if is_plain else "Decimal"
    shown = [f"{n}.{'5' * min(scale, 1):0<{scale}}" if scale else f"{n}" for n in (1, 2, 9, 0)]
    if is_plain and precision == scale:
        shown = [f"0.{'5':0<{scale}}", f"0.{'2':0<{scale}}", f"0.{'':0<{scale}}"]
    elif is_plain:
        more = [f"{n}" for n in (10, 50, 100, 1000) if len(str(n)) <= precision - scale]
        shown += [f"{n}.{'':0<{scale}}" if scale else n for n in more]
    if not is_plain:
        shown = ["1.5", "2.5", "10", "0", "100"] if modifier < 4 else ["0", "1000"]
    return Form(
        row="Decimal",
        body=body,
        filter="Decimal" if body == "Decimal" else body,
        operators=_SPAN,
        samples=_values(*shown),
        is_sortable=True,
        is_exact=is_plain or modifier < 4,
        path="Decimal",
        missing="0.123" if not is_plain else "9" * max(precision - scale, 1),
        wrong="much",
    )


def _array(item: Form, type_: Type) -> Form:
    samples = [
        Sample([one.json], _array_literal([one.sql], nested=type_.kind == "a"))
        for one in islice(item.samples, 3)
    ]
    if type_.kind != "a":
        samples.append(Sample([], "{}"))
    row = item.row if type_.kind == "a" else f"{item.row} | None"
    return Form(
        row=f"list[{row}]",
        body=f"list[{item.body}]",
        samples=tuple(samples),
        is_exact=item.is_exact,
        wrong="none",
        classes=item.classes,
    )


def _array_literal(items: list[str], *, nested: bool) -> str:
    if nested:
        return "{" + ",".join(items) + "}"
    return "{" + ",".join(_quoted(item) for item in items) + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _range(item: Form, type_: Type) -> Form:
    low, high = _two_in_order(item.samples)
    given = {"lower": low.json, "upper": high.json, "bounds": "[)", "empty": False}
    literal = f"[{_quoted(low.sql)},{_quoted(high.sql)})"
    below = {**given, "lower": None, "bounds": "()"}
    samples = [Sample(given, literal), Sample(below, f"(,{_quoted(low.sql)})")]
    samples[1].json["upper"] = low.json
    row, body = f"RangeOf[{item.row}]", f"RangeOf[{item.body}]"
    if type_.kind == "m":
        samples = [Sample([one.json], "{" + one.sql + "}") for one in samples]
        row, body = f"list[{row}]", f"list[{body}]"
    return Form(row=row, body=body, samples=tuple(samples), is_exact=item.is_exact, wrong="none")


def _two_in_order(samples: tuple[Sample, ...]) -> tuple[Sample, Sample]:
    first, second = samples[0], samples[1]
    try:
        is_ordered = float(first.sql) < float(second.sql)
    except ValueError:
        is_ordered = first.sql < second.sql
    return (first, second) if is_ordered else (second, first)


def _composite(type_: Type, name: str) -> Form:
    class_name = camel("_".join(words_of(type_.name)))
    if class_name == name:  # the alias of the column's own type may be called so
        class_name += "Value"
    attributes = attributes_of([one.name for one in type_.fields])
    classes: dict[str, str] = {}
    lines, values, texts = [], {}, []
    is_exact = True
    for one in type_.fields:
        form = _form(one.type, camel("_".join(words_of(one.name))))
        classes |= form.classes
        alias = f' = Field(alias="{one.name}")' if attributes[one.name] != one.name else ""
        lines.append(f"    {attributes[one.name]}: {form.body} | None{alias}\n")
        values[one.name] = form.samples[0].json
        texts.append(_quoted(form.samples[0].sql))
        is_exact &= form.is_exact
    classes[class_name] = (
        f"class {class_name}(Composite):\n"
        f'    """A value of the type `{type_.name}`."""\n\n{"".join(lines)}'
    )
    samples = (Sample(values, f"({','.join(texts)})"),)
    return Form(
        row=class_name,
        body=class_name,
        samples=samples,
        is_exact=is_exact,
        wrong="none",
        classes=classes,
    )


def candidates(column: Column, checks: Iterable[str]) -> Iterator[Sample]:
    """Values for a column: those of its type, after those that its checks are about."""
    form, seen, base = form_of(column), set(), _base_of(column.type)
    named = _from_checks([*column.type.checks, *checks], base)
    for one in (*filter(partial(_fits, base), named), *form.samples):
        if one.sql not in seen:
            seen.add(one.sql)
            yield one


def _base_of(type_: Type) -> Type:
    return _base_of(type_.inner) if type_.kind == "d" and type_.inner else type_


def _fits(type_: Type, sample: Sample) -> bool:
    """Whether a body may have the value."""
    if type_.name in ("varchar", "bpchar") and type_.modifier > 4:
        length = type_.modifier - 4
        return len(sample.sql) == length or (type_.name == "varchar" and len(sample.sql) < length)
    if type_.name in ("int2", "int4", "int8"):
        return bool(abs(sample.json) < 2 ** (int(type_.name[3:]) * 8 - 1))
    if type_.name == "numeric" and type_.modifier >= 4:
        whole = len(sample.sql.lstrip("-").partition(".")[0])
        return whole <= ((type_.modifier - 4) >> 16) - ((type_.modifier - 4) & 0x7FF)
    return True


_STRINGS = re.compile(r"'((?:[^']|'')*)'(?:::[\w ]+)?")
_PATTERN = re.compile(r"~\*? '((?:[^']|'')*)'")


def _near(type_: Type, number: str) -> Iterator[Any]:
    """A number that a check names, and its neighbours, as JSON."""
    if type_.name.startswith("int"):
        yield from (int(float(number)) + n for n in (0, 1, -1))
    elif type_.name.startswith("float"):
        yield from (float(number) + n for n in (0, 1, -1))
    else:
        scale = (type_.modifier - 4) & 0x7FF if type_.modifier >= 4 else 0
        for n in (0, 1, -1) if type_.modifier >= 4 else ():
            yield f"{Decimal(number) + n:.{scale}f}"
        if type_.modifier < 4:
            yield number


def _from_checks(checks: list[str], type_: Type) -> Iterator[Sample]:
    """The values that the expressions name, and texts that their patterns and lengths allow."""
    base = type_.name
    for check in checks:
        if base in ("int2", "int4", "int8", "float4", "float8") or base == "numeric":
            for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])", check):
                for value in _near(type_, number):
                    yield Sample(value, _text(value))
        elif base in ("text", "varchar", "bpchar", "citext"):
            for pattern in _PATTERN.findall(check):
                for text in _matching(pattern.replace("''", "'")):
                    yield Sample(text, text)
            plain = _PATTERN.sub("", check)
            for text in _STRINGS.findall(plain):
                yield Sample(text.replace("''", "'"), text.replace("''", "'"))
            for size in re.findall(r"length\(.*?\) (?:=|>=|<=|>|<) (\d+)", check):
                for length in (int(size), int(size) + 1, int(size) - 1):
                    for letter in "aA1":
                        yield Sample(letter * length, letter * length)
        elif base in ("date", "timestamptz", "timestamp"):
            for text in re.findall(r"'(\d{4}-\d\d-\d\d)", check):
                yield Sample(text, text)


def _matching(pattern: str) -> Iterator[str]:
    """Texts that probably match a regular expression."""
    try:
        tree = import_module("re._parser").parse(pattern)  # nothing else has the tree of a pattern
    except re.error:
        return
    for fill in (0, 1):
        yield "".join(_texts(tree, fill))


def _texts(tree: Any, fill: int) -> Iterator[str]:
    for operation, argument in tree:
        match str(operation):
            case "LITERAL":
                yield chr(argument)
            case "NOT_LITERAL":
                yield "a" if argument != ord("a") else "b"
            case "ANY":
                yield "ab"[fill]
            case "IN":
                yield _member(argument, fill)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = argument
                for _ in range(min(max(least, 1), most)):
                    yield from _texts(inner, fill)
            case "SUBPATTERN":
                yield from _texts(argument[-1], fill)
            case "BRANCH":
                branches = argument[1]
                yield from _texts(branches[min(fill, len(branches) - 1)], fill)


def _member(members: Any, fill: int) -> str:
    """A character of a set."""
    if str(members[0][0]) == "NEGATE":
        return "a"
    operation, argument = members[0]
    match str(operation):
        case "LITERAL":
            return chr(argument)
        case "RANGE":
            low, high = argument
            return chr(min(low + fill, high))
        case "CATEGORY":
            category = str(argument)
            return "1" if "DIGIT" in category else " " if "SPACE" in category else "a"
    return "a"
