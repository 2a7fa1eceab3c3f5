"""The shortest service of the README works."""

from pathlib import Path
from types import ModuleType

import httpx
import pytest
from asgi_lifespan import LifespanManager

from tests.docs.pages import PAGES, blocks_of
from tests.paths import PROJECT


async def test_the_shortest_service_answers(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [block] = [block for block in blocks_of(PROJECT / "README.md") if block.title == "main.py"]
    monkeypatch.chdir(tmp_path)  # no .env
    monkeypatch.setenv("DATABASE_URL", fresh_database)
    monkeypatch.delenv("ALEMBIC_CONFIG")  # one file, and no migrations
    main = ModuleType("main")
    exec(block.compiled(), vars(main))
    async with LifespanManager(main.app) as running:
        transport = httpx.ASGITransport(running.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            created = await client.post("/authors", json={"name": "Le Guin"})
            assert created.status_code == 201
            found = await client.get(f"/authors/{created.json()['id']}")
            assert (found.status_code, found.json()) == (200, created.json())
            again = await client.post("/authors", json={"name": "Le Guin"})
            assert (again.status_code, again.headers["content-type"]) == (
                409,
                "application/problem+json",
            )
            assert (await client.get("/authors/0")).status_code == 404


def test_the_index_and_the_readme_name_every_page() -> None:
    guides = {page.name for page in PAGES if page.parent.name == "docs"} - {"index.md"}
    for document, folder in ((PROJECT / "README.md", "docs/"), (PROJECT / "docs/index.md", "")):
        text = document.read_text("utf-8")
        assert {guide for guide in guides if f"]({folder}{guide})" not in text} == set()
