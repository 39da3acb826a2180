"""`swarm dashboard`: serves the live page of this repository's runs."""

from __future__ import annotations

import webbrowser
from threading import Thread

import click

from harness.installation import require_extra
from islands.steering import SteeringCommand
from swarm.coordinator.inbox import send
from swarm.project.runs import RunFolder, repository


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; on all but this machine's own, reading needs the token too.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: any.  [default: 8765, or any if that is taken]",
)
@click.option("--token", is_flag=True, help="Let nobody read without the token.")
@click.option("--open", "browse", is_flag=True, help="Open the page in a browser.")
def dashboard(host: str, port: int | None, *, token: bool, browse: bool) -> None:
    """Serve a live page of this repository's runs, the running one and all earlier ones.

    It outlives the coordinator and needs no network. The address that it prints has a token: who
    opens that may also steer a run, as `swarm note`, `pause` and `stop` do. From another machine:
    `ssh -L 8765:127.0.0.1:8765 HOST`.
    """
    require_extra("dashboard", "the page", ("starlette", "uvicorn"))
    from analysis.dashboard import serve  # noqa: PLC0415 - an extra: see above

    repo = repository()
    served = serve.listen(host, port, token=token)
    click.echo(f"{served.url}  (Ctrl-C ends it)")

    if browse:  # in a thread, since a browser in a terminal holds its caller up
        Thread(target=webbrowser.open, args=(served.url,), daemon=True).start()

    def steer(run: str, command: SteeringCommand) -> None:
        send(RunFolder(repo, run), command)

    serve.run(repo, served, steer)
