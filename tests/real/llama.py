"""llama.cpp's two servers, its own and llama-cpp-python's, as child processes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from tests.support.program import Program

FOLDER = "REAL"
"""The environment variable that names the folder with the servers' virtual environment and their model."""
MODEL = "gemma-3-270m"
KEY = "sk-of-the-server"
CONTEXT_TOKENS = 2048

_START_SECONDS = 120.0


class Server(Program):
    """Serves :data:`MODEL` to whoever has :data:`KEY`. ``folder``: see :data:`FOLDER`."""

    serves: ClassVar[re.Pattern[str]]
    left: ClassVar[re.Pattern[str]]
    """What it says when it has seen that a client left, and generates no more."""
    tells_stream_usage: ClassVar[bool]
    """Whether a stream says what it used, if it is asked (``stream_options.include_usage``)."""
    wrong_type_status: ClassVar[int]
    """Its answer to a request with a member of the wrong type."""

    def __init__(self, folder: Path) -> None:
        folder = folder.resolve()
        options = {
            "model": f"{MODEL}.gguf",
            "host": "127.0.0.1",
            "port": "0",
            **self.options(),
        }
        arguments = self.command(folder)
        for name, value in options.items():
            arguments += [f"--{name}", value] if value else [f"--{name}"]
        # Their settings are environment variables too: HOST, PORT, MODEL, SEED, LLAMA_ARG_...
        libraries = Path(arguments[0]).parents[1] / "lib"
        env = {"PYTHONUNBUFFERED": "1", "LD_LIBRARY_PATH": str(libraries)}
        super().__init__(arguments, self.serves, folder, env, _START_SECONDS)

    def command(self, folder: Path) -> list[str]:
        """What is started."""
        raise NotImplementedError

    def options(self) -> dict[str, str]:
        """Names and values, which may be empty."""
        raise NotImplementedError


class LlamaCppPython(Server):
    """The server of llama-cpp-python: FastAPI and uvicorn over the library."""

    serves = re.compile(r"Uvicorn running on (\S+)")
    left = re.compile(r"Disconnected from client")
    tells_stream_usage = False
    wrong_type_status = 500

    def command(self, folder: Path) -> list[str]:
        """Python with its module."""
        return [str(folder / "bin" / "python"), "-m", "llama_cpp.server"]

    def options(self) -> dict[str, str]:
        """The model's file has no template: without one it would be asked in another model's form."""
        return {
            "model_alias": MODEL,
            "api_key": KEY,
            "chat_format": "gemma",
            "n_ctx": str(CONTEXT_TOKENS),
            "n_threads": "1",
            "embedding": "true",
            # By itself it ends a stream when another request comes, as if the stream were whole.
            "interrupt_requests": "false",
            "verbose": "false",
        }


class LlamaServer(Server):
    """llama.cpp's own, ``llama-server``: the catalogue's ``llamacpp``."""

    serves = re.compile(r"listening on (http://\S+)")
    left = re.compile(r"cancel task")
    tells_stream_usage = True
    wrong_type_status = 400

    def command(self, folder: Path) -> list[str]:
        """Where pip put it."""
        (program,) = folder.glob("lib/python*/site-packages/bin/llama-server")
        return [str(program)]

    def options(self) -> dict[str, str]:
        """One question at a time, as the other server has it."""
        return {
            "alias": MODEL,
            "api-key": KEY,
            "no-jinja": "",
            "chat-template": "gemma",
            "ctx-size": str(CONTEXT_TOKENS),
            "parallel": "1",
            # As many as there are cores wait for each other busily, where others need a core too.
            "threads": "1",
            "embeddings": "",
            "pooling": "mean",
            "offline": "",
        }


SERVERS = (LlamaCppPython, LlamaServer)
