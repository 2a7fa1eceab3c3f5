"""Jinja settings of this template: how an answer is quoted, and what is refused at once."""

import json
import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cookiecutter.exceptions import FailedHookException
from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension

# Not imported: an update has two versions of the template in one process.
RULES = runpy.run_path(str(Path(__file__).with_name("answers.py")))


def quoted(value: Any, **options: Any) -> str:
    """Return `value` as JSON whose strings are also TOML basic and YAML double-quoted strings.

    `json.dumps` writes an emoji as a surrogate pair, which TOML forbids. Left as they are, some
    controls and line separators end a line in YAML. So every character is left as it is, except
    the unprintable ones: they become `\\uXXXX`.
    """
    text = json.dumps(value, **options, ensure_ascii=False)
    return "".join(c if c.isprintable() or ord(c) > 0xFFFF else f"\\u{ord(c):04x}" for c in text)


def package_name(answers: Mapping[str, Any]) -> str:
    """Return the import name for the slug among the answers; refuse all that cannot be used.

    A hook would be too late: by then cookiecutter has made the output folder, with its parents,
    wherever `../` or `/` leads; and it logs the traceback of a hook that fails.
    """
    if faults := RULES["faults_of"](answers):
        raise FailedHookException("\n".join(faults))
    return str(answers["project_slug"]).replace("-", "_")


def without_credentials(address: str) -> str:
    """Return an address without the token or password that git was given in it."""
    return re.sub(r"^((?:git\+)?https?://)[^/@]+@", r"\1", address)


def is_template(source: str) -> bool:
    """Tell whether `source` speaks of `cookiecutter` (a default, a path, a hook) or is constant."""
    try:
        template = Environment(autoescape=True).parse(source)
    except TemplateSyntaxError:
        return False
    constant = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const)
    return any(node.name == "cookiecutter" for node in template.find_all(nodes.Name)) or all(
        isinstance(node, constant) for node in template.find_all(nodes.Node)
    )


class Answers(Extension):
    """Makes `| tojson` fit TOML and YAML, adds two filters, takes Jinja in answers literally.

    `template_folder` is where the template is, which a hook cannot know by itself.

    cookiecutter renders the answers that `--no-input` or its API were given, outside a sandbox:
    `${{` would be a syntax error, and `{{ cycler.__init__.__globals__ }}` would run.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.policies["json.dumps_function"] = quoted
        environment.filters["package_name"] = package_name
        environment.filters["without_credentials"] = without_credentials
        environment.globals["template_folder"] = str(Path(__file__).resolve().parent)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return `source`, or an expression for its text when it is an answer.

        Files of the template have a name; answers have none, nor have paths and hooks.
        """
        if name is not None or is_template(source):
            return source
        return "{{ " + json.dumps(source, ensure_ascii=False) + " }}"
