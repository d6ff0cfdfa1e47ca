"""HTML in which everything that came from data is escaped; one style for all our pages, light and dark."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

COLOURS = 6
STYLE = """
:root { color-scheme: light dark; --bg: #fff; --ink: #1b1f24; --soft: #57606a; --rule: #d0d7de; --card: #f6f8fa;
  --PASS: #116329; --FAIL: #a40e26; --INCONCLUSIVE: #7d4e00;
  --m0: #0b5cad; --m1: #b3460b; --m2: #7a3aa8; --m3: #0f6e56; --m4: #a11d5c; --m5: #5c5c00; }
@media screen and (prefers-color-scheme: dark) { :root { --bg: #0d1117; --ink: #e6edf3; --soft: #9aa4af;
  --rule: #3a424c; --card: #161b22; --PASS: #56d364; --FAIL: #ff8f87; --INCONCLUSIVE: #e3b341;
  --m0: #79b8ff; --m1: #ffa657; --m2: #d2a8ff; --m3: #56d4b0; --m4: #ff9bce; --m5: #e3d26f; } }
body { margin: 0 auto; padding: 1rem; max-width: 84rem; background: var(--bg); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--rule); }
.scroll { overflow-x: auto; } .scroll:focus-visible { outline: 2px solid var(--m0); }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-size: .9rem; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; white-space: nowrap; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; background: var(--card); } .left { text-align: left; }
tbody th { font-weight: 600; }
.badge { border: 1px solid; border-radius: 1em; padding: 0 .6em; font-weight: 700; }
.PASS { color: var(--PASS); } .FAIL { color: var(--FAIL); } .INCONCLUSIVE { color: var(--INCONCLUSIVE); }
figure { margin: 0; } svg { min-width: 680px; width: 100%; max-width: 1100px; display: block; }
svg text { font-size: 12px; fill: currentColor; }
.legend, .gallery { list-style: none; padding: 0; } .legend li { display: inline-block; margin-right: 1.5rem; }
.gallery { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.gallery li { display: flex; gap: .75rem; padding: .6rem; background: var(--card); border: 1px solid var(--rule);
  font-size: .8rem; break-inside: avoid; }
.gallery img { flex: none; width: 68px; height: auto; align-self: start; image-rendering: pixelated; }
.gallery p { margin: 0; } dt { font-weight: 600; } dd { margin: 0 0 .5rem; }
@media print { :root { font-size: 11px; } body { max-width: none; } h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; } svg { min-width: 0; } table { font-size: 8px; } th, td { padding: .15rem .3rem; }
  tr, figure { break-inside: avoid; } }
""" + "".join(f".m{i} {{ color: var(--m{i}); }}\n" for i in range(COLOURS))

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{0}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{1}</style></head>
<body><header><h1>{2}</h1><p>{3}</p></header><main>{4}</main></body></html>
"""


class Html(str):
    """Markup, in which everything that came from data is escaped."""

    __slots__ = ()


def fill(markup: str, *data: object) -> Html:
    """`markup` with its fields filled in; what is not `Html` is escaped."""
    return Html(markup.format(*(value if isinstance(value, Html) else html.escape(str(value)) for value in data)))


def join(parts: Iterable[Html]) -> Html:
    """One part a line."""
    return Html("\n".join(parts))


def section(title: str, *content: Html) -> Html:
    """`content` under a heading."""
    return fill("<section><h2>{}</h2>{}</section>", title, join(content))


def listing(style: str, items: Iterable[Html]) -> Html:
    """An unordered list of `<li>` elements, of the class `style`."""
    return fill('<ul class="{}">{}</ul>', style, join(items))


def badge(verdict: str) -> Html:
    """A verdict in its colour."""
    return fill('<span class="badge {0}">{0}</span>', verdict)


def grid(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], heads: int = 1) -> Html:
    """A table that scrolls in its own box; the first `heads` cells of a row name it."""
    kinds = ['th scope="row" class="left"'] * heads + ["td"] * (len(header) - heads)
    titles = (
        fill('<th scope="col" class="{}">{}</th>', "left" if i < heads else "", title) for i, title in enumerate(header)
    )
    body = (
        join(fill("<{}>{}</{}>", Html(kind), cell, kind[:2]) for kind, cell in zip(kinds, row, strict=True))
        for row in rows
    )
    return fill(
        '<div class="scroll" role="region" tabindex="0" aria-label="{0}"><table><caption>{0}</caption>'
        "<thead><tr>{1}</tr></thead><tbody>{2}</tbody></table></div>",
        caption, join(titles), join(fill("<tr>{}</tr>", row) for row in body),
    )  # fmt: skip


def page(title: str, head: Html, note: str, body: Iterable[Html]) -> str:
    """A whole page that needs nothing else: no script, no font, no network."""
    return fill(PAGE, title, Html(STYLE), head, note, join(body))
