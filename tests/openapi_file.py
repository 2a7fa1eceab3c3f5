"""Writes the template's openapi.json from the documents of every service: `make openapi`.

A service answers with other operations when an option is declined, so the file is a text with
conditions: the lines of all services, each under the services that have it.
"""

import tempfile
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path

from .baking import PROJECT, SWITCHES, Answers, bake, name_of, services
from .environments import UV, install, run

FILE = PROJECT / "openapi.json"
#: What a service answers with from its own answers, in the document of the default ones.
ANSWERED = {
    '"title": "my-service"': '"title": {{ cookiecutter.project_slug | tojson }}',
    '"summary": "A FastAPI service on PostgreSQL."': (
        '"summary": {{ cookiecutter.__summary | tojson }}'
    ),
}

#: A line, and the services (by their number) that have it.
Line = tuple[str, frozenset[int]]


def document(folder: Path, answers: Answers) -> list[str]:
    """Return the lines of what a service with these answers writes."""
    project = bake(folder, **answers)
    install(project)
    run(project, UV, "run", "my-service", "openapi")
    return (project / "openapi.json").read_text("utf-8").splitlines()


def merge(documents: list[list[str]]) -> list[Line]:
    """Return the lines of all documents, in an order that is the one of each of them."""
    merged: list[Line] = []
    for number, lines in enumerate(documents):
        own = frozenset({number})
        known = [line for line, _ in merged]
        after: list[Line] = []
        for kind, i, j, k, m in SequenceMatcher(None, known, lines, autojunk=False).get_opcodes():
            equal = kind == "equal"
            after += [(line, having | own if equal else having) for line, having in merged[i:j]]
            after += [] if equal else [(line, own) for line in lines[k:m]]
        merged = after
    return merged


def condition(having: frozenset[int]) -> str:
    """Return the Jinja expression that is true for these services: in most cases one answer."""
    every = services()
    for name in SWITCHES:
        for value in (True, False):
            if having == {number for number, it in enumerate(every) if it[name] is value}:
                return _is(name, value)
    others = frozenset(range(len(every))) - having
    if len(others) < len(having):
        return f"not ({condition(others)})"
    return " or ".join(
        " and ".join(_is(name, value) for name, value in every[number].items())
        for number in sorted(having)
    )


def _is(name: str, value: bool) -> str:
    return f"cookiecutter.{name}" if value else f"not cookiecutter.{name}"


def template(merged: Iterable[Line]) -> Iterator[str]:
    """Yield the text of the file, in which each answer has its place."""
    everywhere = frozenset(range(len(services())))
    for having, group in groupby(merged, key=lambda line: line[1]):
        text = "".join(f"\n{line}" for line, _ in group)
        if having != everywhere:
            text = f"\n{{%- if {condition(having)} %}}{text}\n{{%- endif %}}"
        yield text
    yield "\n"


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        documents = [document(Path(folder, name_of(it)), it) for it in services()]
    text = "".join(template(merge(documents))).lstrip()
    for constant, answer in ANSWERED.items():
        assert text.count(constant) == 1, constant
        text = text.replace(constant, answer)
    FILE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
