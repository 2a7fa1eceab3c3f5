"""Documents are short, their commands run, and .env.example is complete."""

import re
from pathlib import Path

from .baking import ROOT, text_files
from .environments import require_uv, run
from .releases import VERSION

CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONGEST_README = 150  # lines


def commands(document: Path) -> list[str]:
    """Return the commands in the console blocks of `document`, without their comments."""
    lines = "".join(CONSOLE.findall(document.read_text())).splitlines()
    return [line[2:].partition("  #")[0].strip() for line in lines if line.startswith("$ ")]


def test_the_commands_for_agents_of_the_service_run(default_project: Path) -> None:
    found = commands(default_project / "AGENTS.md")
    assert len(found) >= 5
    for command in found:
        run(default_project, "sh", "-c", command)


def test_the_commands_for_agents_of_the_template_run() -> None:
    require_uv()
    found = commands(ROOT / "AGENTS.md")
    assert len(found) >= 5
    for command in found:
        run(ROOT, "sh", "-c", command)


def test_readmes_name_make_targets_that_exist(default_project: Path) -> None:
    for folder in (ROOT, default_project):
        makefile = (folder / "Makefile").read_text()
        for command in commands(folder / "README.md"):
            if command.startswith("make "):
                target = command.split()[1]
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), command


def test_the_readmes_are_short(default_project: Path) -> None:
    for folder in (ROOT, default_project):
        assert len((folder / "README.md").read_text().splitlines()) <= LONGEST_README


def test_the_service_is_thin(default_project: Path) -> None:
    files = [path for path in text_files(default_project) if path.suffix == ".py"]
    lines = {path: len(path.read_text().splitlines()) for path in files}
    source = default_project / "src"
    assert len(files) <= 35
    assert sum(lines.values()) <= 1_100
    assert sum(number for path, number in lines.items() if path.is_relative_to(source)) <= 520


def test_links_of_the_documents_lead_somewhere(default_project: Path) -> None:
    for folder in (ROOT, default_project):
        for document in folder.glob("*.md"):
            for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
                path = link.replace("%7B", "{").replace("%7D", "}")
                assert "://" in link or (folder / path).exists(), f"{link} in {document}"


def test_the_example_environment_is_complete_and_without_secrets(default_project: Path) -> None:
    python = default_project / ".venv" / "bin" / "python"
    code = "from my_service.settings import Settings; print(*Settings.model_fields)"
    declared = set(run(default_project, python, "-c", code).upper().split())
    example = (default_project / ".env.example").read_text()
    assert set(re.findall(r"^([A-Z0-9_]+)=", example, re.MULTILINE)) == declared
    assert re.search(r"^(DATABASE_URL|SLACK_WEBHOOK_URL)=.", example, re.MULTILINE) is None


def test_every_release_says_what_an_owner_must_do_and_whether_it_is_about_security() -> None:
    """But for the first, to which nobody upgrades; `make update` prints these sections."""
    released = re.findall(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    _, *sections = re.split(r"^## ", (ROOT / "UPGRADING.md").read_text(), flags=re.MULTILINE)
    titles = [section.partition("\n")[0] for section in sections]
    told = [title.split()[1].rstrip(",") for title in titles if title != "Unreleased"]
    assert told == released[:-1]
    for section in sections:
        assert re.match(r".*\n\nSecurity: (yes|no)\.\n\n\S", section), section


def test_the_library_knows_which_template_it_comes_with() -> None:
    code = (ROOT / "dalkit/src/dalkit/dev/doctor.py").read_text()
    assert f'TEMPLATE = "{VERSION}"' in code
