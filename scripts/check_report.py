"""Opens a report in a real browser, from its file, and checks what a reader would notice.

At desktop and phone width, in light and dark: no console message, no request but for the file itself, every picture
there and with a text alternative, no overflow of the page, contrast and the other rules of WCAG AA (axe-core), loaded
within a second, and smaller than 10 MB. Screenshots are kept, to be looked at.
"""

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, sync_playwright

MAX_BYTES = 10_000_000
MAX_LOAD_MS = 1000
LOADS = 3
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What the page says of itself: pictures without size or words, things wider than the page, and how long it took.
PICTURES = """() => ({
  n: document.images.length + document.querySelectorAll('svg[role=img]').length,
  broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt || i.src.slice(0, 60)),
  wordless: [...document.images].filter(i => !i.alt.trim()).length
    + [...document.querySelectorAll('svg')].filter(s => !(s.getAttribute('aria-label') || '').trim()).length,
})"""
OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  const inScroller = e => e.closest('.wide, pre');
  return {
    page: document.documentElement.scrollWidth - width,
    elements: [...document.body.querySelectorAll('*')]
      .filter(e => e.getBoundingClientRect().right > width + 1 && !inScroller(e))
      .slice(0, 5).map(e => `${e.tagName} ${(e.textContent || '').trim().slice(0, 40)}`),
  };
}"""
LOAD_MS = "() => performance.getEntriesByType('navigation')[0].loadEventEnd"


@dataclass
class Findings:
    """What was found wrong, and what was counted."""

    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, where: str, passed: bool, what: str) -> None:
        """Notes what is wrong."""
        if not passed:
            self.wrong.append(f"{where}: {what}")


def watch(page: Page, where: str, report: Path, findings: Findings) -> None:
    """Whatever the page says, asks for or fails at is noted."""
    page.on("console", lambda m: findings.check(where, False, f"console {m.type}: {m.text}"))
    page.on("pageerror", lambda e: findings.check(where, False, f"script error: {e}"))
    page.on("requestfailed", lambda r: findings.check(where, False, f"request failed: {r.url[:100]}"))

    def request(url: str) -> None:
        is_own = url.startswith("data:") or url == report.as_uri()
        findings.check(where, is_own, f"asks for {url[:100]}")

    page.on("request", lambda r: request(r.url))


def look(context: BrowserContext, report: Path, where: str, shot: Path, findings: Findings) -> None:
    """Opens the report once in each of a few pages, and checks it in the last."""
    times = []
    for _ in range(LOADS - 1):
        page = context.new_page()
        page.goto(report.as_uri())
        times.append(page.evaluate(LOAD_MS))
        page.close()
    page = context.new_page()
    watch(page, where, report, findings)
    page.goto(report.as_uri())
    times.append(page.evaluate(LOAD_MS))
    findings.check(where, min(times) < MAX_LOAD_MS, f"takes {min(times):.0f} ms to load")

    page.screenshot(path=shot, full_page=True)
    for summary in page.query_selector_all("summary"):
        summary.click()
    pictures = page.evaluate(PICTURES)
    findings.check(where, pictures["n"] > 0, "has no picture")
    findings.check(where, not pictures["broken"], f"pictures that did not load: {pictures['broken'][:5]}")
    findings.check(where, pictures["wordless"] == 0, f"{pictures['wordless']} pictures without a text alternative")
    overflow = page.evaluate(OVERFLOW)
    findings.check(where, overflow["page"] <= 0, f"is {overflow['page']} px too wide: {overflow['elements']}")
    for violation in violations(page):
        findings.check(where, False, violation)
    findings.notes.append(f"{where}: {pictures['n']} pictures, loaded in {min(times):.0f} ms, {shot}")
    page.close()


def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG A and AA, contrast of all text among it."""
    options: dict[str, Any] = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{violation['id']} ({len(violation['nodes'])}): {violation['help']}: {violation['nodes'][0]['html'][:160]}"
        for violation in found
    ]


def main() -> int:
    """Checks the report of a run; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's directory, or a report.html")
    parser.add_argument("--screenshots", type=Path, help="folder for screenshots (default: a temporary one)")
    args = parser.parse_args()
    report = (args.run / "report.html" if args.run.is_dir() else args.run).resolve()
    shots = args.screenshots or Path(tempfile.mkdtemp(prefix="bovw-report-"))
    shots.mkdir(parents=True, exist_ok=True)

    findings = Findings()
    size = report.stat().st_size
    findings.check("file", size < MAX_BYTES, f"has {size} bytes, more than {MAX_BYTES}")
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        for device, (width, height) in WIDTHS.items():
            for scheme in SCHEMES:
                # A new, empty profile each time.
                with tempfile.TemporaryDirectory() as profile:
                    context = playwright.chromium.launch_persistent_context(
                        profile,
                        executable_path=executable,
                        args=CHROMIUM_ARGS,
                        viewport={"width": width, "height": height},
                        is_mobile=device == "phone",
                        color_scheme=scheme,
                    )
                    shot = shots / f"{device}-{scheme}.png"
                    look(context, report, f"{device}, {scheme}", shot, findings)
                    context.close()
    print("\n".join(findings.notes))
    print(f"{report}: {size} bytes")
    for wrong in findings.wrong:
        print(f"WRONG  {wrong}")
    print(f"{len(findings.wrong)} findings")
    return 1 if findings.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
