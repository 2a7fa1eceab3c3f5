"""The site is written, with every public name, and a broken link or reference is noticed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import PROJECT
from tests.test_public import NAMES

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What the site is made of, as a copy to be changed."""
    shutil.copy(PROJECT / "mkdocs.yml", tmp_path)
    for folder in ("docs", "src"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    return tmp_path


def build(project: Path) -> subprocess.CompletedProcess[str]:
    """Write the site as `make docs` does."""
    options = ["--strict", "--clean", "--config-file", "mkdocs.yml"]
    command = [sys.executable, "-m", "zensical", "build", *options]
    return subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)


def test_the_reference_describes_what_is_public_and_nothing_else(project: Path) -> None:
    built = build(project)
    assert built.returncode == 0, built.stdout + built.stderr
    described = {
        name
        for page in (project / "site" / "api").glob("*.html")
        for name in re.findall(r'id="([\w.]+)" class="doc', page.read_text("utf-8"))
        if f"{name}.html" != page.name
    }
    public = {f"{package}.{name}" for package, name in NAMES}
    assert public <= described
    assert {name for name in described if name.rpartition(".")[0] not in described} == public


@pytest.mark.parametrize("broken", ["[a](nowhere.md)", "[a](settings.md#no)", "[a][dalkit.Nobody]"])
def test_a_broken_link_is_noticed(project: Path, broken: str) -> None:
    with (project / "docs" / "index.md").open("a") as index:
        index.write(f"\n{broken}\n")
    assert build(project).returncode != 0
