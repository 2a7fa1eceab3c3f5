"""The page of all settings is what the code says."""

import pytest

from dalkit import Settings

from tests.docs.settings_page import PAGE, page


def test_the_page_is_up_to_date() -> None:
    """After a change of dalkit/settings.py: `python -m tests.docs.settings_page`."""
    assert PAGE.read_text("utf-8") == page()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_described(name: str) -> None:
    assert (Settings.model_fields[name].description or "").endswith(".")
