"""The report as JUnit XML, which every CI system shows: a suite for each model, a case for each check of a file."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from oddeven.runtime.parity.check import FAIL, PASS
from oddeven.runtime.verify.recommendation import by_model
from oddeven.runtime.verify.report import Report

UNPRINTABLE = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")  # what XML 1.0 cannot hold
TAGS = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}


def to_junit(report: Report, strict: bool) -> str:
    """The XML text.

    Args:
        strict: whether INCONCLUSIVE is a failure; if not, its case is a skipped one.
    """
    root = ElementTree.Element("testsuites", name="oddeven verify")
    models = by_model(report.files)
    for model in dict.fromkeys([*models, *(broken.model for broken in report.broken)]):
        suite = ElementTree.SubElement(root, "testsuite", name=_printable(model))
        for file in models.get(model, ()):
            for check in file.all_checks:
                text = f"{check.reason} {check.advice}".strip()
                failed = check.verdict == FAIL or strict
                outcome = "" if check.verdict == PASS else "failure" if failed else "skipped"
                case = _case(suite, f"{file.file} on {file.engine}", check.name, outcome, check.verdict, text)
                if check.noted:
                    ElementTree.SubElement(case, "system-out").text = _printable(text)
        for broken in report.broken:
            if broken.model == model:
                _case(suite, broken.file, "file", "error", FAIL, broken.reason)
        for count, tag in TAGS.items():
            suite.set(count, str(sum(1 for _ in suite.iter(tag))))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(
    suite: ElementTree.Element, file: str, name: str, outcome: str, verdict: str, text: str
) -> ElementTree.Element:
    """A new case in `suite`; `outcome` is the tag of what became of it, "" where it passed."""
    attributes = {"classname": _printable(file), "name": _printable(name), "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", attributes)
    if outcome:
        ElementTree.SubElement(case, outcome, type=verdict, message=_printable(text)).text = _printable(text)
    return case


def _printable(text: str) -> str:
    return UNPRINTABLE.sub("?", text)
