"""Defines the errors that end a command with one line for the user.

A bug raises an assertion and a fault of the world is a counted event; only a mistake of the user ends here.
"""

from devices.interface import DeviceError


class UserError(Exception):
    """Tells the user in one line what is wrong, where, and what to do. The command prints it to
    stderr and exits with 2.
    """


class GateFailed(UserError):
    """Tells that the port worked but a gate (accuracy, speed) refused it; nothing new serves.
    The command exits with 3.
    """


class BadImage(UserError):
    """Tells that a picture cannot be decoded. The daemon counts it as a drop; on the command
    line it is a user's mistake.
    """


class CorruptBlob(UserError, DeviceError):
    """Tells that a blob's content no longer matches its name. Names the file."""


class RepositoryFull(UserError):
    """Tells that the disk is full. No file is half-written, and what served goes on serving."""
