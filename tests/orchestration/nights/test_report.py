"""The morning's page of a real lab: what ran, what did not and why, what was learned, what waits for a person."""

from __future__ import annotations

import dataclasses
import datetime as dt
import html.parser
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ml.studies.concert.study import CONCERT
from ml.studies.registry import ALL_STUDIES
from orchestration import trials
from orchestration.instance_home import prepare_instance
from orchestration.nights import clock, learned, marks
from orchestration.nights.looking_back import DIED, evening_at, tried_in
from orchestration.nights.planning import plan_nights
from orchestration.nights.report import Report
from orchestration.nights.report_asset import morning_report
from orchestration.nights.report_page import marked
from orchestration.nights.report_written import write_report
from orchestration.nights.window import night_at
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.commands import command
from tests.orchestration.nights.made_up import attempt, look, measured
from tests.small_lab import small_lab, write_yaml

NASTY = "<script>alert('x')</script> & \"quoted\"; say `nocturne run`"
NASTY_FILE = "<img src=x onerror=alert(1)> & co.wav"
VOID = {"meta", "line", "circle", "polyline", "img", "br"}


@dataclass(frozen=True)
class Night:
    """A night of a lab that is going on, with one trial for each thing that can come of one."""

    bench: Bench
    begins: dt.datetime
    ends: dt.datetime

    @property
    def name(self) -> str:
        found = night_at(self.bench.settings(CONCERT).night, self.begins, CONCERT.name)
        assert found is not None and found.begins == self.begins
        return found.name

    def write(self, now: dt.datetime | None = None) -> tuple[Report, str]:
        report, path = write_report(self.bench, None, now or clock.now(), None, ALL_STUDIES)
        return report, path.read_text(encoding="utf-8")


def train(bench: Bench, name: str) -> None:
    trials.run_trial(bench, CONCERT, name, run_id="by hand", forced_by=None, say=lambda words: None)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Night:
    folder = tmp_path_factory.mktemp("report")
    source = folder / "source"
    shutil.copytree(corpus, source)
    (next(one for one in source.iterdir() if one.is_dir()) / NASTY_FILE).write_bytes(b"no sound at all")
    bench = small_lab(folder / "lab", source)
    write_yaml(bench.lab.experiments("concert") / "long.yaml", {"training": {"epochs": 50}})
    look(bench, CONCERT)
    train(bench, "balance_0.50")
    time.sleep(1.1)  # records know whole seconds

    begins = dt.datetime.now(dt.UTC).replace(microsecond=0)
    ends = begins + dt.timedelta(hours=8)
    hours = {"starts": f"{begins:%H:%M:%S}", "ends": f"{ends:%H:%M:%S}", "timezone": "UTC"}
    bench = small_lab(folder / "lab", source, night=hours)
    train(bench, "balance_0.75")
    attempt(bench, CONCERT, "balance_0.00", None)
    attempt(bench, CONCERT, "balance_0.00", "failed", error=f"{NASTY}\n  File secret.py", epochs_done=1)
    attempt(bench, CONCERT, "balance_0.25", "diverged", error="loss is NaN in epoch 1", epochs_done=0)
    attempt(bench, CONCERT, "balance_1.00", None)
    attempt(bench, CONCERT, "long", "paused", error="the night ended after epoch 3", epochs_done=3, epochs_planned=50)
    return Night(bench, begins, ends)


@pytest.fixture(scope="module")
def written(night: Night) -> tuple[Report, str]:
    """The page while the night is going on."""
    return night.write()


