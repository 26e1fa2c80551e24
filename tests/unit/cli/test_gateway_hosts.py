"""Which Host headers a gateway serves, and which origins."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli.gateway_wiring import _hosts, _origins
from scorer.cli.settings import Gateway
from scorer.core.errors import ConfigError
from scorer.edges.web.guard import _host


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"host": "2001:db8::1"}, b"[2001:db8::1]:8090"),
        ({"host": "2001:DB8:0::1"}, b"[2001:db8::1]"),
        ({"host": "::", "hosts": "2001:db8::1"}, b"[2001:db8::1]:8090"),
        ({"host": "::", "hosts": "[2001:db8::1]"}, b"[2001:db8::1]:8090"),
        ({"host": "::1"}, b"[::1]:8090"),
        ({"host": "10.0.0.1"}, b"10.0.0.1:8090"),
        ({"host": "Gateway.Example"}, b"gateway.example"),
        ({"host": "0.0.0.0", "hosts": "A.example, b.example"}, b"B.example"),
    ],
)
def test_a_gateway_is_served_under_the_address_that_it_listens_on_as_clients_write_it(
    settings: dict[str, str], header: bytes
) -> None:
    assert _host(header) in _hosts(Gateway(tokens=Path("tokens.toml"), **settings))  # type: ignore[arg-type]


def test_origins_are_taken_as_browsers_write_them() -> None:
    named = "https://Shop.example, http://localhost:3000,capacitor://localhost, null"
    assert _origins(Gateway(origins=named)) == {
        "https://shop.example",
        "http://localhost:3000",
        "capacitor://localhost",
        "null",
    }
    assert _origins(Gateway()) == frozenset()


@pytest.mark.parametrize("origin", ["https://shop.example/", "shop.example", "*", "https://*.example"])
def test_an_origin_that_no_browser_sends_is_refused_with_what_one_is(origin: str) -> None:
    with pytest.raises(ConfigError, match="is no origin"):
        _origins(Gateway(origins=origin))
