"""What a user is told in one line. A bug asserts, weather is an event, a slip of the user's ends here."""

from devices.interface import DeviceError


class UserError(Exception):
    """One line: what is wrong, where, what to do. The command prints it to stderr and exits with 2."""


class GateFailed(UserError):
    """The port worked, but a gate (accuracy, speed) says no; nothing new serves. The command exits with 3."""


class BadImage(UserError):
    """A picture that cannot be decoded. In the daemon: a counted drop; on the command line: a slip."""


class CorruptBlob(UserError, DeviceError):
    """A blob whose content does not fit its name any more. Names the file."""


class RepositoryFull(UserError):
    """The disk took no more. Nothing is half-written; what served goes on serving."""
