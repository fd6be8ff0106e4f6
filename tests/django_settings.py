"""Django's settings for all tests of one process, which can be configured once."""


def configure() -> None:
    """Configure Django, with sessions in gaeport, where it is not configured yet."""
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            SESSION_ENGINE="gaeport.sessions.django", SECRET_KEY="x", ALLOWED_HOSTS=["*"], USE_TZ=True, DATABASES={}
        )
