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
from ..statuses import error_class
from ..statuses import MISSING
from .answers import headers_of

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
#: MinIO and Ceph where they have their own).
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
}
#: By the class for the status, if there is no code, as with HEAD, or an unknown one.
BY_CLASS = {
    FileNotFound: OTHER,
    StoreDenied: REFUSED,
    StoreError: OTHER,
    StoreFull: FULL,
    StoreUnavailable: BUSY,
}
#: The name of the bucket's region, in the answer of a server in another one.
REGION_HEADER = "x-amz-bucket-region"
#: The header with which S3 signs its answers, the one to HEAD included.
REQUEST_ID = "x-amz-request-id"
#: Statuses that HEAD gives no reason for, and GET does.
UNSAID = (301, 400, 403)


def reply_of(exc: Exception) -> Mapping[str, t.Any] | None:
    """What botocore makes of the answer behind an error of s3fs, if there is one."""
    for error in (exc, exc.__cause__):
        reply = getattr(error, "response", None)
        if isinstance(reply, Mapping):
            return reply
    return None


def status_of(exc: Exception) -> int | None:
    """The HTTP status behind an error of s3fs.

    s3fs maps a 412 to ``FileExistsError`` or, when the server's reply lacks a
    detail that only Amazon sends, to ``OSError(EINVAL)``.
    """
    reply = reply_of(exc)
    return reply["ResponseMetadata"]["HTTPStatusCode"] if reply else None


def code_of(exc: Exception) -> str:
    """The code that S3 gives for an error of s3fs; the status if there is none."""
    error = (reply_of(exc) or {}).get("Error") or {}
    return str(error.get("Code") or status_of(exc))


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether an answer to HEAD may be a proxy's page in place of S3's error."""
    page = (headers.get("Content-Type") or "").startswith("text/html")
    return page and REQUEST_ID not in headers


def is_page(exc: Exception, method: str) -> bool:
    """Whether an error that something is not there comes from a proxy. s3fs makes a
    missing file of any 404.

    :param method: botocore's name of the request.
    """
    reply = reply_of(exc)
    if not reply or status_of(exc) not in MISSING or method == "head_object":
        return False
    if method.startswith("head"):
        return is_foreign(headers_of(reply))
    return code_of(exc).isdecimal()


def is_unsaid(exc: Exception) -> bool:
    """Whether an error of HEAD, which has no body, may have a reason that GET tells."""
    reply, status = reply_of(exc), status_of(exc)
    if reply and status in MISSING:
        return is_foreign(headers_of(reply))
    return status in UNSAID


def is_hidden(exc: Exception) -> bool:
    """Whether an error of GET says that there is no such object to somebody who may not
    list the bucket.

    Amazon S3 answers AccessDenied then ("GetObject", Amazon S3 API Reference), and
    names the permission that is missing. Where that of reading is there, it wants that
    of listing for an object only that is not there.
    """
    error = (reply_of(exc) or {}).get("Error") or {}
    denied = code_of(exc) == "AccessDenied"
    return denied and "s3:ListBucket" in (error.get("Message") or "")


def is_unreadable(exc: Exception) -> bool:
    """Whether botocore could make nothing of an answer."""
    from botocore.exceptions import BotoCoreError
    from botocore.parsers import ResponseParserError

    # A 301 without a region sends botocore from request to request.
    if isinstance(exc, ResponseParserError | RecursionError):
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


def explain_deletion(
    dialect: ObjectDialect, error: Mapping[str, t.Any], key: str
) -> StoreError | None:
    """The :exc:`StoreError` for one of many files that a request does not delete.

    :param error: with Code and Message, as DeleteObjects gives it.
    """
    from botocore.exceptions import ClientError

    # The answer as a whole has the status 200, and each file none.
    status = 403 if error.get("Code") == "AccessDenied" else 400
    reply = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}
    return _explain_answer(dialect, ClientError(reply, "DeleteObjects"), key)


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
    reason = ERRORS.get(code)
    if code == "404" and looked:
        reason = NO_FILE
    elif reason is None and status < 400:
        if REGION_HEADER in headers_of(exc.response):
            return WRONG_REGION.error(
                WRONG_REGION.words.format(bucket=repr(dialect.bucket)), key
            )
        unread = NoAnswer(f"the status is {status}, without a reason as S3 gives it")
        return explained(unread, key, dialect.settings)
    if reason is NO_BUCKET:
        return dialect.no_bucket()
    reason = reason or BY_CLASS[error_class(status)]
    words = reason.words.format(
        key=naming.quoted(key),
        code=code,
        bucket=repr(dialect.bucket),
        settings=dialect.settings,
        message=(error.get("Message") or "")[:200],
    )
    return reason.error(words, key)
