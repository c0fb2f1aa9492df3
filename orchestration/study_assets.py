"""One study in, its assets out. The same nouns in every study; the bodies only call."""

# No `from __future__ import annotations` here: Dagster reads the annotations of the bodies.
from collections.abc import Iterator

import dagster as dg

from ml.studies.study import Study
from orchestration import answers, data, showing, trials
from orchestration.failures import Interrupted, ends_when_interrupted, may_be_tried_again, may_pass, sentence
from orchestration.following import follows
from orchestration.instance_home import POOL
from orchestration.nights import clock, marks
from orchestration.nights.cleaning import make_room
from orchestration.nights.evening import plan_of
from orchestration.nights.tonight import tonight_of
from orchestration.resources import Bench

FORCE_TAG = "nocturne/force"
"""A run with this tag trains its trials anew although they are finished. The value names the request, so that a further
run of the same request goes on; "true" is a request of that run alone."""


def study_assets(study: Study, bench: Bench) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Inventory, split, features, trained model and evaluation per trial, leaderboard, best model."""
    settings = bench.settings(study)
    names = [trial.name for trial in bench.trials(study).trials]
    partitions = dg.StaticPartitionsDefinition(names)
    retry = dg.RetryPolicy(
        max_retries=settings.retries,
        delay=settings.retry_delay_seconds,
        backoff=dg.Backoff.EXPONENTIAL,
        jitter=dg.Jitter.PLUS_MINUS,
    )
    shared = {"group_name": study.name, "code_version": study.revision, "owners": ["team:nocturne"]}

    def key(noun: str) -> dg.AssetKey:
        return dg.AssetKey([study.name, noun])

    @dg.asset(
        key=key("source_inventory"),
        description="Every file of the source folder with a verdict: what it is, whether it can be used, why not.",
        kinds={"python", "duckdb"},
        retry_policy=retry,
        **shared,
    )
    def source_inventory(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with may_be_tried_again():
            files, notes = data.take_inventory(bench, study, showing.progress(context))
            return showing.inventory(files, notes)

    @dg.asset(
        key=key("split"),
        deps=[source_inventory],
        description="Which files train, which choose (validation), which judge (test). Frozen: none ever moves.",
        kinds={"python", "duckdb"},
        check_specs=[
            dg.AssetCheckSpec(
                "no_leakage",
                asset=key("split"),
                blocking=True,
                description="Nothing that belongs together, and no copy of a file, lies on two sides of the split.",
            )
        ],
        retry_policy=retry,
        **shared,
    )
    def split(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with may_be_tried_again():
            parts, leaks = data.divide(bench, study)
            return showing.split(parts, leaks)

    @dg.asset(
        key=key("features"),
        deps=[split],
        description="Every file read once and kept as numbers in a memory-mapped array that all trials share.",
        kinds={"python", "numpy"},
        retry_policy=retry,
        **shared,
    )
    def features(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with may_be_tried_again():
            make_room(bench, clock.now(), showing.say(context))
            shown = showing.features(data.build_features(bench, study, showing.progress(context)))
            plan = plan_of(bench, study, context.run, showing.say(context))
            return shown._replace(metadata={**(shown.metadata or {}), **plan})

    trained_model = dg.AssetSpec(
        key("trained_model"),
        deps=[features],
        description=f"One model per trial. {study.question}",
        kinds={"pytorch"},
        skippable=True,
        **shared,
    )
    evaluation = dg.AssetSpec(
        key("evaluation"),
        deps=[trained_model],
        description="What each trial's model gets right and wrong, per window, picture and file; test is opened once.",
        kinds={"python", "duckdb"},
        skippable=True,
        **shared,
    )

    @dg.multi_asset(
        name=f"{study.name}__trial",
        specs=[trained_model, evaluation],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(settings.trials_per_run),
        retry_policy=retry,
        pool=POOL,
    )
    def trial(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        # Each trial is told the moment it is done, by log_event. What a body yields is told at the end of the step, and
        # not at all when one trial of the run failed; so nothing is yielded.
        run, say = context.run, showing.say(context)
        tonight = None if marks.asked_by_a_person(context.instance, run) else tonight_of(bench, study, run)
        forced_by = _forced_by(run)
        failed: dict[str, tuple[str, bool]] = {}  # sentences only: an exception holds the network and its features
        for name in context.partition_keys:
            if context.retry_number and (why := trials.failed_for_good(bench, study, name, run.run_id)):
                failed[name] = (why, False)
                continue
            try:
                if tonight and (why := tonight.given_up(name)):
                    raise trials.TrialFailed(name, why, again=False)
                if tonight and (why := tonight.left_out(name)):
                    say(f"{name}: {why}")
                    continue
                make_room(bench, clock.now(), say)
                with ends_when_interrupted():
                    answer = trials.run_trial(
                        bench,
                        study,
                        name,
                        run_id=run.run_id,
                        forced_by=forced_by,
                        say=say,
                        bell=tonight.bell if tonight else None,
                    )
                    for noun in ("trained_model", "evaluation"):
                        shown = showing.trial(study, noun, answer.record, answer.found)
                        context.log_event(dg.AssetMaterialization(key(noun), partition=name, metadata=shown))
            except Interrupted:
                raise
            except trials.NightOver as over:
                say(str(over))
                break
            except trials.TrialFailed as problem:
                failed[name] = (problem.sentence, problem.again)
            except Exception as problem:
                failed[name] = (sentence(problem), may_pass(problem))
            if name in failed:
                say(f"FAILED {name}: {failed[name][0]}")
                trials.release_memory()
        if failed:
            raise dg.Failure(
                "; ".join(f"{name}: {why}" for name, (why, _) in failed.items()),
                metadata={name: dg.MetadataValue.text(why) for name, (why, _) in failed.items()},
                allow_retries=any(again for _, again in failed.values()) and not (tonight and tonight.bell.rung()),
            )
        yield from ()

    after_trials = follows() & ~dg.AutomationCondition.any_deps_in_progress()

    @dg.asset(
        key=key("leaderboard"),
        deps=[evaluation],
        description="All trials, best on validation first, each with its uncertainty; who is really better than whom.",
        kinds={"python", "duckdb"},
        automation_condition=after_trials,
        retry_policy=retry,
        **shared,
    )
    def leaderboard(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with may_be_tried_again():
            return showing.leaderboard(study, answers.compare(bench, study))

    @dg.asset(
        key=key("best_model"),
        deps=[leaderboard],
        description="The model chosen on validation, ready to be used: weights, settings and classes in one folder.",
        kinds={"pytorch"},
        automation_condition=follows(),
        retry_policy=retry,
        **shared,
    )
    def best_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with may_be_tried_again():
            return showing.best_model(answers.best_model(bench, study))

    return [source_inventory, split, features, trial, leaderboard, best_model]


def _forced_by(run: dg.DagsterRun) -> str | None:
    said = run.tags.get(FORCE_TAG)
    if said is None:
        return None
    return said if said != "true" else run.root_run_id or run.run_id
