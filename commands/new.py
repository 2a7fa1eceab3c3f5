"""`make new`: asks the questions, checks each answer as it is given, and generates a service.

Run by the Makefile, where cookiecutter is installed: new.py FOLDER.
"""

import os
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

from cookiecutter import prompt
from cookiecutter.exceptions import CookiecutterException
from cookiecutter.generate import generate_context
from cookiecutter.main import cookiecutter
from cookiecutter.utils import create_env_with_context

ROOT = Path(__file__).resolve().parents[1]
RULES = runpy.run_path(str(ROOT / "answers.py"))


def main() -> None:
    """Generate a service in a folder inside of FOLDER, and say what comes next."""
    folder = Path(sys.argv[1]).expanduser().resolve()
    answers = ask(folder)
    service = cookiecutter(
        str(ROOT),
        no_input=True,
        extra_context=answers,
        output_dir=str(folder),
        config_file=os.devnull,  # the user's own defaults were no questions
    )
    print(f"\n{answers['project_name']} is in {service}. What comes next:\n")
    print(f"  cd {shlex.quote(min(os.path.relpath(service), service, key=len))}")
    print("  make run SEED=1     # http://127.0.0.1:8000, on a Postgres of its own")
    print("  make check          # all that its CI runs")


def ask(folder: Path) -> dict[str, Any]:
    """Return the answers, each of which can be used."""
    sys.path.insert(0, str(ROOT))  # as cookiecutter does for the template's extension
    context = generate_context(context_file=str(ROOT / "cookiecutter.json"))
    environment = create_env_with_context(context)
    questions = context["cookiecutter"]
    texts = questions["__prompts__"]
    asked = [name for name in questions if not name.startswith("_")]
    answers: dict[str, Any] = {}
    for number, name in enumerate(asked, 1):
        prefix = f"  [dim][{number}/{len(asked)}][/] "
        default = questions[name]
        if isinstance(default, list):
            answers[name] = prompt.read_user_choice(name, default, texts, prefix)
        elif isinstance(default, bool):
            answers[name] = prompt.read_user_yes_no(name, default, texts, prefix)
        else:
            default = prompt.render_variable(environment, default, answers)
            answers[name] = ask_text(name, default, texts, prefix, folder)
    return answers


def ask_text(name: str, default: str, texts: dict[str, str], prefix: str, folder: Path) -> str:
    """Ask until the answer is a good one."""
    while True:
        answer: str = prompt.read_user_variable(name, default, texts, prefix)
        fault: str | None = RULES["fault_of"](name, answer)
        if not fault and name == "project_slug" and (folder / answer).exists():
            fault = f"project_slug {answer!r}: {folder / answer} is there already; choose another."
        if not fault:
            return answer
        print(fault, file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, EOFError):
        sys.exit("\nNothing was generated.")
    except (CookiecutterException, OSError) as error:
        sys.exit(str(error))
