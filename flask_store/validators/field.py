"""A file field for the forms of WTForms, Flask-WTF and Flask-Admin."""

from __future__ import annotations

import logging
import re
import typing as t
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from flask import after_this_request
from flask import has_request_context
from flask import Response
from markupsafe import Markup
from werkzeug.datastructures import FileStorage
from wtforms import FileField
from wtforms import ValidationError
from wtforms.form import BaseForm
from wtforms.utils import unset_value
from wtforms.widgets import FileInput

from ..dialects.claims import Claim
from ..direct import EXPIRES
from ..exceptions import BadLink
from ..exceptions import NotConfiguredError
from ..exceptions import StoreError
from ..extension import Store
from ..http import links
from ..naming import quoted
from ..stores.fsspec import FsspecStore
from ..uploads import is_chosen
from ..views.table import human
from ..views.table import visible
from . import keeping
from .checks import NO_UPLOAD

logger = logging.getLogger(__name__)

GONE = "The file is no longer kept for this form. Choose the file again."
USED = (
    "{} is no longer kept: it has been sent with this form before, or its time is over."
    " If it is still needed, choose the file again."
)
#: The number of an entry of a FieldList, which changes when another one is removed.
NUMBER = re.compile(r"-[0-9]+(?=-|\Z)")


@dataclass(frozen=True)
class KeptFile:
    """A file that need not be uploaded again when the form is sent again.

    :param name: the name of the file, cleaned.
    :param size: in bytes.
    :param input_name: the name of the form's field that sends the token.
    :param token: the value of that field.
    """

    name: str
    size: int
    input_name: str
    token: str = field(repr=False)


class UploadInput(FileInput):
    """The input of an :class:`UploadField` and, if a file is kept, a checkbox below
    it that sends it. The user clears the checkbox to send no file."""

    CHECKBOX = Markup(
        '<br><label class="kept-file">'
        '<input type="checkbox" name="{}" value="{}" checked>'
        " <bdi>{}</bdi> ({})</label>"
    )

    def __call__(self, field: t.Any, **kwargs: t.Any) -> Markup:
        """The HTML."""
        file = field.kept
        if file is None:
            return super().__call__(field, **kwargs)
        kwargs["required"] = False  # a browser would ask for another file
        checkbox = self.CHECKBOX.format(
            file.input_name, file.token, visible(file.name), human(file.size)
        )
        return super().__call__(field, **kwargs) + checkbox


