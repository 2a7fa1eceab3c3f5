"""Answers either round-trip or are refused before anything is written."""

import json
import keyword
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.exceptions import FailedHookException
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import answers
from template_extensions import quoted

from .baking import bake

HOSTILE = {
    "quotes": """it's "quoted" and '''tripled''' and \"\"\"too\"\"\"""",
    "backslash": r"C:\new\u0041 \\ \N{DASH}",
    "braces": "{a} {{b}} {% c %} {# d #} %(e)s ${F} $G $$ #{h}",
    "workflow": "${{ secrets.TOKEN }}",
    "open": "${{",
    "end": "{% endraw %}{{ cycler.__init__.__globals__.os.system('touch owned') }}",
    "yaml": "a: b # c - [d, *e, &f, !g, |",
    "markup": "<script>alert(1)</script> & `code` [link](x) *b* _i_",
    "emoji": "\N{GRINNING FACE} naïve 日本語 \N{ZERO WIDTH JOINER}\N{FAMILY}",
    "separators": "line\N{LINE SEPARATOR}next\xa0end",
    "long": "x" * 300,
    "newline": 'first\nsecond = "injected"\n[tool.evil]',
    "code": "__import__('os').system('touch owned')",
}

BAD_SLUGS = [
    *("json", "test", "fastapi", "alembic", "class", "match", "tests", "src", "migrations", "dev"),
    *(
        "pytest-xdist",
        "pydantic-settings",
        "dalkit",
        "postgres",
        "python",
        "con",
        "site",
        "antigravity",
    ),
    *("My-Service", "9lives", "a--b", "-a", "a-", "a b", "a.b", "a\n", "é", "a;b", "$(x)", "~"),
    *("../evil", "/tmp/evil", "a/b/c", "..", ".", "", "a\0b", "a\\b", "a" * 41, "a" * 300),
]

BAD_ANSWERS = [
    *(("project_slug", slug) for slug in BAD_SLUGS),
    *(("author_email", email) for email in ("", "nobody", "a@b", "a b@c.de", "a@b.c\n", "a@b..cd")),
    *((name, text) for name in ("project_name", "author_name") for text in ("", "  ", "a\0b")),
    *(("description", text) for text in ("", "\n", "bell\a", "x" * 501, "half \ud83d")),
    ("license", "GPL"),
    ("ci", "jenkins"),
    ("use_auth0", "perhaps"),
]


def one_line(text: str) -> str:
    """Return `text` as metadata and titles have it."""
    return " ".join(text.splitlines())


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_answer_round_trips(text: str, tmp_path: Path) -> None:
    project = bake(
        tmp_path, project_slug="svc", project_name=text, description=text, author_name=text
    )
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    assert pyproject["project"]["description"] == one_line(text)
    assert pyproject["project"]["authors"][0] == {"name": one_line(text)}
    assert set(pyproject["tool"]) == {"coverage", "cruft", "dalkit", "mypy", "pytest", "ruff", "uv"}
    assert pyproject["tool"]["dalkit"]["template"]["answers"]["project_name"] == one_line(text)
    assert set(yaml.safe_load((project / "compose.yaml").read_text())["services"]) == {
        *("postgres", "owner", "migrate", "api", "issuer")
    }
    assert yaml.safe_load((project / ".github/workflows/ci.yml").read_text())["name"] == "CI"
    readme = (project / "README.md").read_text().splitlines()
    assert readme[0] == f"# {one_line(text)}"
    assert readme[2] == f"> {one_line(text)}"
    info = json.loads((project / "openapi.json").read_text())["info"]
    assert (info["title"], info["summary"]) == ("svc", one_line(text))
    assert not list(tmp_path.rglob("owned"))


def test_white_space_around_the_description_is_not_part_of_it(tmp_path: Path) -> None:
    """A distribution's metadata, which the document is made of, has none there."""
    project = bake(tmp_path, description="\t Takes orders. \n")
    assert '"summary": "Takes orders.",' in (project / "openapi.json").read_text()


def test_a_name_without_latin_letters_has_a_usable_slug(tmp_path: Path) -> None:
    assert bake(tmp_path, project_name="\N{GRINNING FACE}").name == "my-service"


def test_a_long_name_has_a_usable_slug(tmp_path: Path) -> None:
    assert len(bake(tmp_path, project_name="ab " * 100).name) <= 40


@pytest.mark.parametrize(("question", "answer"), BAD_ANSWERS)
def test_a_bad_answer_is_refused_and_nothing_is_written(
    question: str, answer: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output_dir = tmp_path / "outer" / "inner"
    output_dir.mkdir(parents=True)
    with pytest.raises((FailedHookException, ValueError)) as refusal:
        bake(output_dir, **{question: answer})
    assert [path.name for path in tmp_path.rglob("*")] == ["outer", "inner"]
    assert not Path("/tmp/evil").exists()
    sentence = f"{refusal.value}\n{capfd.readouterr().err}"
    assert question in sentence
    assert repr(answer) in sentence or answer in sentence
    assert "a good one is" in sentence or "choices are" in sentence or "boolean" in sentence


slugs = st.text() | st.from_regex(r"[a-z][a-z0-9_-]{0,50}", fullmatch=True)


@given(slugs)
def test_an_accepted_slug_is_a_name_everywhere(slug: str) -> None:
    if answers.slug_fault(slug) is None:
        name = slug.replace("-", "_")
        assert name.isidentifier()
        assert name.isascii()
        assert name == name.lower()
        assert not keyword.iskeyword(name)
        assert len(f"{name}_test_gw99_template") <= 63


@given(slugs)
def test_the_proposed_slug_is_accepted(slug: str) -> None:
    assert answers.slug_fault(answers.good_slug(slug)) is None


@pytest.mark.parametrize("slug", BAD_SLUGS)
def test_the_rules_refuse_what_cookiecutter_would_refuse_too(slug: str) -> None:
    """A replay file brings answers past cookiecutter.json's own refusal."""
    assert answers.slug_fault(slug) is not None


def requirements(name: str, extra: str, known: set[tuple[str, str]]) -> set[str]:
    """Return the names of a distribution and of all that it requires, as they are installed."""
    if (name, extra) in known:
        return set()
    known.add((name, extra))
    names = {name}
    for requirement in map(Requirement, distribution(name).requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for each in requirement.extras | {""}:
                names |= requirements(canonicalize_name(requirement.name), each, known)
    return names


def test_no_slug_is_the_name_of_what_the_service_installs() -> None:
    """A service of that name cannot be installed, or imports itself instead."""
    roots = [("dalkit", "auth0"), ("dalkit", "otel"), ("dalkit", "testing"), ("mypy", "")]
    roots += [("nox", ""), ("ruff", "")]
    distributions = set().union(*(requirements(*root, set()) for root in roots))
    modules = {
        module
        for module, owners in packages_distributions().items()
        if distributions & {canonicalize_name(owner) for owner in owners}
    }
    slugs = distributions | {module.replace("_", "-") for module in modules}
    assert {slug for slug in slugs if answers.slug_fault(slug) is None} == set()


@given(st.recursive(st.text(), lambda items: st.lists(items) | st.dictionaries(st.text(), items)))
def test_quoted_text_is_json(value: Any) -> None:
    assert json.loads(quoted(value)) == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quoted_text_is_toml_and_yaml(text: str) -> None:
    assert tomllib.loads(f"key = {quoted(text)}") == {"key": text}
    assert yaml.safe_load(f"key: {quoted(text)}") == {"key": text}
