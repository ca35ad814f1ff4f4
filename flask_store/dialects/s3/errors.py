"""What S3, botocore and s3fs raise, in the words of the settings."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ... import naming
from ...exceptions import FileNotFound
from ...exceptions import InvalidName
from ...exceptions import NotConfiguredError
from ...exceptions import StoreDenied
from ...exceptions import StoreError
from ...exceptions import StoreFull
from ...exceptions import StoreUnavailable
from ..errors import explained
from ..errors import NoAnswer

if t.TYPE_CHECKING:
    from botocore.exceptions import ClientError

    from ..objects import ObjectDialect
    from .account import S3Account

#: What S3 answers to a condition that is not met.
TAKEN = (409, 412)


class Unanswered(Exception):
    """A request that the direct way has no answer to, or none that it can judge."""


class Reason(t.NamedTuple):
    """What an error of S3 amounts to.

    :param error: the class.
    :param words: the message, with ``{key}``, ``{code}``, ``{bucket}``, ``{settings}``
        and ``{message}``, which is the server's own.
    """

    error: type[StoreError]
    words: str


NO_BUCKET = Reason(NotConfiguredError, "")  # ObjectDialect has the words
NO_FILE = Reason(FileNotFound, "There is no file {key}.")
REFUSED = Reason(
    StoreDenied,
    "The storage refuses access to {key} ({code}). Check the permissions, and"
    " {settings}.",
)
REFUSED_KEY = Reason(
    StoreDenied,
    "S3 refuses the credentials ({code}). Check STORE_S3_ACCESS_KEY,"
    " STORE_S3_SECRET_KEY and, for temporary ones, STORE_S3_SESSION_TOKEN.",
)
WRONG_CLOCK = Reason(
    StoreDenied,
    "S3 refuses the date of the request: the clock of this machine is wrong. Set it by"
    " NTP.",
)
WRONG_REGION = Reason(
    NotConfiguredError,
    "The bucket {bucket} is in another region. Correct STORE_S3_REGION.",
)
TOO_LONG = Reason(InvalidName, "{key} is too long for S3.")
FULL = Reason(StoreFull, "The bucket is full ({code}). Nothing was stored.")
BUSY = Reason(
    StoreUnavailable,
    "S3 cannot answer now ({code}). Try again later; if it goes on, check the server"
    " and {settings}.",
)
OTHER = Reason(StoreError, "S3 refuses the request for {key} ({code}): {message}")

#: By the code in the body of an error (Amazon S3 API Reference, "Error responses"; of
#: MinIO and Ceph where they have their own), and by the HTTP status where the code is
#: not known or, as with HEAD, there is none.
ERRORS = {
    "NoSuchBucket": NO_BUCKET,
    "NoSuchKey": NO_FILE,
    "InvalidAccessKeyId": REFUSED_KEY,
    "SignatureDoesNotMatch": REFUSED_KEY,
    "InvalidToken": REFUSED_KEY,
    "ExpiredToken": REFUSED_KEY,
    "RequestTimeTooSkewed": WRONG_CLOCK,
    "AuthorizationHeaderMalformed": WRONG_REGION,
    "IllegalLocationConstraintException": WRONG_REGION,
    "PermanentRedirect": WRONG_REGION,
    "KeyTooLongError": TOO_LONG,
    "QuotaExceeded": FULL,
    "XMinioStorageFull": FULL,
    "InsufficientStorage": FULL,
    "BandwidthLimitExceeded": BUSY,
    "IncompleteBody": BUSY,
    "InternalError": BUSY,
    "OperationAborted": BUSY,
    "RequestLimitExceeded": BUSY,
    "RequestTimeout": BUSY,
    "ServiceUnavailable": BUSY,
    "SlowDown": BUSY,
    "Throttling": BUSY,
    "ThrottlingException": BUSY,
    "TooManyRequests": BUSY,
    "NotImplemented": OTHER,
    "301": WRONG_REGION,
    "401": REFUSED,
    "403": REFUSED,
    "408": BUSY,
    "409": BUSY,
    "429": BUSY,
    "500": BUSY,
    "502": BUSY,
    "503": BUSY,
    "504": BUSY,
    "507": FULL,
}


def status_of(exc: Exception) -> int | None:
    """The HTTP status behind an error of s3fs.

    s3fs maps a 412 to ``FileExistsError`` or, when the server's reply lacks a
    detail that only Amazon sends, to ``OSError(EINVAL)``.
    """
    for error in (exc, exc.__cause__):
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):
            return t.cast("int | None", response["ResponseMetadata"]["HTTPStatusCode"])
    return None


def is_unreadable(exc: Exception) -> bool:
    """Whether botocore could make nothing of an answer."""
    from botocore.exceptions import BotoCoreError
    from botocore.parsers import ResponseParserError

    if isinstance(exc, ResponseParserError):
        return True
    # A date that is none, bytes that are no text.
    return isinstance(exc, LookupError | ValueError) and not isinstance(
        exc, BotoCoreError
    )


def explain(
    dialect: ObjectDialect, account: S3Account, exc: Exception, key: str | None
) -> StoreError | None:
    """The :exc:`StoreError` for what a request raised, if it is S3's or botocore's.

    :param account: where the bucket is.
    """
    from botocore.exceptions import ClientError

    # s3fs wraps some of botocore's errors and passes on the others; one of these
    # is an OSError by itself.
    for cause in (exc, exc.__cause__):
        if isinstance(cause, ClientError):
            return _explain_answer(dialect, cause, key)
        error = _explain_client(account, cause, key)
        if error:
            return error
    return None


def _explain_client(
    account: S3Account, exc: BaseException | None, key: str | None
) -> StoreError | None:
    from aiohttp import ClientError as BrokenConnection
    from botocore import exceptions as boto

    if isinstance(exc, boto.NoCredentialsError | boto.PartialCredentialsError):
        return NotConfiguredError(
            "There are no S3 credentials. Set STORE_S3_ACCESS_KEY and"
            " STORE_S3_SECRET_KEY, or give the server AWS credentials (environment,"
            " profile or role)."
        )
    broken = (
        boto.HTTPClientError,
        boto.ConnectionError,
        boto.IncompleteReadError,
        BrokenConnection,
        TimeoutError,
    )
    if isinstance(exc, broken):
        server = account.endpoint.server
        return StoreUnavailable(
            f"{server} cannot be reached, or did not answer in time. Check"
            " that it runs, STORE_S3_ENDPOINT_URL and STORE_S3_REGION.",
            key,
        )
    if isinstance(exc, boto.BotoCoreError):
        return StoreError(f"The request to S3 could not be made: {exc}", key)
    return None


def _explain_answer(
    dialect: ObjectDialect, exc: ClientError, key: str | None
) -> StoreError | None:
    error = exc.response["Error"]
    status = exc.response["ResponseMetadata"]["HTTPStatusCode"]
    code = error.get("Code") or str(status)
    looked = exc.operation_name.startswith("Head")  # such an answer has no body
    reason = ERRORS.get(code) or ERRORS.get(str(status))
    if code == "404" and looked:
        reason = NO_FILE
    elif reason is None and status >= 500:
        reason = BUSY
    elif reason is None and code.isdecimal() and not looked:
        unread = NoAnswer(f"the status is {status}, without a reason as S3 gives it")
        return explained(unread, key, dialect.settings)
    if reason is NO_BUCKET:
        return dialect.no_bucket()
    reason = reason or OTHER
    words = reason.words.format(
        key=naming.quoted(key),
        code=code,
        bucket=repr(dialect.bucket),
        settings=dialect.settings,
        message=(error.get("Message") or "")[:200],
    )
    return reason.error(words, key)
