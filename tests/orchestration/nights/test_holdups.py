"""What held a night up is found in what the sensor said, however often it said it."""

from __future__ import annotations

import datetime as dt
import inspect

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._utils.error import SerializableErrorInfo

from ml.studies.concert.study import CONCERT
from ml.studies.registry import ALL_STUDIES
from orchestration.nights import choosing, clock, driving, guards
from orchestration.nights.advice import of_the_night
from orchestration.nights.choosing import NEW
from orchestration.nights.driving import AT_REST
from orchestration.nights.holdups import HOLDUPS, Holdup, holdups
from orchestration.nights.house import BadFiles
from orchestration.nights.looking_back import Evening, Span, Tried
from orchestration.nights.report import OfStudy, Report
from orchestration.nights.window import Night
from tests.orchestration.nights.on_the_page import known

ENDS = clock.now().replace(microsecond=0)
BEGINS = ENDS - dt.timedelta(hours=10)
EVENING = Evening("2026-11-21", BEGINS, ENDS, ENDS, {"concert": Night("concert", "2026-11-21", BEGINS, ENDS)})
GPU = "concert: the GPU is held by game (process 12, 9,{} MiB): the night waits until that has ended; `gpu_wait: false`"
DRIVE = "denoise: /drive: no such folder; connect the drive or correct the path. It is looked for all night"
CALM = "emotion: nothing to do: 12 trials, all done"


