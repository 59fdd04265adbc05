"""Google's OTLP endpoint: the process's own credentials, for it and for nobody else."""

import json
from pathlib import Path

import pytest

from longcall.core.errors import CallerMistake
from longcall.telemetry.google_session import GoogleSession

GOOGLE = "https://telemetry.googleapis.com/v1/traces"


def test_other_collectors_ask_for_no_credentials() -> None:
    """Nothing is looked up, and no session is made, for a name that only looks like Google's."""
    alike = ("https://telemetry.googleapis.com.example/v1/traces", "http://telemetry.googleapis.com/v1/traces")
    assert GoogleSession.for_any_of("", "http://collector:4318/v1/traces", *alike) is None


def test_google_s_endpoint_gets_the_credentials_and_nobody_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session with a token, for its endpoint alone."""
    keys = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "quota_project_id": "p"}
    (tmp_path / "adc.json").write_text(json.dumps(keys))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    found = GoogleSession.for_any_of(GOOGLE, "http://collector/v1/metrics")
    assert found is not None
    assert found.project == "my-project"
    assert found.for_endpoint(GOOGLE) is found.session
    assert found.for_endpoint("http://collector/v1/metrics") is None


def test_without_credentials_it_is_said_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that could send nothing says so, and why."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
    with pytest.raises(CallerMistake, match=r"telemetry\.googleapis\.com.*nothing\.json"):
        GoogleSession.for_any_of(GOOGLE)
