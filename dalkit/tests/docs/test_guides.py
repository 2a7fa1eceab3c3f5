"""Every snippet of the documentation runs as it stands, and every command that it names exists."""

import inspect
import pkgutil
import re
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from dalkit import DataAccessLayer, Settings, TransactionManager
from dalkit.cli import main, service_cli

from tests import service
from tests.docs.pages import PAGES, Block, blocks_of, name_of
from tests.paths import PROJECT
from tests.service.settings import Settings as ServiceSettings

REPOSITORY = PROJECT.parent
PROGRAMS = {"dalkit": get_group(main), "my-service": get_group(service_cli(ServiceSettings))}


@pytest.fixture
def my_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guides' `my_service` is the service of the tests."""
    found = pkgutil.walk_packages(service.__path__, service.__name__ + ".")
    names = [module.name for module in found if module.name != f"{service.__name__}.main"]
    for name in [service.__name__, *names]:
        alias = name.replace(service.__name__, "my_service", 1)
        monkeypatch.setitem(sys.modules, alias, import_module(name))


@pytest.mark.usefixtures("my_service")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
async def test_the_snippets_of_a_page_run_in_order(
    page: Path,
    db: DataAccessLayer,
    transaction: TransactionManager,
    client: httpx.AsyncClient,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With `dal`, `tx` (rolled back afterwards), `client`, `settings` and `folder`."""
    module = ModuleType(f"snippets_of_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # annotations are looked up there
    names = {"dal": db, "tx": transaction, "client": client, "settings": settings}
    vars(module).update(names, folder=tmp_path)
    for block in blocks_of(page):
        if block.language == "python" and block.title is None:
            result = eval(block.compiled(), vars(module))
            if inspect.iscoroutine(result):
                await result


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_files_that_a_page_shows_are_python(page: Path) -> None:
    """A block with a title is a file of a service, or a part of one."""
    for block in blocks_of(page):
        if block.language == "python" and block.title is not None:
            compile("\n" * (block.line - 1) + block.text, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_has_no_fence_that_is_not_seen(page: Path) -> None:
    """Commands stand in `console`, each behind `$ `, so that they are checked."""
    blocks = list(blocks_of(page))
    assert len(re.findall(r"^ *```", page.read_text("utf-8"), re.MULTILINE)) == 2 * len(blocks)
    assert not {block.language for block in blocks} & {"py", "bash", "sh", "shell"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    """Targets of a Makefile, and subcommands and options of `dalkit` and `my-service`."""
    problems = [
        f"{page.name}:{block.line}: {problem}"
        for block in blocks_of(page)
        if block.language == "console"
        for words in _commands(block)
        for problem in _problems(words)
    ]
    added = re.findall(r"@app\.command\(\)\n(?:async )?def (\w+)", page.read_text("utf-8"))
    shown = {f"no command {name.replace('_', '-')!r} of my-service" for name in added}
    assert [problem for problem in problems if problem.partition(": ")[2] not in shown] == []


def test_a_command_that_does_not_exist_is_noticed() -> None:
    text = "$ make nothing\n$ dalkit db up\n$ uv run my-service db status --often\n$ make check\n"
    block = Block(PAGES[0], 1, "console", None, text)
    problems = [problem for words in _commands(block) for problem in _problems(words)]
    assert problems == [
        "no target 'nothing'",
        "no command 'db' of dalkit",
        "no option '--often' of my-service db status",
    ]


def _commands(block: Block) -> Iterator[list[str]]:
    """The words of each command; what follows && or a pipe is one of its own."""
    joined = block.text.replace("\\\n", " ")
    for line in joined.splitlines():
        if line.startswith("$ "):
            for part in re.split(r"&&|\||;", line[2:]):
                yield shlex.split(part, comments=True)


def _problems(words: list[str]) -> Iterator[str]:
    words = [word for word in words if not re.match(r"[A-Za-z_]+=", word)]
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    if words[:2] == ["dalkit", "with-database"]:
        yield from _problems(words[2:])
    elif words[:1] == ["make"]:
        options = [word for word in words[1:] if not word.startswith("-")]
        yield from (f"no target {word!r}" for word in options if word not in _targets())
    elif words and words[0] in PROGRAMS:
        yield from _problems_of_program(PROGRAMS[words[0]], words)


def _problems_of_program(program: TyperGroup, words: list[str]) -> Iterator[str]:
    command: TyperGroup | TyperCommand = program
    name = words[0]
    for word in words[1:]:
        if word.startswith("--"):
            options = {option for parameter in command.params for option in parameter.opts}
            if word.partition("=")[0] not in options | {"--help", "--"}:
                yield f"no option {word!r} of {name}"
        elif isinstance(command, TyperGroup):
            found = command.commands.get(word)
            if not isinstance(found, TyperGroup | TyperCommand):
                yield f"no command {word!r} of {name}"
                return
            command, name = found, f"{name} {word}"


def _targets() -> set[str]:
    """Of the repository and of a service."""
    makefiles = [REPOSITORY / "Makefile", *REPOSITORY.glob("{{*}}/Makefile")]
    texts = [makefile.read_text("utf-8") for makefile in makefiles]
    return {target for text in texts for target in re.findall(r"^([a-z-]+):", text, re.MULTILINE)}
