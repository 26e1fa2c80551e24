"""`scorer gateway`: serves the latest predictions over HTTP. `scorer gateway token`: lets somebody read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from scorer.cli.options import ConfigFile, Sets, add_command, load
from scorer.core.errors import ConfigError, pip_install

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}

app = typer.Typer(
    help="Serve the latest predictions over HTTP, until told to stop.",
    invoke_without_command=True,
    rich_markup_mode=None,
    epilog="Examples:\n\n\b\n  scorer gateway\n  scorer gateway --port 8090 --config scorer.toml",
)


@app.callback()
def gateway(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; gateway.host.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port; gateway.port.")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Serve the latest predictions over HTTP: GET, server-sent events, and a page at /."""
    if context.invoked_subcommand is not None:
        given = {"--host": host, "--port": port, "--config": config, "--set": sets}
        lost = [name for name, value in given.items() if value not in (None, [])]
        if lost:
            context.fail(f"{lost[0]} says nothing here: put options behind {context.invoked_subcommand}")
        return
    try:
        from scorer.cli.gateway_wiring import run_gateway
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed: run {pip_install('gateway')}") from error
    from scorer.edges.logs import configure, reporter

    flags = [f"gateway.{name}={value}" for name, value in (("host", host), ("port", port)) if value is not None]
    settings = load(config, [*(sets or []), *flags]).settings
    configure(settings.log.level, settings.log.format)
    raise typer.Exit(run_gateway(settings, reporter(stream="gateway")))


def token(
    name: Annotated[str, typer.Argument(help="Whose it is; stands in metrics and limits, never the token.")],
    scope: Annotated[list[str], typer.Option(help="What it may read: recommendations, recommendations:all, ...")],
    expires: Annotated[str | None, typer.Option(help="After so long: 90d, 12h or 30m; never by default.")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Make a token, print it once, and add its hash to gateway.tokens. A running gateway takes it up by itself."""
    from scorer.cli.gateway_wiring import scopes_of, served_kinds
    from scorer.edges.web.tokens import add_token

    settings = load(config, sets).settings
    path = settings.gateway.tokens
    if path is None:
        raise ConfigError('there is no tokens file: set gateway.tokens, as in [gateway] tokens = "tokens.toml"')
    known = scopes_of(served_kinds(settings))
    unknown = [each for each in scope if each not in known]
    if unknown:
        raise ConfigError(f"there is no scope {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    typer.echo(add_token(path.expanduser(), name, scope, _until(expires)))


add_command(
    app,
    token,
    "scorer gateway token web --scope recommendations --expires 90d",
    "scorer gateway token wall --scope lead-scores --scope lead-scores:all",
)


def _until(text: str | None) -> datetime | None:
    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})([dhm])", text)
    if found is None:
        raise ConfigError(f"--expires {text} should be a number and d, h or m, as in 90d")
    return datetime.now(UTC) + timedelta(**{_UNITS[found[2]]: int(found[1])})
