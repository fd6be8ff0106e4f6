"""The deploy-time tools as subcommands, where they are installed: they are never uploaded."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

_TOOLS = "gaeport_tools"


def add(commands: Any) -> None:
    """Add a command for each tool; none in a deployed application, which has no tools."""
    if find_spec(_TOOLS) is not None:
        for add_tool in import_module(f"{_TOOLS}.command").TOOLS:
            add_tool(commands)