class Reader(html.parser.HTMLParser):
    """Reads a page strictly: every element that is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def test_what_came_of_each_trial_is_told_in_the_order_in_which_they_began(night: Night) -> None:
    now = clock.now()
    evening = evening_at(night.bench, now)
    assert (evening.begins, evening.ends, evening.until) == (night.begins, night.ends, now)
    tried = tried_in(night.bench, CONCERT, evening, now)
    assert [(one.trial, one.outcome, one.attempts) for one in tried] == [
        ("balance_0.75", "finished", 1),
        ("balance_0.00", "failed", 2),
        ("balance_0.25", "diverged", 1),
        ("balance_1.00", DIED, 1),
        ("long", "paused", 1),
    ], "what was trained before the night is none of it"
    failed = tried[1]
    assert failed.why == NASTY and failed.count(DIED) == 1 and not failed.again
    assert tried[3].again and tried[3].why.startswith("it ended without a word")
    assert all(span.ends is None or span.ends >= span.begins for one in tried for span in one.spans)


def test_the_page_says_what_happened_what_was_learned_and_what_waits(written: tuple[Report, str]) -> None:
    report, text = written
    page = Reader(text)
    assert report.headline == "5 trials ran: 1 finished, 1 paused, 1 failed, 1 diverged, 1 ended without a word."
    assert "still going on" in page.text and report.headline in page.text
    (concert,) = [one for one in report.studies if one.study is CONCERT]
    assert concert.known is not None and {one.trial for one in concert.known.results} == {
        "balance_0.50",
        "balance_0.75",
    }
    assert [one.trial for one in concert.known.results if one.is_new] == ["balance_0.75"]
    leads = concert.known.leader
    assert re.match(
        r"(New leader: balance_0.75|balance_0.50 still leads) with \d+\.\d % validation accuracy",
        concert.known.sentence,
    )
    assert concert.known.sentence in page.text
    assert leads.test is not None and leads.test.low is not None and leads.test.low <= leads.test.value
    assert f"test {100 * leads.test.value:.1f} % ({100 * leads.test.low:.1f} to " in page.text
    assert len(leads.curve) == 2
    waits = {one.what: one for one in report.advice}
    assert (
        waits["concert: balance_0.25 diverged and is not tried again as it is"].how
        == "nocturne run concert balance_0.25 --force"
    )
    assert waits["concert: balance_0.00 failed and would fail again as it is"].urgent
    assert not waits["concert: balance_1.00 came to nothing, and is tried again next night"].urgent
    assert report.advice[0].urgent and all(what in page.text for what in waits)
    assert "the night ended after epoch 3 Goes on from there next night." in page.text and "3 of 50" in page.text
    assert [name for name, _ in report.silent] == [study.name for study in ALL_STUDIES if study is not CONCERT]
    assert [fact.said for fact in report.facts if fact.name == "records"] == [
        "7 attempts at 6 trials; results.duckdb has the same"
    ]
    assert sum("block" in str(said.get("class")) for tag, said in page.elements if tag == "i") >= 5


def test_trials_that_are_one_model_are_said_to_be_beside_what_they_change(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = learned.learned

    def one_model(*said: Any) -> learned.Learned:
        found = real(*said)
        assert found is not None
        alike = [dataclasses.replace(one, same=number + 2) for number, one in enumerate(found.results)]
        return dataclasses.replace(found, results=tuple(alike))

    monkeypatch.setattr("orchestration.nights.report.learned", one_model)
    page = Reader(night.write()[1])
    assert "the same model as 1 other " in page.text and "the same model as 2 others" in page.text
    short = [said for tag, said in page.elements if said.get("class") == "changes short"]
    assert {said["title"] for said in short} == {"the defaults", "balance_strength: 0.5 → 0.75"}


def test_nothing_on_the_page_is_executed_or_fetched(written: tuple[Report, str]) -> None:
    _, text = written
    page = Reader(text)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "link", "object", "embed", "form", "base"}
    for tag, said in page.elements:
        assert not any(name.startswith("on") for name in said), (tag, said)
        for name in ("src", "href"):
            assert (said.get(name) or "#").startswith(("#", "data:image/png;base64,")), (tag, said)
    assert "url(" not in text and "@import" not in text
    assert "<script>alert('x')</script> & \"quoted\"; say nocturne run" in " ".join(page.text.split(" , "))
    assert NASTY_FILE in page.text and "secret.py" not in text, "a traceback is for the records"
    policy = next(said["content"] for tag, said in page.elements if said.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none';")


def test_the_newest_page_is_the_latest_and_an_older_one_is_written_beside_it(night: Night, tmp_path: Path) -> None:
    report, text = night.write(night.ends + dt.timedelta(minutes=5))
    assert report.is_over and "still going on" not in text and report.evening.name == night.name
    reports = night.bench.lab.reports
    assert (reports / "latest.html").read_text(encoding="utf-8") == text
    older = (night.begins - dt.timedelta(days=3)).date().isoformat()
    told, path = write_report(night.bench, None, night.ends, older)
    assert path.name == f"{older}.html" and told.headline.startswith("Nothing was trained")
    assert (reports / "latest.html").read_text(encoding="utf-8") == text
    assert told.evening.until == told.evening.begins + dt.timedelta(days=1), "until the next night begins"


def test_after_the_next_night_has_begun_the_page_is_about_that(night: Night) -> None:
    tomorrow = night.begins + dt.timedelta(days=1, minutes=1)
    assert evening_at(night.bench, tomorrow).begins == night.begins + dt.timedelta(days=1)
    before = evening_at(night.bench, tomorrow - dt.timedelta(minutes=2))
    assert before.begins == night.begins, "until then what was done by day belongs to the evening before"


def test_a_trial_that_was_begun_before_the_evening_and_goes_on_is_on_the_page(night: Night) -> None:
    tomorrow = night.begins + dt.timedelta(days=1, minutes=1)
    with night.bench.records.begin("concert", "balance_0.50", "by hand"):  # nothing is committed, so no trace stays
        report, text = night.write(tomorrow)
    (one,) = report.tried
    assert (one.trial, one.outcome, one.spans[0].ends) == ("balance_0.50", "running", None)
    assert one.spans[0].begins < report.evening.begins
    assert "The one trial that ran is still at work." in Reader(text).text


def test_what_is_left_is_not_promised_to_the_next_night_where_that_has_no_room(tmp_path: Path, corpus: Path) -> None:
    begins = clock.now().replace(microsecond=0)
    hours = {"starts": f"{begins:%H:%M:%S}", "ends": f"{begins + dt.timedelta(hours=8):%H:%M:%S}", "timezone": "UTC"}
    bench = small_lab(tmp_path / "lab", corpus, night=hours)
    look(bench, CONCERT)
    attempt(bench, CONCERT, "balance_0.50", "finished")

    def said(hours: float) -> str:
        _, path = write_report(bench, None, begins + dt.timedelta(hours=hours))
        (found,) = re.findall(r"\b(\d+ left\b.*?) (?:disk|GPU):", Reader(path.read_text(encoding="utf-8")).text)
        return str(found)

    assert said(9) == "4 left", "nobody knows how long they take"
    measured(bench, CONCERT, "balance_0.50", trial_seconds=3 * 3600)
    plan_nights(bench, clock.now(), (CONCERT,), foresee=True)
    assert said(1) == "4 left"
    assert re.fullmatch("4 left, [123] of them for the next night", said(9))
    measured(bench, CONCERT, "balance_0.50", trial_seconds=60)
    assert said(9) == "4 left for the next night"


def test_without_nights_it_is_about_the_last_24_hours(tmp_path: Path, corpus: Path, night: Night) -> None:
    bench = small_lab(tmp_path / "lab", corpus)
    now = clock.now()
    evening = evening_at(bench, now)
    assert evening.nights == {} and evening.begins == now - dt.timedelta(days=1)
    report, path = write_report(bench, None, now)
    text = Reader(path.read_text(encoding="utf-8")).text
    assert "No result yet." in text and "The last 24 hours" in text
    assert report.headline.startswith("Nothing was trained")


def test_trouble_of_one_study_is_said_in_its_place(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: object, results: object) -> str:
        raise ZeroDivisionError("no <b>recording</b> at all")

    monkeypatch.setattr(type(CONCERT), "analysis", fails)
    _, text = night.write()
    assert "Its pictures could not be drawn: ZeroDivisionError: no <b>recording</b> at all" in Reader(text).text
    monkeypatch.setattr("orchestration.nights.learned._certainty", fails)
    _, text = night.write()
    assert "its results cannot be told: ZeroDivisionError" in Reader(text).text


def test_a_damaged_record_and_a_full_disk_wait_for_a_person(night: Night) -> None:
    folder = night.bench.records.history("concert", "balance_0.25")[-1].folder
    whole = (folder / "record.json").read_bytes()
    (folder / "record.json").write_bytes(whole.replace(b"NaN", b"nan"))
    write_yaml(night.bench.lab.nights_file, {"keep_free_gb": 10**9})
    try:
        report, _ = night.write()
    finally:
        (folder / "record.json").write_bytes(whole)
        night.bench.lab.nights_file.unlink()
    wrong = {fact.name: fact for fact in report.facts if fact.wrong}
    assert set(wrong) == {"records", "disk"}
    assert "1 damaged: " in wrong["records"].said and wrong["disk"].todo == "`nocturne clean` shows what can go"
    assert [one.urgent for one in report.advice[:2]] == [True, True]


def test_code_is_set_apart_and_all_else_escaped() -> None:
    assert marked("say `a < b` & c") == "say <code>a &lt; b</code> &amp; c"
    assert marked("one ` alone <b>") == "one ` alone &lt;b&gt;"


def test_the_asset_writes_it_links_it_and_runs_the_command(night: Night, tmp_path: Path) -> None:
    prepare_instance(tmp_path / "home")
    write_yaml(night.bench.lab.nights_file, {"on_morning": ["touch", str(tmp_path / "called")]})
    evening = night.name
    try:
        with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
            done = dg.materialize(
                [morning_report(ALL_STUDIES, night.bench)],
                instance=instance,
                tags={marks.NIGHT: f"{marks.REPORT} {evening}"},
            )
    finally:
        night.bench.lab.nights_file.unlink()
    said = done.asset_materializations_for_node("morning_report")[0].metadata
    assert said["file"].value == str(night.bench.lab.reports / f"{evening}.html")
    assert f"(/nocturne/reports/{evening}.html)" in str(said["report"].value)
    assert said["trials"].value == 5 and said["trials_finished"].value == 1
    assert said["on_morning"].value == "on_morning (touch) was run" and (tmp_path / "called").exists()
    assert "balance_0.25 diverged" in str(said["waits_for_you"].value)


def test_the_command_writes_it_and_says_the_first_things(night: Night, tmp_path: Path) -> None:
    said = command(night.bench, "report")
    assert said.code == 0, said.err
    assert said.out.startswith("5 trials ran: 1 finished") and "- concert: balance_0.25 diverged" in said.out
    lines = said.out.splitlines()
    why = lines[next(n for n, line in enumerate(lines) if line.startswith("- concert: balance_0.25 diverged")) + 1]
    assert why.startswith("    ") and "NaN" in why
    assert said.out.splitlines()[-1].endswith(".html")
    assert command(night.bench, "report", "yesterday").code == 2
    empty = Bench(Lab.open(tmp_path / "lab"))
    assert command(empty, "report").code == 0 and (empty.lab.reports / "latest.html").is_file()
