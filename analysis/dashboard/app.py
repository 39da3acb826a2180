"""The web application: routes, and how each is answered.

Pages are HTML that needs no script; a script, where there is one, fetches the page again when the
feed says that the ledger has grown, and draws charts. Handlers that read a record are plain
functions, which Starlette runs in threads, so that no query holds up the feed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from analysis.dashboard import charts, feed, pages
from analysis.dashboard.access import STEERS, Access, Gate
from analysis.dashboard.keeps import ListedKeep
from analysis.dashboard.records import Records
from analysis.dashboard.render import environment, kept_line
from analysis.dashboard.steer import Steer, command_of, form_of
from analysis.ledger import run_folders
from analysis.pictures import kinds
from analysis.plain_json import to_json
from analysis.questions.comparison import compare_runs
from analysis.run import RecordedRun
from harness.contract import SetupError
from islands.steering import SteeringCommand

_PICTURE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Policy of an SVG that is opened by itself: matplotlib's has styles of its own."""

_RUN_PAGES: Final[dict[str, Callable[[RecordedRun], dict[str, Any]]]] = {
    "lineage": pages.lineage,
    "slices": pages.slices,
    "money": pages.money,
    "checks": pages.checks,
}

_CHARTS: Final[dict[str, Callable[[Any], dict[str, Any] | None]]] = {
    "progress": charts.progress_chart,
    "lanes": charts.lanes_chart,
}


def _nobody(run: str, command: SteeringCommand) -> None:
    raise SetupError(f"{run}: nobody here carries out {type(command).__name__}")


