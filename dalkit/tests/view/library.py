"""The classes that the tests of views use."""

from datetime import date
from uuid import UUID

from dalkit.view import Many, One, View, ViewObject, many, one


class Author(ViewObject, table="author"):
    """Somebody who wrote or edited books."""

    id: int
    name: str
    born: date | None
    books: Many["Book"] = many("book.author_id")
    edited: Many["Book"] = many("book.editor_id")
    profile: One["Profile | None"] = one("profile.author_id")


class Book(ViewObject, table="book"):
    """A book."""

    id: int
    title: str
    author_id: int
    editor_id: int | None
    author: One[Author] = one("author_id")
    editor: One[Author | None] = one("editor_id")
    tags: Many["Tag"] = many("tagging.book_id", to="tag")
    reviews: Many["Review"] = many("elsewhere.review.book_id")


class Profile(ViewObject, table="profile"):
    """What an author says of themselves."""

    id: UUID
    author_id: int
    motto: str
    author: One[Author] = one("author_id")


class Tag(ViewObject, table="tag"):
    """A word that books have in common."""

    name: str
    books: Many[Book] = many("tagging.tag", to="book_id")


class Node(ViewObject, table="node"):
    """A part of a tree."""

    id: int
    parent_id: int | None
    parent: One["Node | None"] = one("parent_id")
    children: Many["Node"] = many("node.parent_id")


class Invoice(ViewObject, table="invoice"):
    """Something with a key of two columns."""

    year: int
    number: str
    lines: Many["Line"] = many("line.year,number")


class Line(ViewObject, table="line"):
    """A part of an invoice."""

    id: int
    year: int | None
    number: str | None
    invoice: One[Invoice | None] = one("year,number")


class Review(ViewObject, table="elsewhere.review"):
    """A row of another schema."""

    id: int
    book_id: int
    stars: int
    book: One[Book] = one("book_id")


class Country(ViewObject, table="country"):
    """What is referred to by another key than its primary one."""

    id: int
    code: str
    cities: Many["City"] = many("city.country_code")


class City(ViewObject, table="city"):
    """A row that refers to a unique column."""

    id: int
    country_code: str
    country: One[Country] = one("country_code")


class Library(View):
    """Everything."""

    Author = Author
    Book = Book
    Profile = Profile
    Tag = Tag
    Node = Node
    Invoice = Invoice
    Line = Line
    Review = Review
    Country = Country
    City = City
