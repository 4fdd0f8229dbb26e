"""Reads the HTML form of a mail."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The elements of a page, each with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)


def elements_of(html: str) -> list[str]:
    """The names of all elements of a page, in their order."""
    return Page(html).elements
