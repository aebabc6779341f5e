"""The check of references: what leads nowhere is named with its place, what leads somewhere is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import citations


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without git: one page of rules, the folder of the code."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "rules.md").write_text("# Rules\n\n## Held connects\n\n## Twice\n\n## Twice\n\n```text\n## Not a heading\n```\n")
    (tmp_path / "hub").mkdir()
    return tmp_path


def found(project: Path) -> list[str]:
    return [f"{fault.path.relative_to(project)}:{fault.line}: {fault.why}" for fault in citations.faults(project)]


@pytest.mark.parametrize(
    ("remark", "why"),
    [
        ("docs/rules.md#released-connects", "expected an anchor of docs/rules.md, got 'released-connects'"),
        ("docs/rules.md#not-a-heading", "expected an anchor of docs/rules.md, got 'not-a-heading'"),
        ("docs/rules.md#twice-2", "expected an anchor of docs/rules.md, got 'twice-2'"),
        ("docs/other.md#held-connects", "expected a page of the repository, got 'docs/other.md'"),
        ("peers.md, the second part", "expected a page of the repository, got 'peers.md'"),
        ("contract part 4", "expected a page of docs/ with its anchor, got 'contract part 4', which readers do not have"),
        ("Seed 002, Errors", "expected a page of docs/ with its anchor, got 'Seed 002', which readers do not have"),
        ("(design, rule 6)", "expected a page of docs/ with its anchor, got '(design, rule', which readers do not have"),
        ("design part 7", "expected a page of docs/ with its anchor, got 'design part 7', which readers do not have"),
    ],
)
def test_a_reference_of_the_code_that_leads_nowhere(project: Path, remark: str, why: str) -> None:
    (project / "hub" / "a.py").write_text(f'"""One line.\n\nThe rule ({remark}).\n"""\n\nNUMBER = 1\n')
    (project / "hub" / "b.py").write_text(f"NUMBER = 1  # {remark}\n")
    assert found(project) == [f"hub/a.py:3: {why}", f"hub/b.py:1: {why}"]


@pytest.mark.parametrize("remark", ["docs/rules.md", "docs/rules.md#held-connects.", "docs/rules.md#twice-1", "RFC 6455 section 7.4"])
def test_a_reference_of_the_code_that_leads_somewhere(project: Path, remark: str) -> None:
    (project / "hub" / "a.py").write_text(f'"""The rule ({remark})"""\n\nNUMBER = 1\n"""What it is ({remark})."""\n')
    assert found(project) == []


def test_comments_of_other_languages_are_looked_at(project: Path) -> None:
    (project / "hub" / "page.js").write_text("// docs/rules.md#held-connects\n// contract part 4\n")
    assert found(project) == ["hub/page.js:2: expected a page of docs/ with its anchor, got 'contract part 4', which readers do not have"]


def test_a_text_that_the_program_uses_is_no_reference(project: Path) -> None:
    (project / "hub" / "a.py").write_text('PAGE = "docs/made-later.md"\n')
    assert found(project) == []


def test_a_page_may_be_named_from_its_own_folder(project: Path) -> None:
    (project / "hub" / "notes.md").write_text("# Notes\n")
    (project / "hub" / "a.py").write_text('"""See notes.md#notes"""\n')
    assert found(project) == []


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("rules.md#released", "expected an anchor of rules.md, got 'released'"),
        ("#released", "expected an anchor of page.md, got 'released'"),
        ("other.md", "expected a file of the repository, got 'other.md'"),
        ("../images/wall.png", "expected a file of the repository, got '../images/wall.png'"),
    ],
)
def test_a_link_that_leads_nowhere(project: Path, link: str, why: str) -> None:
    (project / "docs" / "page.md").write_text(f"# Page\n\nSee [there]({link}).\n\n```text\n[not a link](nowhere.md)\n```\n")
    assert found(project) == [f"docs/page.md:3: {why}"]


def test_links_that_lead_somewhere(project: Path) -> None:
    links = "[a](rules.md#held-connects) [b](#page) [c](#old-name) [d](https://example.com/x.md) [e](../hub)"
    (project / "docs" / "page.md").write_text(f'# Page\n\n<a id="old-name"></a>\n\n{links}\n')
    assert found(project) == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("The hub's own channels", "the-hubs-own-channels"),
        ("`/ws` and `/events`", "ws-and-events"),
        ("[Links](page.md) and 2 numbers", "links-and-2-numbers"),
        ("login_idle_s", "login_idle_s"),
    ],
)
def test_anchors_are_those_of_the_usual_hosts(heading: str, anchor: str) -> None:
    assert citations.slug(heading) == anchor
