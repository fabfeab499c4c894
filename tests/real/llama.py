"""The server of llama-cpp-python, as a child process."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.program import Program

FOLDER = "REAL"
"""The environment variable that names the folder with the server's virtual environment and its model."""
MODEL = "gemma-3-270m"
KEY = "sk-of-the-server"
CONTEXT_TOKENS = 2048
LEFT = re.compile(r"Disconnected from client")
"""What it says when it has seen that a client left, and generates no more."""

_SERVES = re.compile(r"Uvicorn running on (\S+)")
_START_SECONDS = 120.0


class LlamaServer(Program):
    """Serves :data:`MODEL` to whoever has :data:`KEY`. ``folder``: see :data:`FOLDER`."""

    def __init__(self, folder: Path) -> None:
        options = {
            "model": f"{MODEL}.gguf",
            "model_alias": MODEL,
            # The model's file has no template; without one it would be asked in another model's form.
            "chat_format": "gemma",
            "n_ctx": str(CONTEXT_TOKENS),
            "embedding": "true",
            # By itself it ends a stream when another request comes, as if the stream were whole.
            "interrupt_requests": "false",
            "api_key": KEY,
            "verbose": "false",
            "host": "127.0.0.1",
            "port": "0",
        }
        folder = folder.resolve()
        python = str(folder / "bin" / "python")
        arguments = [python, "-m", "llama_cpp.server"]
        for name, value in options.items():
            arguments += [f"--{name}", value]
        # Its settings are environment variables too: HOST, PORT, MODEL, SEED, ...
        super().__init__(arguments, _SERVES, folder, {"PYTHONUNBUFFERED": "1"}, _START_SECONDS)
