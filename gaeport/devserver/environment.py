"""The variables that App Engine sets for an application, set for one that runs here."""

import os
import platform
import secrets

from gaeport.devserver.appyaml import AppYaml
from gaeport.settings import Settings

_MEMORY_MB = "384"  # an F1 instance, the default class


def variables(config: Settings, app_yaml: AppYaml, port: int) -> dict[str, str]:
    """Return what App Engine sets, GAE_ENV excepted: that one means production.

    Source: "Python 3 runtime environment", environment variables.

    Args:
        config: the settings, for the project.
        app_yaml: for the runtime and the service.
        port: where requests arrive.
    """
    return {
        "GAE_APPLICATION": f"dev~{config.project}",
        "GAE_DEPLOYMENT_ID": "1",
        "GAE_INSTANCE": f"local-{secrets.token_hex(8)}",
        "GAE_MEMORY_MB": _MEMORY_MB,
        "GAE_RUNTIME": app_yaml.runtime,
        "GAE_SERVICE": app_yaml.service,
        "GAE_VERSION": "local",
        "GOOGLE_CLOUD_PROJECT": config.project,
        "PORT": str(port),
        "SERVER_SOFTWARE": f"gaeport ({platform.python_implementation()} {platform.python_version()})",
    }


def apply(config: Settings, app_yaml: AppYaml, port: int) -> None:
    """Set them, and app.yaml's env_variables where the shell that started the server has not set the same name."""
    for name, value in app_yaml.env_variables.items():
        os.environ.setdefault(name, value)
    os.environ.update(variables(config, app_yaml, port))
