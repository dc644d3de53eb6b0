"""``ayon-async login`` and ``logout``: sign in to a server once, for this program and the official launcher."""

from __future__ import annotations

import asyncio
import getpass
import sys
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from ayon_async.cli import command, interrupt, options
from ayon_async.errors import UsageError

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup
    from ayon_async.signin import SignedIn

_Url = Annotated[str | None, typer.Argument(metavar="[URL]", help="URL of the AYON server; as --server.")]
_WAYS = ("password_stdin", "api_key_stdin", "browser")


def login(
    ctx: typer.Context,
    url: _Url = None,
    server: options.Server = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Name of the user.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input; needs --user.")
    ] = False,
    api_key_stdin: Annotated[
        bool, typer.Option("--api-key-stdin", help="Read an API key from standard input, and keep it.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser", help="Sign in on the server's page in the browser (single sign-on).")
    ] = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Sign in, for the AYON launcher as well.

    The token is kept in the system's keyring, where the launcher looks for it too, else in a file.

    Asks for user and password, without showing it, unless another way is chosen. Does nothing but say so where
    somebody, or the given user, is signed in already.
    """
    _merge(ctx, url)
    command.run(ctx, _login)


def logout(
    ctx: typer.Context,
    url: _Url = None,
    server: options.Server = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
) -> None:
    """End the session and forget its token.

    Where the keyring has it, this ends the AYON launcher's login too.
    """
    _merge(ctx, url)
    command.run(ctx, _logout)


def _merge(ctx: typer.Context, url: str | None) -> None:
    """The URL may stand alone or behind its option."""
    if url is not None:
        if ctx.params["server"] not in (None, url):
            raise typer.BadParameter("Give the server's URL once.")
        ctx.params["server"] = url


# --- signing in -----------------------------------------------------------------------------------------------------


async def _login(setup: Setup) -> command.Answer:
    _check(setup)
    url, credentials = setup.server_url, setup.credentials
    already = await _already(setup)
    if already is not None:
        await asyncio.to_thread(credentials.remember, url)
        return command.Answer(f"You are signed in to {url} as {already.user}.", warnings=_warnings(setup))
    signed_in = await _sign_in(setup)
    where = await asyncio.to_thread(credentials.save, url, signed_in.token)
    text = f"Signed in to {url} as {signed_in.user}. The token is kept in {where}."
    return command.Answer(text, warnings=_warnings(setup))


async def _already(setup: Setup) -> SignedIn | None:
    """Who is signed in, unless another way or another user is asked for."""
    from ayon_async.signin import signed_in_already

    if any(setup.given[way] for way in _WAYS):
        return None
    async with setup.server() as server:
        already = await signed_in_already(server, setup.credentials)
    user = setup.given["user"]
    return None if already and user and already.user.casefold() != user.casefold() else already


def _check(setup: Setup) -> None:
    """Refuse what contradicts itself before anybody is asked anything.

    Raises:
        UsageError: It does.
    """
    given, url = setup.given, setup.server_url
    chosen = [f"--{way.replace('_', '-')}" for way in _WAYS if given[way]]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} contradict each other.", "Give only one of them.")
    if given["user"] is not None and (given["api_key_stdin"] or given["browser"]):
        raise UsageError(f"{chosen[0]} and --user contradict each other.", "Who it is comes from the server.")
    if given["password_stdin"] and given["user"] is None:
        raise UsageError("--password-stdin needs --user.", f"ayon-async login {url} --user NAME --password-stdin")
    if given["browser"] and setup.settings.headless:
        raise UsageError("There is no browser in headless mode.", "Use --password-stdin or --api-key-stdin.")


async def _sign_in(setup: Setup) -> SignedIn:
    from ayon_async.signin import sign_in_with_browser, sign_in_with_key, sign_in_with_password

    given = setup.given
    if given["browser"]:
        async with setup.server() as server:
            return await sign_in_with_browser(server, lambda page: _open(setup, page))
    if given["api_key_stdin"]:
        key = _read_line("API key")
        async with setup.server() as server:
            return await sign_in_with_key(server, key)
    if given["password_stdin"]:
        name, password = given["user"], _read_line("password")
    else:
        name, password = _ask(setup)
    # Opened only now: a connection does not survive the time that a person takes to answer.
    async with setup.server() as server:
        return await sign_in_with_password(server, name, password)


def _open(setup: Setup, page: str) -> None:
    setup.output.note(f"Sign in with your browser. Where none opens, open this on this computer: {page}")
    webbrowser.open(page)


def _ask(setup: Setup) -> tuple[str, str]:
    """User and password, from the person at the terminal.

    Raises:
        UsageError: There is none, or no answer.
    """
    if setup.settings.headless or sys.stdin is None or not sys.stdin.isatty():
        hint = "Give --user and --password-stdin, or --api-key-stdin, or --browser."
        raise UsageError("There is nobody to ask for the user and password.", hint)
    name = setup.given["user"]
    with interrupt.asking():
        print(f"Signing in to {setup.server_url}", file=sys.stderr)
        if name is None:
            print("User: ", end="", file=sys.stderr, flush=True)
            name = sys.stdin.readline().strip()
        try:
            password = getpass.getpass("Password: ") if name else ""
        except EOFError:
            password = ""
    if not name or not password:
        raise UsageError("No user or no password was given.", "Start again, or use --browser.")
    return name, password


def _read_line(what: str) -> str:
    """A secret from standard input.

    Raises:
        UsageError: There is none.
    """
    with interrupt.asking():
        try:
            text = "" if sys.stdin is None else sys.stdin.readline().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UsageError(f"The {what} on standard input is no text in {error.encoding}.") from error
    if not text:
        raise UsageError(f"There is no {what} on standard input.", "Write it there, followed by a line's end.")
    return text


# --- signing out ----------------------------------------------------------------------------------------------------


async def _logout(setup: Setup) -> command.Answer:
    from ayon_async.signin import sign_out

    async with setup.server() as server:
        out = await sign_out(server, setup.credentials)
    text = f"You were not signed in to {server.url}."
    if out.found:
        text = f"Signed out of {server.url}."
        if out.was_shared:
            text += " This ended the AYON launcher's login there too."
    code = 0 if out.error is None else out.error.exit_code
    return command.Answer(text, error=out.error, warnings=_warnings(setup), exit_code=code)


def _warnings(setup: Setup) -> tuple[str, ...]:
    found = tuple(setup.credentials.warnings)
    if setup.settings.api_key is None:
        return found
    return (*found, f"{setup.settings.origin('api_key')} is set and comes before what is kept.")
