"""What a resource is called: its package and path, its class, the attributes of its columns."""

import builtins
import keyword
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from ...entities import Entity
from ...types import Body

_IRREGULAR = {
    "child": "children",
    "criterion": "criteria",
    "index": "indices",
    "man": "men",
    "medium": "media",
    "person": "people",
    "woman": "women",
}
_REGULAR = {plural: singular for singular, plural in _IRREGULAR.items()}
_SAME = {"data", "equipment", "info", "metadata", "news", "series", "species", "staff"}
_SMALL = {
    "a",
    "an",
    "and",
    "as",
    "at",
    "by",
    "for",
    "in",
    "is",
    "of",
    "on",
    "or",
    "that",
    "the",
    "to",
}
#: What is longer is cut, at a word: it would not fit a line.
LONGEST = 40
#: What the written modules import or define beside the names of the resource.
IMPORTED = {
    *("Annotated", "Any", "Body", "Bytes", "Callable", "ClassVar", "ColumnElement", "Composite"),
    *("ConditionalRead", "ConditionalWrite", "Created", "Date", "Decimal", "Digits", "Duration"),
    *("Entity", "Field", "Filter", "Float", "Inet", "Cidr", "Circle", "Point", "Id", "Int16"),
    *("Int32", "Int64", "JsonFloat", "JsonInt16", "JsonInt32", "JsonInt64", "JsonValue"),
    *("APIRouter", "ENTITIES", "Literal", "LocalTimestamp", "MISSING", "Page", "Points", "Problem"),
    *("QueryModel", "Query", "RangeOf", "ReadEntity", "ReadTransaction", "Request", "StrictBool"),
    *("Text", "TextId", "Time", "Timestamp", "Transaction", "TransactionManager", "UUID"),
    *("date", "datetime", "httpx", "pytest", "router", "text", "time", "timedelta", "uuid4"),
}
#: Parameters of the written functions, fixtures of dalkit.testing, and what tests are given.
_PARAMETERS = {
    *("anonymous", "app", "client", "conditional", "created", "db", "found", "issuer", "listed"),
    *("headers", "method", "monkeypatch", "new", "patch", "path", "query", "request", "response"),
    *("row", "scope", "settings", "sql", "status", "token", "transaction", "tx", "value"),
    *("page", "if_match", "again", "gone", "deleted"),
}


@dataclass(frozen=True)
class Names:
    """`order_items`, `order_item`, `OrderItem`, `/order-items` and `order item`."""

    package: str
    singular: str
    class_name: str

    @classmethod
    def of(
        cls, table: str, schema: str | None, given: str | None, taken: Collection[str]
    ) -> "Names":
        """The names for a table of a schema (None is the default one), or those that `given` says.

        `taken` are names that the package cannot have.
        """
        words = words_of(given or (f"{schema} {table}" if schema else table))
        while len(words) > 1 and (len("_".join(words)) > LONGEST or words[-1] in _SMALL):
            words.pop()
        singular = "_".join([*words[:-1], singular_of(words[-1])])
        package = "_".join([*words[:-1], plural_of(singular_of(words[-1]))])
        if not package.isidentifier():
            singular, package = f"table_{singular}", f"table_{package}"
        if not given and package in taken:
            singular, package = f"{singular}_record", f"{singular}_records"
        class_name = camel(singular)
        if class_name in IMPORTED or hasattr(builtins, class_name):
            class_name += "Record"
        return cls(package, singular, class_name)

    @property
    def path(self) -> str:
        """The path of the list, without the version."""
        return "/" + self.package.replace("_", "-")

    @property
    def variable(self) -> str:
        """What one of them is called in a function."""
        return variable_of(self.singular)

    @property
    def one(self) -> str:
        """One of them, in a sentence."""
        return self.singular.replace("_", " ")

    @property
    def many(self) -> str:
        """Several of them, in a sentence."""
        return self.package.replace("_", " ")

    @property
    def a(self) -> str:
        """One of them with its article."""
        return f"{'an' if self.one[0] in 'aeio' else 'a'} {self.one}"


def words_of(name: str) -> list[str]:
    """The words of a name, in lower case and in ASCII; never empty."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    letters = unicodedata.normalize("NFKD", split.replace("ß", "ss").replace("ł", "l"))
    plain = "".join(_in_ascii(letter) for letter in letters if not unicodedata.combining(letter))
    return re.findall(r"[a-z0-9]+", plain.lower()) or ["unnamed"]


def _in_ascii(letter: str) -> str:
    if letter.isascii():
        return letter
    return f"u{ord(letter):x}" if letter.isalnum() else " "


def singular_of(word: str) -> str:
    """The singular of an English noun; a word that is none is left as it is."""
    if word in _SAME or word in _IRREGULAR:
        return word
    if word in _REGULAR:
        return _REGULAR[word]
    if re.search(r"[^aeiou]ies$", word) and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(ss|x|z|ch|sh)es$", word):
        return word[:-2]
    return word if re.search(r"(ss|us|is|[^s])$", word) or len(word) < 3 else word[:-1]


def plural_of(word: str) -> str:
    """The plural of an English noun in the singular."""
    if word in _SAME:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(s|x|z|ch|sh)$", word) else "s")


def camel(name: str) -> str:
    """`OrderItem` for `order_item`."""
    return "".join(word.capitalize() for word in name.split("_"))


def variable_of(name: str) -> str:
    """The name itself where a function may have a variable of it, else `row`."""
    is_taken = keyword.iskeyword(name) or hasattr(builtins, name) or name in _PARAMETERS | IMPORTED
    return "row" if is_taken or not name.isidentifier() else name


def attributes_of(columns: Collection[str], foreign: Collection[str] = ()) -> dict[str, str]:
    """The attribute of each column: its name where a model can have it, else one for an alias.

    `foreign` are columns whose names mean something else to an entity than they do here.
    """
    found: dict[str, str] = {}
    for name in columns:
        attribute = name if is_plain(name) and name not in foreign else _other(name)
        while attribute in found.values() or (attribute != name and attribute in columns):
            attribute += "_"
        found[name] = attribute
    return found


def is_plain(name: str) -> bool:
    """Whether a field of a model can have the name."""
    return (
        re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None
        and not keyword.iskeyword(name)
        and not _hides(name)
    )


def _hides(name: str) -> bool:
    """Whether a field of the name would hide a method, or a type in the annotations below it."""
    hidden = name in IMPORTED or name in ("l", "bool", "bytes", "float", "int", "str", "list")
    hidden |= name in ("dict", "tuple")
    return hidden or hasattr(Entity, name) or hasattr(Body, name)


def _other(name: str) -> str:
    attribute = "_".join(words_of(name))
    if not attribute.isidentifier():
        attribute = f"n_{attribute}"
    return attribute if is_plain(attribute) and attribute != name else f"{attribute}_"
