"""A page as the tests see it."""

from pathlib import Path
from typing import Any


class Opened:
    """A page with what it said on the console, what it asked for, and how long it took to open, in seconds."""

    def __init__(self, browser: Any, path: Path, width: int, scheme: str) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, accept_downloads=True
        )
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        timing = "performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
        self.seconds = float(self.page.evaluate(timing))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def draw_all(self) -> int:
        """Bring every figure into view until it is drawn; their number."""
        figures = self.page.locator("figure.chart:has(.panels):visible")
        for place in range(figures.count()):
            figures.nth(place).scroll_into_view_if_needed()
            self.page.wait_for_function(
                "figure => 'drawn' in figure.dataset", arg=figures.nth(place).element_handle(), timeout=60_000
            )
        return int(figures.count())
