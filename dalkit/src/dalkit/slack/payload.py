"""`SlackLogger`: what a front end may send to POST /slack. Every text is escaped when validated."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .text import fit

_LONGEST_IN_ALL = 10_000


def _fit(limit: int) -> AfterValidator:
    """Cut to `limit` only what escaping made longer; a longer input is refused before."""
    return AfterValidator(lambda text: fit(text, limit))


class _Strict(BaseModel):
    """No other member: no channel, user name, icon, image, link or button."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PlainText(_Strict):
    """Text without formatting."""

    type: Literal["plain_text"]
    text: Annotated[str, Field(min_length=1, max_length=3000), _fit(3000)]


class Markdown(_Strict):
    """Text with Slack's formatting, but no mention, link or name that Slack looks up."""

    type: Literal["mrkdwn"]
    text: Annotated[str, Field(min_length=1, max_length=3000), _fit(3000)]
    verbatim: Literal[True] = True


Text = Annotated[PlainText | Markdown, Field(discriminator="type")]


class HeaderText(PlainText):
    """Slack's headers take 150 characters."""

    text: Annotated[str, Field(min_length=1, max_length=150), _fit(150)]


class Header(_Strict):
    """A title."""

    type: Literal["header"]
    text: HeaderText


class Section(_Strict):
    """A paragraph, or up to ten short ones side by side."""

    type: Literal["section"]
    text: Text | None = None
    fields: Annotated[list[Text], Field(min_length=1, max_length=10)] | None = None

    @model_validator(mode="after")
    def _has_content(self) -> "Section":
        if self.text is None and self.fields is None:
            raise ValueError("a section needs text or fields")
        if any(len(field.text) > 2000 for field in self.fields or ()):
            raise ValueError("a field takes 2000 characters")
        return self


class Context(_Strict):
    """Small print."""

    type: Literal["context"]
    elements: Annotated[list[Text], Field(min_length=1, max_length=10)]


class Divider(_Strict):
    """A line."""

    type: Literal["divider"]


Block = Annotated[Header | Section | Context | Divider, Field(discriminator="type")]


class SlackLogger(_Strict):
    """Slack blocks of the kinds that can describe an error."""

    blocks: Annotated[list[Block], Field(min_length=1, max_length=50)]

    @model_validator(mode="after")
    def _fits_a_message(self) -> "SlackLogger":
        if sum(len(text) for block in self.blocks for text in _texts(block)) > _LONGEST_IN_ALL:
            raise ValueError(f"a message takes {_LONGEST_IN_ALL} characters in all")
        return self


def _texts(block: Block) -> list[str]:
    match block:
        case Header(text=text):
            return [text.text]
        case Section(text=text, fields=fields):
            return [part.text for part in [text, *(fields or ())] if part is not None]
        case Context(elements=elements):
            return [element.text for element in elements]
        case _:
            return []
