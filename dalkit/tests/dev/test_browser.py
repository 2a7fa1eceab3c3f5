"""The pages in a browser, as `dalkit run` serves them: docs, login, call, and how they look."""

import shutil
import signal
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from dalkit.dev.project import Project, find_project
from dalkit.dev.supervisor import free_port

from tests.dev.processes import eventually
from tests.dev.test_run import finish, start_run, status_of
from tests.paths import PROJECT, SERVICE

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LOOKS = Path(__file__).parent / "looks"
VIEW = {"width": 800, "height": 600}  # pixels
BLOCK = 20  # pixels, of a square whose mean is compared: fonts are not the same everywhere
MOST_OFF = 0.1  # of the squares

#: Returns the part of the squares that differ by more than an eighth, 1 for another size.
COMPARE = """async ([one, other, block]) => {
    const read = async (url) => {
        const image = await createImageBitmap(await (await fetch(url)).blob());
        const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
        canvas.drawImage(image, 0, 0);
        return canvas.getImageData(0, 0, image.width, image.height);
    };
    const mean = ({data, width}, left, top) => {
        let sum = 0;
        for (let y = top; y < top + block; y++)
            for (let x = left; x < left + block; x++)
                for (let channel = 0; channel < 3; channel++)
                    sum += data[(y * width + x) * 4 + channel];
        return sum / (3 * block * block);
    };
    const [a, b] = [await read(one), await read(other)];
    if (a.width !== b.width || a.height !== b.height) return 1;
    let squares = 0, off = 0;
    for (let y = 0; y + block <= a.height; y += block)
        for (let x = 0; x + block <= a.width; x += block, squares++)
            off += Math.abs(mean(a, x, y) - mean(b, x, y)) > 32;
    return off / squares;
}"""


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """The service of the tests in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="browser test é "))
    folder.chmod(0o755)
    shutil.copy(PROJECT / "pyproject.toml", folder)
    shutil.copytree(SERVICE, folder / "tests" / "service")
    yield find_project(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def service(project: Project, browser: Browser) -> Iterator[str]:
    """The URL of what `dalkit run --seed` serves; without a browser nothing is started."""
    port = free_port()
    process = start_run(project, port, "--seed")
    try:
        assert eventually(lambda: status_of(f"http://127.0.0.1:{port}/readyz") == 200, 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        finish(process)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, to which no name but the loopback's address resolves."""
    if CHROMIUM is None:
        pytest.skip("There is no browser to try the pages in: apt-get install chromium.")
    offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=[offline])
        yield running
        running.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser wrote as an error: what it refused, did not find, or could not run."""
    return []


@pytest.fixture
def page(browser: Browser, service: str, complaints: list[str]) -> Iterator[Page]:
    """A page of the service, about which the browser does not complain."""
    context = browser.new_context(base_url=service, viewport=VIEW)  # type: ignore[arg-type]
    context.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context.new_page()
    context.close()
    assert complaints == []


def test_from_the_first_page_to_a_call_that_is_answered(page: Page, service: str) -> None:
    """Lists, authorizes with PKCE, executes, 200; and nothing is loaded from elsewhere."""
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    page.goto("/")
    page.get_by_role("link", name="API docs").click()
    page.get_by_role("button", name="Authorize").click()
    dialog = page.get_by_role("dialog").or_(page.locator(".modal-ux"))
    dialog.get_by_text("select all").click()
    dialog.locator("button.authorize", has_text="Authorize").click()
    dialog.get_by_text("Logout").wait_for()
    dialog.get_by_text("Close", exact=True).click()
    books = page.locator("#operations-books-list_books_v1_books_get")
    books.locator(".opblock-summary-control").click()
    books.get_by_role("button", name="Try it out").click()
    books.get_by_role("button", name="Execute").click()
    status = books.locator(".live-responses-table tbody .response-col_status")
    assert status.inner_text().strip() == "200"
    assert "A Wizard of Earthsea" in books.locator(".live-responses-table").inner_text()
    assert f"{service}/docs/swagger-ui-bundle.js" in asked
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:"))] == []


def test_the_policy_lets_no_script_in_the_page_run(page: Page, complaints: list[str]) -> None:
    page.goto("/docs")
    page.get_by_role("button", name="Authorize").wait_for()
    refused = page.evaluate("""() => new Promise((resolve) => {
        document.addEventListener("securitypolicyviolation", (e) => resolve(e.violatedDirective));
        const script = document.createElement("script");
        script.textContent = "window.injected = true";
        document.body.append(script);
    })""")
    assert refused == "script-src-elem"
    assert page.evaluate("window.injected") is None
    assert "inline script" in complaints.pop()


@pytest.mark.parametrize("name", ["index", "docs"])
def test_it_looks_as_it_did(name: str, page: Page, browser: Browser) -> None:
    """To accept another look, delete its file: the next run writes it, for you to look at."""
    page.goto("/" if name == "index" else "/docs")
    if name == "docs":
        page.get_by_text("List Books").wait_for()
    taken, look = page.screenshot(), LOOKS / f"{name}.png"
    if not look.exists():
        look.write_bytes(taken)
        pytest.fail(f"There was no {look}. Now there is: look at it, and run the test again.")
    images = [
        f"data:image/png;base64,{b64encode(it).decode()}" for it in (taken, look.read_bytes())
    ]
    blank = browser.new_page()  # it has no policy
    off = blank.evaluate(COMPARE, [*images, BLOCK])
    blank.close()
    assert off < MOST_OFF