class Sensor:
    """The sensor `nights` as Dagster's books have it."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.state = known(instance, "nights", InstigatorType.SENSOR)

    def looks(self, minutes: range, said: str = "", status: TickStatus = TickStatus.SKIPPED) -> None:
        for number, minute in enumerate(minutes):
            self.instance.create_tick(
                TickData(
                    instigator_origin_id=self.state.instigator_origin_id,
                    instigator_name="nights",
                    instigator_type=InstigatorType.SENSOR,
                    status=status,
                    timestamp=(BEGINS + dt.timedelta(minutes=minute)).timestamp(),
                    selector_id=self.state.selector_id,
                    run_ids=["a run"] if status == TickStatus.SUCCESS else [],
                    skip_reason=said.format(number) if status == TickStatus.SKIPPED else None,
                    error=SerializableErrorInfo("no\n luck", [], None) if status == TickStatus.FAILURE else None,
                )
            )


def found(instance: dg.DagsterInstance) -> list[tuple[str, str, int, int]]:
    """Whose, the first words, and from when to when in minutes of the night."""
    return [
        (
            one.whose,
            " ".join(one.said.split()[:4]),
            round((one.since - BEGINS).total_seconds() / 60),
            round((one.until - BEGINS).total_seconds() / 60),
        )
        for one in holdups(instance, EVENING, ENDS, ALL_STUDIES)
    ]


def test_what_was_said_again_and_again_is_told_once_with_its_times(instance: dg.DagsterInstance) -> None:
    sensor = Sensor(instance)
    sensor.looks(range(0, 120, 5), f"{GPU}; {DRIVE}; {CALM}")
    sensor.looks(range(120, 400, 5), f"{DRIVE}; {CALM}")
    sensor.looks(range(202, 203), status=TickStatus.SUCCESS)
    sensor.looks(range(400, 600, 5), status=TickStatus.SUCCESS)
    assert sorted(found(instance)) == [
        ("concert", "the GPU is held", 0, 120),
        ("denoise", "/drive: no such folder;", 0, 395),
    ]


def test_a_trial_left_aside_while_another_is_trained_holds_nothing_up(instance: dg.DagsterInstance) -> None:
    sensor = Sensor(instance)
    ended = "long was ended by a person: the next night goes on with it"
    sensor.looks(range(0, 400, 5), f"concert: {ended}")
    sensor.looks(range(400, 600, 5), f"concert: a.yaml {NEW}; {ended}")

    def minutes(first: int, last: int) -> Tried:
        span = Span(BEGINS + dt.timedelta(minutes=first), BEGINS + dt.timedelta(minutes=last), "finished")
        return Tried("slow", "finished", "", False, 1, 1, (span,))

    alone = holdups(instance, EVENING, ENDS, ALL_STUDIES)
    assert [one.beside for one in alone] == [False, False]
    assert not any(one.beside for one in holdups(instance, EVENING, ENDS, ALL_STUDIES, {"emotion": [minutes(0, 600)]}))
    beside = holdups(instance, EVENING, ENDS, ALL_STUDIES, {"concert": [minutes(0, 300), minutes(301, 600)]})
    assert [one.beside for one in beside] == [True, True]
    told = of_the_night(beside, EVENING)
    assert [(one.what, one.urgent) for one in told] == [
        (f"concert: {ended}", False),
        (f"concert: a.yaml {NEW}", False),
    ]
    until_noon = holdups(instance, EVENING, ENDS, ALL_STUDIES, {"concert": [minutes(0, 200)]})
    assert [one.beside for one in until_noon] == [True, False, False]


def test_where_a_person_ended_the_run_of_the_data_the_night_waits(instance: dg.DagsterInstance) -> None:
    said = "the run that prepares its data was ended by a person; `nocturne run` or the next night goes on"
    assert said in inspect.getsource(driving)
    Sensor(instance).looks(range(0, 600, 5), f"concert: {said}")
    span = Span(BEGINS, ENDS, "finished")
    worked = {"concert": [Tried("by_hand", "finished", "", False, 1, 1, (span,))]}
    (held,) = holdups(instance, EVENING, ENDS, ALL_STUDIES, worked)
    assert not held.beside and held.takes_most_of(EVENING)


def test_when_nobody_looked_is_told_and_so_is_a_sensor_that_fails(instance: dg.DagsterInstance) -> None:
    sensor = Sensor(instance)
    sensor.looks(range(0, 60, 5), CALM)
    sensor.looks(range(300, 330, 5), status=TickStatus.FAILURE)
    sensor.looks(range(330, 600, 5), CALM)
    assert found(instance) == [
        ("", "nothing looked after the", 55, 300),
        ("", "the sensor `nights` failed:", 300, 330),
    ]
    assert holdups(instance, EVENING, ENDS, ALL_STUDIES)[1].said.endswith("failed: no luck")


def test_a_night_that_went_well_a_lab_without_a_daemon_and_one_long_ago_say_nothing(
    instance: dg.DagsterInstance,
) -> None:
    assert found(instance) == []
    Sensor(instance).looks(range(0, 600, 5), CALM)
    assert found(instance) == []
    assert holdups(instance, EVENING, ENDS + dt.timedelta(days=7), ALL_STUDIES) == []


def test_what_is_said_when_the_plan_is_made_holds_until_it_is_made_again(instance: dg.DagsterInstance) -> None:
    sensor = Sensor(instance)
    for minute in range(0, 600, 5):
        new = "concert: mine is new since the definitions were loaded: Reload on the page (Deployment) makes it known"
        sensor.looks(range(minute, minute + 1), new if minute % 10 == 0 else f"concert: {AT_REST}")
    assert found(instance) == [("concert", "mine is new since", 0, 590)]


def test_the_words_are_those_that_are_said() -> None:
    said = inspect.getsource(guards) + inspect.getsource(driving) + inspect.getsource(choosing)
    assert [words for words in HOLDUPS if words not in said] == []


def test_what_held_up_most_of_the_night_waits_for_a_person() -> None:
    def held(hours: float) -> Holdup:
        return Holdup("concert", "the drive is gone", BEGINS, BEGINS + dt.timedelta(hours=hours))

    (advice,) = of_the_night([held(4.9), held(5.1)], EVENING)
    assert advice.urgent and advice.what.startswith("concert: held up from ") and advice.why == "the drive is gone"


def test_a_night_in_which_nothing_was_trained_says_why_in_its_first_line() -> None:
    of_nothing = OfStudy(CONCERT, [], None, "", BadFiles(), None, [], [])

    def headline(*held: Holdup) -> str:
        return Report(EVENING, ENDS, [of_nothing], [], [], [], list(held)).headline

    def since(minutes: float, whose: str, said: str) -> Holdup:
        return Holdup(whose, said, BEGINS + dt.timedelta(minutes=minutes), ENDS)

    unset = Report(EVENING, ENDS, [], [("concert", "set it")], [], [], []).headline
    assert unset.startswith("Nothing was trained: no study has a source folder yet")
    assert headline() == "Nothing was trained: there was nothing left to do, or nothing could be begun."
    assert headline(since(590, "concert", "the drive is gone; connect it")) == headline(), (
        "ten minutes explain no night"
    )
    drive = since(0, "denoise", DRIVE.partition(": ")[2])
    assert headline(drive) == "Nothing was trained: denoise: /drive: no such folder."
    asleep = since(1, "", "nothing looked after the night: the machine slept, or `nocturne up` did not run")
    assert headline(asleep).startswith(
        "Nothing was trained: nothing looked after the night: the machine slept, or noct"
    )
    both = headline(asleep, drive, since(2, "concert", "its settings cannot be read: studies.yaml: no"))
    assert both == "Nothing was trained: denoise: /drive: no such folder (held up too: concert)."
