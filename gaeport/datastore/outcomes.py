"""What is known of a Commit that answered with an error: some say that nothing was written, others do not."""

from gaeport.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    Unavailable,
)

#: Nothing was written: what a mutation takes for granted is not so.
REFUSED = (AlreadyExists, FailedPrecondition, NotFound)

#: Nothing was written: somebody else changed what the Commit built on. Which of them comes depends on the server.
CONFLICTS = (Aborted, *REFUSED)

#: The Commit may have been applied: look first, then decide anew.
UNCERTAIN = (Unavailable, DeadlineExceeded, Internal, Cancelled)

#: After any of these, what does no harm when it is written twice can be sent again as it is.
RESENDABLE = (Aborted, *UNCERTAIN)

#: After any of these, what is idempotent (or was looked up anew) is worth another try.
REPEATABLE = (*CONFLICTS, *UNCERTAIN)
