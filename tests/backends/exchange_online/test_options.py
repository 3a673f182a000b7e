"""The settings of an instance: what they mean, and which line is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bot.backends import registry
from bot.backends.exchange_online.clouds import CLOUDS, endpoints, origin
from bot.backends.exchange_online.options import OPTIONAL, REQUIRED, read_options
from bot.backends.options import BadOptions
from bot.core.capabilities import Capability

ID = "0a1b2c3d-0000-4000-8000-000000000001"
LEAST = {"TENANT": "contoso.onmicrosoft.test", "CLIENT_ID": ID, "CLIENT_SECRET": "s3cret-value"}


def test_the_least_settings_make_a_reader_of_the_global_cloud() -> None:
    options = read_options(LEAST)
    assert options.endpoints.authority == "https://login.microsoftonline.com/contoso.onmicrosoft.test"
    assert options.endpoints.graph_scope == "https://graph.microsoft.com/.default"
    assert options.endpoints.exo_scope == "https://outlook.office365.com/.default"
    assert options.endpoints.traces and options.endpoints.discovery
    assert options.fixer is None
    assert (options.budget, options.settle) == (60, timedelta(minutes=15))


@pytest.mark.parametrize("cloud", ["gcc_high", "dod", "china"])
def test_other_clouds_have_their_own_hosts_and_no_trace_in_graph(cloud: str) -> None:
    found = read_options(LEAST | {"CLOUD": cloud.upper()}).endpoints
    assert found.exo_url == CLOUDS[cloud].exchange
    assert found.exo_scope == f"{CLOUDS[cloud].exchange}/.default"
    assert not found.traces


def test_another_address_moves_requests_but_not_for_whom_a_token_is_made() -> None:
    found = read_options(LEAST | {"EXO_URL": "https://127.0.0.1:1/", "AUTHORITY": "https://127.0.0.1:2/t"}).endpoints
    assert found.exo_url == "https://127.0.0.1:1"
    assert found.exo_scope == "https://outlook.office365.com/.default"
    assert not found.discovery


@pytest.mark.parametrize(
    ("changed", "option", "problem"),
    [
        ({"TENANT": "no tenant/"}, "TENANT", "the tenant's id"),
        ({"CLIENT_ID": "nonsense"}, "CLIENT_ID", "GUID"),
        ({"CLIENT_ID": ""}, "CLIENT_ID", "is missing"),
        ({"CLIENT_SECRET": ""}, "CERTIFICATE_FILE", "is missing"),
        ({"CERTIFICATE_FILE": "/no/such/file"}, "CERTIFICATE_FILE", "wants a file"),
        ({"CA_FILE": "/no/such/file"}, "CA_FILE", "wants a file"),
        ({"CERTIFICATE_FILE": "-----BEGIN PRIVATE KEY-----" + 300 * "x"}, "CERTIFICATE_FILE", "wants a file"),
        ({"FIXER_CLIENT_ID": ID}, "FIXER_CERTIFICATE_FILE", "is missing"),
        ({"CLOUD": "mars"}, "CLOUD", "global, gcc_high"),
        ({"ACCEPTED_DOMAINS_API": "v3"}, "ACCEPTED_DOMAINS_API", "invoke, v2"),
        ({"BUDGET": "1000"}, "BUDGET", "from 10 to 100"),
        ({"SETTLE": "soon"}, "SETTLE", "number"),
        ({"TIMEOUT": "0"}, "TIMEOUT", "number"),
        ({"AUTHORITY": "http://127.0.0.1/t"}, "AUTHORITY", "https://"),
        ({"GRAPH_URL": "https://user@host/"}, "GRAPH_URL", "https://"),
        ({"EXO_URL": "https://[::1"}, "EXO_URL", "https://"),
    ],
)
def test_each_wrong_setting_is_named_with_what_it_wants(changed: dict[str, str], option: str, problem: str) -> None:
    with pytest.raises(BadOptions) as caught:
        read_options(LEAST | changed)
    ((name, says),) = caught.value.problems
    assert name == option
    assert problem in says


def test_no_secret_shows_itself() -> None:
    options = read_options(LEAST | {"FIXER_CLIENT_ID": ID, "FIXER_CLIENT_SECRET": "other-secret"})
    assert "s3cret" not in repr(options) and "other-secret" not in repr(options)
    assert options.reader.secret == "s3cret-value"


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    given = {"TENANT": "t", "CLIENT_ID": ID, "CLIENT_SECRET_FILE": str(tmp_path / "secret")}
    backend = registry.make("exo", "exchange_online", given)
    assert backend.name == "exo"
    assert Capability.READ_QUEUE in backend.capabilities


def test_a_secret_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(BadOptions, match="CLIENT_SECRET_FILE names a file"):
        registry.make("exo", "exchange_online", {"TENANT": "t", "CLIENT_ID": ID, "CLIENT_SECRET_FILE": "/no/file"})


def test_the_registry_names_what_is_wrong_or_missing() -> None:
    with pytest.raises(BadOptions, match="TENANT is missing"):
        registry.make("exo", "exchange_online", {"CLIENT_ID": ID})
    with pytest.raises(BadOptions, match="CLOUD has to be"):
        registry.make("exo", "exchange_online", LEAST | {"CLOUD": "mars"})


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://Graph.Microsoft.com/v1.0", ("graph.microsoft.com", 443)),
        ("https://127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("http://graph.microsoft.com", None),
        ("https://graph.microsoft.com@evil.test/", None),
        ("https://graph.microsoft.com:notaport/", None),
        ("//graph.microsoft.com", None),
    ],
)
def test_a_bearer_token_goes_only_to_an_https_host(url: str, found: tuple[str, int] | None) -> None:
    assert origin(url) == found


def test_endpoints_strip_slashes() -> None:
    assert endpoints("t", CLOUDS["global"], graph_url="https://g.test/v1.0/").graph_url == "https://g.test/v1.0"


def test_the_readme_names_every_option() -> None:
    section = (Path(__file__).parents[3] / "README.md").read_text().partition("## Exchange Online")[2]
    named = section.partition("\n## ")[0]
    assert [option for option in (*REQUIRED, *OPTIONAL) if f"`{option}" not in named] == []


def test_everything_that_is_wrong_is_named_together() -> None:
    with pytest.raises(BadOptions) as caught:
        registry.make(
            "exo",
            "exchange_online",
            {"CLIENT_ID": "x", "CLIENT_SECRET_FILE": "/no/file", "CLOUD": "mars", "QUOTA": "x", "EXO_URL": "http://x"},
        )
    assert {name for name, _ in caught.value.problems} == {
        "CLIENT_SECRET_FILE", "TENANT", "CLIENT_ID", "CLOUD", "QUOTA", "EXO_URL",
    }  # fmt: skip
