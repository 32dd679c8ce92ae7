"""Settings that are refused, and how that is said."""

import pytest

from batchyard import config
from batchyard.errors import ConfigError

FAILPOINT = {"failpoint": "after_claim"}


def test_failpoint_is_refused_outside_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHYARD_TESTING", raising=False)
    with pytest.raises(ConfigError) as refused:
        config.load(**FAILPOINT)
    assert refused.value.message == (
        "Wrong setting. BATCHYARD_FAILPOINT kills the process and is for tests only"
    )
    monkeypatch.setenv("BATCHYARD_FAILPOINT", "after_claim:3")
    with pytest.raises(ConfigError, match="for tests only"):
        config.load()
    monkeypatch.setenv("BATCHYARD_TESTING", "false")
    with pytest.raises(ConfigError, match="for tests only"):
        config.load()


def test_failpoint_is_read_in_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHYARD_TESTING", "true")
    monkeypatch.setenv("BATCHYARD_FAILPOINT", "after_claim:3")
    assert config.load().failpoint == "after_claim:3"


def test_each_wrong_setting_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        config.load(port=70_000, sandbox_speed=-1)
    assert "BATCHYARD_PORT: " in refused.value.message
    assert "BATCHYARD_SANDBOX_SPEED: " in refused.value.message


@pytest.mark.parametrize("given", ["127.0.0.1", "10.0.0.0/8, 172.16.0.0/12", "::1", "*"])
def test_proxies_are_addresses_and_networks(given: str) -> None:
    assert config.load(trusted_proxies=given).trusted_proxies == given


@pytest.mark.parametrize("given", ["proxy.example", "10.0.0.1/8", "127.0.0.1,,"])
def test_proxy_that_would_silently_be_nobody_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="BATCHYARD_TRUSTED_PROXIES"):
        config.load(trusted_proxies=given)


def test_process_to_stop_has_ten_seconds_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHYARD_STOP_SECONDS", raising=False)
    assert config.load().stop_seconds == 10
