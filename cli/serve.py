"""`sepdict serve`: the page on this machine."""

import contextlib
import json
import socket
import sys
import threading
import webbrowser
from typing import Annotated

import typer

from .console import note, say
from .options.common import Json, Quiet, Verbose

LOOPBACK = ("127.0.0.1", "::1", "localhost")
EVERYWHERE = ("0.0.0.0", "::")


def serve(
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 lets others on the network in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8042,
    no_open: Annotated[bool, typer.Option("--no-open", help="Open no browser.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Open a page in the browser: train, separate, listen.

    Ctrl-C ends it. Nothing leaves this machine; what is uploaded and made is deleted an hour after its last use and
    at the end. Only dictionaries that are kept stay, in the folder that SEPDICT_LIBRARY names or where the system keeps
    such data.
    """
    import uvicorn

    from sepdict.web.server import Settings, create_app

    with _listening(host, port) as listener:
        address = _own_address(listener.family) if host in EVERYWHERE else host
        url = f"http://{f'[{address}]' if ':' in address else address}:{listener.getsockname()[1]}/"
        app = create_app(Settings(hosts=_names(host, address)))
        config = uvicorn.Config(
            app, log_level="info" if verbose else "error", access_log=verbose, timeout_graceful_shutdown=2
        )
        if as_json:
            say(json.dumps({"url": url}))
        else:
            say(f"listening at {url} (Ctrl-C ends it)")
        sys.stdout.flush()  # a program that started this one waits for the line
        if host not in LOOPBACK and not quiet:
            note("everyone on the network who reaches this machine can use the page; there is no password")
        if not no_open:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()  # some browsers do not return
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """Open the port at once, so that an early browser waits."""
    from sepdict.errors import ConfigError

    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((address[0], port), family=family)
    except OSError as error:
        said = error.strerror or str(error)
        raise ConfigError(f"cannot listen at {host}, port {port} ({said}); choose another --host or --port") from error


def _names(host: str, address: str) -> list[str]:
    """Return the host names that are accepted; others would let pages of strangers in."""
    if host in LOOPBACK:
        return []
    own = socket.gethostname().lower()
    return sorted({host.lower(), address, own, f"{own}.local"})


def _own_address(family: socket.AddressFamily) -> str:
    """Find the address by which others on the network reach this machine, without sending anything."""
    somewhere = "2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1"  # addresses for examples
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((somewhere, 9))
        except OSError:  # there is no network
            return "localhost"
        return str(asking.getsockname()[0])
