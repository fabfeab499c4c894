"""What a file names and the machine lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from openai_proxy.config.configuration import load
from openai_proxy.config.outside import missing
from openai_proxy.config.secret import SecretReader
from openai_proxy.providers.catalogue import read_catalogue


def told(folder: Path, token: str, access_log: str | None = None) -> list[str]:
    """The problems of a provider with this token."""
    path = folder / "proxy.yaml"
    path.write_text(f"providers: {{openai: {{token: {{{token}}}}}}}\nlisteners: [{{address: 'unix:/s'}}]\n")
    configuration = load(path, read_catalogue(), SecretReader({}))
    settings = replace(configuration.settings(), access_log=access_log)
    return [str(problem) for problem in missing(configuration, settings)]


def test_a_program_has_to_be_one(tmp_path: Path) -> None:
    """Of this machine, and executable; nothing is run."""
    program = tmp_path / "token"
    command = f"command: [{program}, --canary]"
    place = "providers.openai.token.command"
    assert told(tmp_path, command) == [f"{place}: there is no program {program}"]
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run")
    program.chmod(0o644)
    assert told(tmp_path, command) == [f"{place}: {program} cannot be executed by who checks it"]
    program.chmod(0o755)
    assert told(tmp_path, command) == []
    assert not (tmp_path / "was-run").exists()


def test_a_file_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And to be readable; a folder is none."""
    file = tmp_path / "token"
    place = "providers.openai.token.file"
    assert told(tmp_path, f"file: {file}") == [f"{place}: there is no file {file}"]
    assert told(tmp_path, f"file: {tmp_path}") == [f"{place}: there is no file {tmp_path}"]
    file.write_text("sk-canary")
    assert told(tmp_path, f"file: {file}") == []
    # To the superuser every file is readable.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert told(tmp_path, f"file: {file}") == [f"{place}: {file} cannot be read by who checks it"]


@pytest.mark.parametrize("log", [None, "-"])
def test_a_log_has_to_have_a_folder(tmp_path: Path, log: str | None) -> None:
    """The daemon makes the file, and no folder."""
    (tmp_path / "token").write_text("")
    token = f"file: {tmp_path}/token"
    assert told(tmp_path, token, log) == told(tmp_path, token, f"{tmp_path}/new.log") == []
    assert told(tmp_path, token, f"{tmp_path}/gone/new.log") == [
        f"access_log.file: there is no folder {tmp_path}/gone"
    ]


def test_certificates_have_to_be_there(tmp_path: Path) -> None:
    """Of each listener and of the admin port, beside the file if their paths are relative."""
    path = tmp_path / "proxy.yaml"
    path.write_text(
        "listeners: [{address: '1'}, {address: '2', tls: {certificate: a.pem, key: /gone/b.pem}}]\n"
        "admin: {address: '3', tls: {certificate: c.pem}}\n"
    )
    (tmp_path / "a.pem").write_text("")
    configuration = load(path, read_catalogue(), SecretReader({}))
    assert [str(problem) for problem in missing(configuration, configuration.settings())] == [
        "listeners[1].tls.key: there is no file /gone/b.pem",
        f"admin.tls.certificate: there is no file {tmp_path}/c.pem",
    ]
