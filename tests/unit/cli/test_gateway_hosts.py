"""Which Host headers a gateway serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli.gateway_wiring import _hosts
from scorer.cli.settings import Gateway
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
