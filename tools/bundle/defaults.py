"""What hardly any application wants to upload, in groups that say why."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Ignore patterns with one reason.

    Attributes:
        reason: why they stay at home.
        lines: patterns, as .gcloudignore has them.
    """

    reason: str
    lines: tuple[str, ...]


GROUPS = (
    Group(
        "the repository and the tools around it",
        (
            ".gcloudignore",
            ".git",
            ".gitignore",
            ".gitattributes",
            ".gitmodules",
            ".github/",
            ".gitlab-ci.yml",
            ".hg/",
            ".svn/",
            ".ci/",
            ".vscode/",
            ".idea/",
            ".editorconfig",
            ".pre-commit-config.yaml",
            ".DS_Store",
            "Thumbs.db",
            "*.swp",
            "*~",
            "/Makefile",
            "/setup.cfg",
        ),
    ),
    Group(
        "only for development",
        (
            "/tests/",
            "/test/",
            "/tools/",
            "/docs/",
            "/examples/",
            "/README.md",
            "/CHANGELOG.md",
            "/conftest.py",
            "/noxfile.py",
            "/pytest.ini",
            "/tox.ini",
            "/.coveragerc",
        ),
    ),
    Group("data of local runs", (".gaeport/", "*.sqlite3", "*.sqlite3-shm", "*.sqlite3-wal", "*.log")),
    Group("virtual environments", (".venv/", ".venv-*/", "venv/", "env/", "node_modules/")),
    Group(
        "secrets",
        (
            ".env",
            ".env.*",
            "!.env.example",
            "*.pem",
            "*.p12",
            "*.pfx",
            "*.key",
            "!private/auth.key",  # web2py keys its passwords with it: without it nobody could log in
            "id_rsa*",
            "id_ed25519*",
            "client_secret*.json",
            "service-account*.json",
            "service_account*.json",
            ".netrc",
            ".pypirc",
        ),
    ),
    Group(
        "what Python and its tools leave behind",
        (
            "__pycache__/",
            "*.py[cod]",
            "*.egg-info/",
            ".eggs/",
            "/build/",
            "/dist/",
            ".tox/",
            ".nox/",
            ".hypothesis/",
            ".mypy_cache/",
            ".pytest_cache/",
            ".ruff_cache/",
            ".coverage",
            "htmlcov/",
        ),
    ),
    Group(
        "web2py: its own applications, and what local runs wrote",
        (
            "applications/admin/",
            "applications/examples/",
            "applications/*/cache/",
            "applications/*/databases/",
            "applications/*/errors/",
            "applications/*/sessions/",
            "applications/*/uploads/",
        ),
    ),
)
