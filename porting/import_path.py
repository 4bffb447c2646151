"""Finds the object that an import path names. Every `use:` and every option that takes a class goes through here."""

from pkgutil import resolve_name
from typing import Any

from porting.errors import UserError
from porting.moved import MOVED


def resolve(path: str, where: str) -> Any:
    """Returns the object at `path`, written `package.module:Name`.

    `where` is the key or option that holds the path; it begins the message. Raises `UserError` where the path cannot
    be imported, and names the new path of a plug-in that has moved. Other errors of an imported module pass through.
    """
    try:
        return resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{where}: {reason(path, error)}") from error


def reason(path: str, error: Exception) -> str:
    """Returns why `path` was not found, in one line."""
    if path in MOVED:
        return f"{path!r} has moved; write {MOVED[path]!r}"
    said = " ".join(str(error).split())
    return f"{path!r} cannot be imported ({said}); expected package.module:Class"
