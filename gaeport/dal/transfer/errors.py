"""What stops a transfer."""

from gaeport.errors import GaeportError


class TransferError(GaeportError):
    """A row or a file cannot be moved as it is; the message names it. What was moved before stays moved."""
