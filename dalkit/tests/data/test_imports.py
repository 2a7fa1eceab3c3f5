"""What comes with `import dalkit.data`."""

import subprocess
import sys

import pytest

WEB = {"fastapi", "starlette", "uvicorn", "httpx"}


@pytest.mark.parametrize("module", ["dalkit.data", "dalkit.types"])
def test_no_web_framework_is_imported(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert module in ran.stdout.split()
    assert not WEB & set(ran.stdout.split())


@pytest.mark.parametrize("module", ["fast.checkout", "reflection", "entities", "paging", "errors"])
def test_a_part_can_be_imported_before_any_other(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import dalkit.{module}"], check=True)
