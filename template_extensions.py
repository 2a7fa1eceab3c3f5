"""Jinja settings of this template: how an answer becomes a quoted string, and which answers are refused at once."""

import json
from typing import Any

from cookiecutter.exceptions import FailedHookException
from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension


def quoted(value: Any, **options: Any) -> str:
    """Return `value` as JSON whose strings are also TOML basic strings and YAML double-quoted scalars.

    `json.dumps` writes an emoji as a surrogate pair, which TOML forbids; left as they are, some controls and
    line separators end a line in YAML. So: characters as they are, except the unprintable ones, as `\\uXXXX`.
    """
    text = json.dumps(value, **options, ensure_ascii=False)
    return "".join(c if c.isprintable() or ord(c) > 0xFFFF else f"\\u{ord(c):04x}" for c in text)


def package_name(slug: str) -> str:
    """Return the import name for `slug`; refuse what is not one folder name.

    The other rules live in hooks/pre_gen_project.py. This one cannot wait for the hook: cookiecutter has made
    the output folder by then, with its parents, wherever `../` or `/` leads.
    """
    if not slug or set(slug) & set("/\\\0") or slug in {".", ".."} or len(slug) > 100:
        msg = f"project_slug {slug!r} is not the name of a folder; a good one is 'my-service'."
        raise FailedHookException(msg)
    return slug.replace("-", "_")


def is_template(source: str) -> bool:
    """Tell whether `source` speaks of `cookiecutter` (a default, a path, a hook) or is constant text."""
    try:
        template = Environment().parse(source)
    except TemplateSyntaxError:
        return False
    constant = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const)
    return any(node.name == "cookiecutter" for node in template.find_all(nodes.Name)) or all(
        isinstance(node, constant) for node in template.find_all(nodes.Node)
    )


class Answers(Extension):
    """Makes `| tojson` safe for TOML and YAML, adds `| package_name`, takes Jinja in an answer literally."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.policies["json.dumps_function"] = quoted
        environment.filters["package_name"] = package_name

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return `source`, quoted when it is an answer and no template of ours.

        cookiecutter renders what `--no-input` or the API gave as an answer, unsandboxed: `${{` would be a
        syntax error and `{{ cycler.__init__.__globals__ }}` would run. Files have a name, answers have none.
        """
        if name is not None or is_template(source):
            return source
        return "{{ " + json.dumps(source, ensure_ascii=False) + " }}"
