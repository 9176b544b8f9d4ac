"""What is wrong with the pages of a site, as far as code can tell."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

ELSEWHERE = re.compile(r"(https?:)?//|data:|mailto:")


class Page(HTMLParser):
    """The tags of a page, (name, attributes) each, and the ids that a link can point to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.ids = {attributes["id"] for _, attributes in self.tags if "id" in attributes}

    def handle_starttag(self, tag: str, attributes: list[tuple]) -> None:
        self.tags.append((tag, dict(attributes)))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def complaints(root: Path) -> list[str]:
    """A sentence for each fault of the pages and style sheets under root."""
    pages = {path.resolve(): Page(path) for path in sorted(root.rglob("*.html"))
             if "_static" not in path.parts}  # the theme's templates
    found = [f"{path.name} {what}" for path, page in pages.items()
             for what in [*about_readers(page), *about_links(path, page, pages)]]
    for path in root.rglob("*.css"):
        for link in re.findall(r"(?:url\(|@import)\s*[\"']?([^)\"'#?]+)", path.read_text()):
            if not link.startswith("data:") and not (path.parent / link).is_file():
                found.append(f"{path.name} needs {link}, which is not there")
    return found


def about_readers(page: Page) -> list[str]:
    """Whoever reads on a phone or does not see."""
    found = [f"has a picture without alternative text: {image['src'][:60]}"
             for image in page.all("img") if not image.get("alt")]
    if not [m for m in page.all("meta") if m.get("name") == "viewport"]:
        found.append("says nothing of a phone's width (meta viewport)")
    return found


def about_links(path: Path, page: Page, pages: dict[Path, Page]) -> list[str]:
    """Links within the site that lead nowhere, and whatever would be loaded from elsewhere."""
    found = []
    for tag, attributes in page.tags:
        link = attributes.get("src") or attributes.get("href") or ""
        if ELSEWHERE.match(link):
            if tag != "a" and not link.startswith("data:"):
                found.append(f"loads {link}")
            continue
        name, fragment = urldefrag(link)
        target = (path.parent / unquote(name.partition("?")[0])).resolve() if name else path
        if not target.exists():
            found.append(f"links to {link}, which is not there")
        elif fragment and target in pages and unquote(fragment) not in pages[target].ids:
            found.append(f"links to {link}: no such place on that page")
    return found
