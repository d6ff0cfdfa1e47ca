"""The report as JUnit XML, which every CI system shows: a suite a model, a case a file, engine and check."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from oddeven.runtime.parity.check import FAIL, PASS, Check
from oddeven.runtime.verify.recommendation import by_model
from oddeven.runtime.verify.report import FileReport, Report

UNPRINTABLE = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")  # what XML 1.0 cannot hold


def to_junit(report: Report, strict: bool) -> str:
    """The XML text.

    Args:
        strict: whether INCONCLUSIVE is a failure; it is a skipped case otherwise.
    """
    root = ElementTree.Element("testsuites", name="oddeven verify")
    models = by_model(report.files)
    for model in dict.fromkeys([*models, *(broken.model for broken in report.broken)]):
        suite = ElementTree.SubElement(root, "testsuite", name=_text(model))
        for file in models.get(model, ()):
            for check in file.all_checks:
                _case(suite, file, check, strict)
        for broken in report.broken:
            if broken.model == model:
                case = _new(suite, broken.file, "file")
                ElementTree.SubElement(case, "error", message=_text(broken.reason)).text = _text(broken.reason)
        for kind, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(kind, str(sum(1 for _ in suite.iter(tag))))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, file: FileReport, check: Check, strict: bool) -> None:
    case = _new(suite, f"{file.file} on {file.engine}", check.name)
    text = _text(f"{check.reason} {check.advice}".strip())
    if check.verdict == PASS:
        if check.noted:
            ElementTree.SubElement(case, "system-out").text = text
        return
    if check.verdict == FAIL or strict:
        ElementTree.SubElement(case, "failure", type=check.verdict, message=text).text = text
    else:
        ElementTree.SubElement(case, "skipped", message=text)


def _new(suite: ElementTree.Element, file: str, check: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_text(file), name=_text(check), time="0")


def _text(text: str) -> str:
    return UNPRINTABLE.sub("?", text)
