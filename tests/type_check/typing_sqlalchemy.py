"""A column of files, as ``make lint`` has it checked."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from datetime import datetime
from datetime import timedelta

from flask import Flask
from flask import request
from sqlalchemy import insert
from sqlalchemy import MetaData
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import Session

from flask_store import FileWrapper
from flask_store import Store
from flask_store.providers.local import LocalProvider
from flask_store.sqla import columns_of
from flask_store.sqla import FlaskStoreType
from flask_store.sqla import orphans
from flask_store.sqla import StoredFile
from flask_store.sqla import sweep
from flask_store.stores import Upload
from flask_store.stores.fsspec import FsspecStore
from flask_store.stores.s3 import S3Store

app = Flask(__name__)
store = Store(app)
scans: Store[S3Store] = Store(app, name="scans")
old: Store[LocalProvider] = Store(app, name="old")


def folder_of_today(upload: Upload | None) -> str:
    """A folder for each month."""
    return f"{datetime.now():%Y/%m}"


class Base(DeclarativeBase):
    """The declarative base."""


class Person(Base):
    """A row with files."""

    __tablename__ = "person"

    id: Mapped[int] = mapped_column(primary_key=True)
    picture: Mapped[FileWrapper | None] = mapped_column(StoredFile("pictures"))
    report: Mapped[FileWrapper] = mapped_column(StoredFile(length=700), index=True)
    scan: Mapped[FileWrapper | None] = mapped_column(StoredFile(store=scans))
    photo: Mapped[FileWrapper | None] = mapped_column(
        StoredFile(store=FsspecStore.from_url("s3://photos"))
    )
    past: Mapped[FileWrapper | None] = mapped_column(StoredFile(store=old))
    dated: Mapped[FileWrapper | None] = mapped_column(StoredFile(folder_of_today))
    legacy: Mapped[t.Any] = mapped_column(FlaskStoreType(location="old"))


def create(session: Session) -> str:
    """The constructor takes an upload as it is."""
    person = Person(picture=request.files["picture"], report=request.files["report"])
    session.add(person)
    session.commit()
    t.assert_type(person.picture, FileWrapper | None)
    return person.report.absolute_url()


def change(session: Session, person: Person) -> None:
    """An attribute is a file to the checker, and takes an upload by a cast."""
    person.picture = t.cast(FileWrapper, request.files["picture"])
    session.flush()
    picture = person.picture
    if picture is not None:
        print(picture.absolute_url())
    person.picture = store.save(b"...", "me.jpg", folder="pictures")
    person.picture = None
    # Without the cast, each of these is an error.
    person.picture = request.files["picture"]  # type: ignore[assignment]
    person.picture = "me.jpg"  # type: ignore[assignment]
    person.report = None  # type: ignore[assignment]
    # So is this, as there may be no file.
    person.picture.absolute_url()  # type: ignore[union-attr]


def statements(session: Session, f: FileWrapper) -> FileWrapper | None:
    """Files in statements."""
    session.execute(insert(Person).values(picture=f))
    query = select(Person.picture).where(Person.report == f)
    t.assert_type(session.scalars(query).first(), FileWrapper | None)
    return session.scalars(query).first()


def clean(session: Session) -> Iterator[FileWrapper]:
    """Find and remove what no row knows."""
    columns = [Person.picture, Person.report]
    sweep(store, session, columns, older_than=timedelta(days=2))
    sweep(store.at("pictures"), session, [*columns, *columns_of(Base.metadata)])
    sweep(scans, session, columns)
    yield from orphans(store, session, columns)
    orphans(store, session, ["picture"])  # type: ignore[list-item]


StoredFile(store="scans")  # type: ignore[arg-type]
StoredFile(metadata=MetaData())  # type: ignore[call-arg]