def build(
    repo: Path,
    access: Access,
    steer: Steer = _nobody,
    stopping: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Return the application for the runs of the repository at `repo`.

    `steer` carries out commands. Feeds end when `stopping` returns True.
    """
    site = _Site(repo, steer, stopping)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        site.records.close()

    return Starlette(
        routes=[
            Route("/", site.index),
            Route("/events", site.all_events),
            Route("/compare", site.compare),
            Route("/runs/{run}", site.overview),
            Route("/runs/{run}/events", site.events),
            Route("/runs/{run}/changes", site.changes),
            Route("/runs/{run}/changes/{change}", site.change),
            Route("/runs/{run}/charts/{chart}.json", site.chart),
            Route("/runs/{run}/pictures/{kind}.svg", site.picture),
            Route("/runs/{run}/steer", site.steer, methods=["POST"]),
            Route("/runs/{run}/{page}", site.page),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        middleware=[Middleware(Gate, access=access)],
        exception_handlers={SetupError: site.missing, 404: site.missing},
        lifespan=lifespan,
    )


class _Site:
    """The handlers, and what they share."""

    def __init__(self, repo: Path, steer: Steer, stopping: Callable[[], bool]) -> None:
        self.records = Records(repo)
        self._steer, self._stopping = steer, stopping
        self._templates = environment()
        self._drawing = Lock()  # matplotlib's settings belong to the process

    def index(self, request: Request) -> Response:
        """List the runs."""
        del request
        return self._html("index.html.j2", {"rows": pages.runs(self.records)})

    def overview(self, request: Request) -> Response:
        """Show how a run stands."""
        return self._page(request, "overview", pages.overview)

    def page(self, request: Request) -> Response:
        """Show one of a run's other pages."""
        name = request.path_params["page"]
        if name not in _RUN_PAGES:
            raise SetupError(f"no page {name!r}")
        return self._page(request, name, _RUN_PAGES[name])

    def changes(self, request: Request) -> Response:
        """List experiments."""
        asked = request.query_params
        before = asked.get("before", "")
        wanted = pages.Wanted(
            asked.get("ending", ""),
            asked.get("island", ""),
            asked.get("words", ""),
            int(before) if before.isascii() and before.isdigit() and len(before) < 10 else 0,  # noqa: PLR2004 - an INTEGER's digits
        )
        return self._page(request, "changes", lambda run: pages.experiments(run, wanted))

    def change(self, request: Request) -> Response:
        """Show the evidence on one change; it may have been recorded a moment ago."""
        target = request.path_params["change"]

        def facts(run: RecordedRun) -> dict[str, Any]:
            return pages.change(run, target)

        try:
            return self._page(request, "change", facts)
        except SetupError:
            return self._page(request, "change", facts, haste=True)

    def compare(self, request: Request) -> Response:
        """Show two runs side by side."""
        names = self.records.names()
        asked = [request.query_params.get(key, "") for key in ("a", "b")]
        sides = [self.records.answer(name, "side", pages.side).value for name in asked if name]
        found = compare_runs(*(side["figures"] for side in sides)) if all(asked) else None
        facts = {"names": names, "asked": asked, "sides": sides, "found": found}
        return self._html("compare.html.j2", facts)

    def chart(self, request: Request) -> Response:
        """Return a chart's numbers as JSON; null where there is nothing to draw."""
        name = request.path_params["chart"]
        if name not in _CHARTS:
            raise SetupError(f"no chart {name!r}")
        run = request.path_params["run"]
        found = self.records.answer(
            run, name, lambda run: to_json(_CHARTS[name](run.source)), least=_least(request)
        )
        return Response(found.value, media_type="application/json")

    def picture(self, request: Request) -> Response:
        """Draw a picture (`swarm plot`)."""
        kind, dark = request.path_params["kind"], "dark" in request.query_params
        if kind not in kinds.KINDS:
            raise SetupError(f"no picture {kind!r}")

        def draw(run: RecordedRun) -> str:
            with self._drawing:
                return kinds.svg(kind, run.source, dark=dark)

        found = self.records.answer(request.path_params["run"], (kind, dark), draw)
        policy = {"Content-Security-Policy": _PICTURE_POLICY}
        return Response(found.value, media_type="image/svg+xml", headers=policy)

    async def events(self, request: Request) -> Response:
        """Send a server-sent event whenever the run's ledger has grown."""
        name = request.path_params["run"]

        def row(change: ListedKeep) -> str:
            places = self.records.answer(name, "places", pages.places, least=0).value
            return kept_line(self._templates, name, change, places)

        return _feed(feed.stream(self.records.folder(name), self._stopping, row))

    async def all_events(self, request: Request) -> Response:
        """Send a server-sent event whenever any ledger has grown, or there is a new run."""
        del request
        return _feed(feed.stream_all(lambda: run_folders(self.records.repo), self._stopping))

    async def steer(self, request: Request) -> Response:
        """Have a command carried out; show the page that asked for it, or why it was refused."""
        run, form = request.path_params["run"], form_of(await request.body())
        try:
            self.records.folder(run)
            await run_in_threadpool(self._carry_out, run, command_of(form))
        except SetupError as error:
            return self._html("missing.html.j2", {"title": "Refused", "why": str(error)}, 409)
        number = form.get("back", "")
        back = f"/changes/{number}" if number.isascii() and number.isdigit() else ""
        return RedirectResponse(f"/runs/{quote(run)}{back}", status_code=303)

    def _carry_out(self, run: str, command: SteeringCommand) -> None:
        self._steer(run, command)
        self.records.answer(run, "steered", lambda _: None, haste=True)  # the next page shows it

    async def missing(self, request: Request, error: Exception) -> Response:
        """Say in one line what there is not."""
        why = str(error) if isinstance(error, SetupError) else f"no page {request.url.path!r}"
        if request.url.path.endswith((".json", ".svg")):
            return PlainTextResponse(f"{why}\n", status_code=404)
        return self._html("missing.html.j2", {"title": "Not found", "why": why}, status=404)

    def _page(
        self,
        request: Request,
        name: str,
        facts: Callable[[RecordedRun], dict[str, Any]],
        *,
        haste: bool = False,
    ) -> Response:
        """Return a page of a run, with the bytes of the ledger that it is made of."""
        steers = bool(request.scope.get(STEERS))
        found = self.records.answer(
            request.path_params["run"],
            (request.url.path, request.url.query, steers),
            lambda run: self._rendered(f"{name}.html.j2", {**facts(run), "steers": steers}),
            least=None if haste else _least(request),
            haste=haste or "swarm-now" in request.headers,
        )
        return HTMLResponse(found.value, headers={"Swarm-Ledger": str(found.bytes)})

    def _rendered(self, template: str, facts: dict[str, Any]) -> str:
        return self._templates.get_template(template).render(repo=self.records.repo.name, **facts)

    def _html(self, template: str, facts: dict[str, Any], status: int = 200) -> Response:
        return HTMLResponse(self._rendered(template, facts), status_code=status)


def _least(request: Request) -> int | None:
    """Return how many bytes of the ledger will do, None where the asker does not say."""
    known = request.headers.get("swarm-least", "")
    return int(known) if known.isascii() and known.isdigit() and len(known) < 16 else None  # noqa: PLR2004 - a float of JavaScript holds it


def _feed(messages: AsyncIterator[str]) -> Response:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(messages, media_type="text/event-stream", headers=headers)