class UploadField(FileField):
    """A file field whose data are an upload, or what the object of the form has.

    A form that was sent without a file changes nothing: ``populate_obj`` leaves the
    attribute as it was. A form without ``enctype="multipart/form-data"`` does not
    validate when a file was chosen.

    With *store*, a file survives a form that fails. If the form has been validated, and
    is rendered again, the file of a field without errors is put into the private folder
    of the store. The page shows its name and size, and sends a token for it the next
    time.

    :param store: where a file is kept, any store of the application.
    :param expires: for how long a file is kept after its upload, in seconds.
    :raises TypeError: if *store* is no store, or the widget takes several files.
    :raises ValueError: if *expires* is less than a second.
    """

    widget = UploadInput()

    #: The token that the form has sent.
    _token: t.Any = None
    #: What a token for this field is bound to, once the form is known.
    _place = ""
    #: What the token leads to, if it is good, and the file was not replaced.
    _ticket: keeping.Ticket | None = None
    _is_used = False
    #: Whether the form was validated, and nobody has tried to keep the file since.
    _may_keep = False
    _kept: KeptFile | None = None

    def __init__(
        self,
        label: str | None = None,
        validators: t.Any = None,
        *args: t.Any,
        store: Store[t.Any] | FsspecStore | None = None,
        expires: int = EXPIRES,
        **kwargs: t.Any,
    ) -> None:
        super().__init__(label, validators, *args, **kwargs)
        if store is not None and not isinstance(store, Store | FsspecStore):
            raise TypeError(
                f"store is {store!r}, which is no store. Pass the Store of the"
                " application."
            )
        if store is not None and getattr(self.widget, "multiple", False):
            raise TypeError(
                "An UploadField keeps one file, and its widget takes several. For"
                " several files, use FieldList(UploadField(store=store))."
            )
        links.check_seconds(expires)
        self._store = store
        self._expires = expires

    def process(
        self,
        formdata: t.Any,
        data: t.Any = unset_value,
        extra_filters: Sequence[t.Any] | None = None,
    ) -> None:
        """Take what the form has sent, also the token of a file that is kept."""
        if formdata is not None and self._store is not None:
            self._token = next(iter(formdata.getlist(self._input_name)), None)
        super().process(formdata, data, extra_filters)

    def process_formdata(self, valuelist: Sequence[t.Any]) -> None:
        """Take the upload, if there is one.

        :raises ValueError: if the form has only sent the name of a file. WTForms makes
            an error of the field of it.
        """
        for value in valuelist:
            if isinstance(value, FileStorage):
                if is_chosen(value):
                    self.data = value
                    return
            elif value:
                raise ValueError(NO_UPLOAD)

    def pre_validate(self, form: BaseForm) -> None:
        """Look for the file that is kept, before the validators check it.

        :raises ValidationError: if it is not there, or the token is not good.
        """
        cls = type(form)
        name = NUMBER.sub("", self.name)
        self._place = f"{cls.__module__}.{cls.__qualname__} {name}"
        if self._token and self._ticket is None:
            self._take(self._current_store)

    def _take(self, store: FsspecStore) -> None:
        is_replaced = isinstance(self.data, FileStorage)
        try:
            ticket = keeping.read(store, self._token, self._place)
        except BadLink:
            if is_replaced:
                return
            raise ValidationError(self.gettext(GONE)) from None
        if is_replaced:
            if keeping.use(store, ticket):
                keeping.discard(store, ticket.claim)
            return
        upload = keeping.upload(store, ticket.claim, self.name)
        if upload is None:
            raise self._used(ticket.claim)
        self.data = upload
        self.raw_data = [upload]
        self._ticket = ticket
        if has_request_context():
            after_this_request(self._end)

    def post_validate(self, form: BaseForm, validation_stopped: bool) -> None:
        """Use the token up, if the file has passed the validators.

        :raises ValidationError: if another submit was quicker.
        """
        self._may_keep = True
        ticket = self._ticket
        if ticket is None:
            return
        # Validators have opened it. Who reads it after them opens it again.
        self.data.close()
        if self._is_used or self.errors:
            return
        if not keeping.use(self._current_store, ticket):
            raise self._used(ticket.claim)
        self._is_used = True

    def _end(self, response: Response) -> Response:
        """Close the private file after the view, and remove it if its token was used
        up, unless the page has another token."""
        self._may_keep = False
        if isinstance(self.data, FileStorage):
            self.data.close()
        if self._ticket is not None and self._is_used and self._kept is None:
            keeping.discard(self._current_store, self._ticket.claim)
        return response

    def _used(self, claim: Claim) -> ValidationError:
        return ValidationError(self.gettext(USED).format(quoted(claim.key)))

    @property
    def kept(self) -> KeptFile | None:
        """The file that need not be uploaded again, for a template. It is stored when
        this is first asked for.

        :return: ``None`` if the form was not validated, or the field has no file, or
            has an error.
        :raises NotConfiguredError: if the field has a store, and that is read-only, or
            the application has no SECRET_KEY.
        """
        if self._store is None:
            return None
        store = self._current_store
        if self._may_keep and self._kept is None and not self.errors:
            self._may_keep = False
            self._keep(store)
        return self._kept

    def _keep(self, store: FsspecStore) -> None:
        if not isinstance(self.data, FileStorage) or self.data.closed:
            return
        if self._ticket is not None:
            claim = self._ticket.claim
        else:
            try:
                claim = keeping.put(store, self.data, self._expires)
            except StoreError as exc:
                # The page is needed more than the file.
                logger.warning("The upload of a form is not kept: %s", exc)
                return
        token = keeping.issue(store, claim, self._place)
        self._kept = KeptFile(claim.key, claim.max_size, self._input_name, token)

    @property
    def _input_name(self) -> str:
        return f"{self.name}-kept"

    @property
    def _current_store(self) -> FsspecStore:
        """The store of this field, in the current application.

        :raises NotConfiguredError: if no file can be kept there.
        """
        assert self._store is not None
        store = self._store.at(None)
        if not isinstance(store, FsspecStore):
            raise TypeError(f"{store!r} is no FsspecStore, which an UploadField needs.")
        if store.dialect.read_only:
            raise NotConfiguredError(
                f"UploadField(store=...) keeps files in {store.uri}, which is"
                " read-only. Pass a store that takes files."
            )
        if not links.can_sign():
            raise NotConfiguredError(
                "UploadField(store=...) signs the tokens of files that it keeps. Set"
                " SECRET_KEY to a long random value."
            )
        return store

    def populate_obj(self, obj: object, name: str) -> None:
        """Set the attribute, if a file was uploaded."""
        if isinstance(self.data, FileStorage):
            super().populate_obj(obj, name)
