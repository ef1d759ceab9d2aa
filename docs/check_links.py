"""Check the built pages: every link inside the site leads somewhere, and nothing is loaded from elsewhere.

python docs/check_links.py docs/_build/html
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SKIPPED = {"_sources", "_modules"}


class Page(HTMLParser):
    """Anchors, links and loaded files of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors.update(filter(None, (found.get("id"), found.get("name") if tag == "a" else None)))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in ("script", "img") and found.get("src"):
            self.loaded.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "icon") and found.get("href"):
            self.loaded.append(found["href"])


def problems(root: Path) -> list[str]:
    """One line for every link or file that does not exist."""
    root = root.resolve()
    pages = {
        path: Page(path.read_text(encoding="utf-8"))
        for path in root.rglob("*.html")
        if not SKIPPED & set(path.relative_to(root).parts)
    }
    found = []
    for path, page in pages.items():
        here = path.relative_to(root)
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target = target / "index.html"
            if not target.is_file():
                found.append(f"{here}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{here}: {link} has no such place on its page")
        for file in page.loaded:
            parts = urlsplit(file)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                found.append(f"{here}: loads {file} from elsewhere")
            elif not (path.parent / unquote(parts.path)).is_file():
                found.append(f"{here}: {file} is missing")
    return sorted(set(found)) if pages else [f"{root} holds no pages"]


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1]))
    print("\n".join(lines) or "links: all inside the site lead somewhere")
    sys.exit(bool(lines))
