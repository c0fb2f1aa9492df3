-- The questions that are asked every morning. docs/sql.md shows how to use them.

CREATE VIEW leaderboard AS
WITH summary AS (
    SELECT
        study,
        trial,
        max(value) FILTER (part = 'validation' AND metric = 'accuracy' AND level <> 'recording') AS validation_accuracy,
        max(low) FILTER (part = 'validation' AND metric = 'accuracy' AND level <> 'recording') AS validation_low,
        max(high) FILTER (part = 'validation' AND metric = 'accuracy' AND level <> 'recording') AS validation_high,
        max(value) FILTER (part = 'validation' AND metric = 'accuracy' AND level = 'recording')
            AS validation_recording_accuracy,
        max(low) FILTER (part = 'validation' AND metric = 'accuracy' AND level = 'recording')
            AS validation_recording_low,
        max(high) FILTER (part = 'validation' AND metric = 'accuracy' AND level = 'recording')
            AS validation_recording_high,
        max(value) FILTER (part = 'test' AND metric = 'accuracy' AND level <> 'recording') AS test_accuracy,
        max(low) FILTER (part = 'test' AND metric = 'accuracy' AND level <> 'recording') AS test_low,
        max(high) FILTER (part = 'test' AND metric = 'accuracy' AND level <> 'recording') AS test_high,
        max(value) FILTER (part = 'test' AND metric = 'accuracy' AND level = 'recording') AS test_recording_accuracy,
        max(low) FILTER (part = 'test' AND metric = 'accuracy' AND level = 'recording') AS test_recording_low,
        max(high) FILTER (part = 'test' AND metric = 'accuracy' AND level = 'recording') AS test_recording_high,
        max(value) FILTER (part = 'validation' AND metric = 'macro_f1' AND level <> 'recording')
            AS validation_macro_f1,
        max(value) FILTER (part = 'test' AND metric = 'macro_f1' AND level <> 'recording') AS test_macro_f1,
        max(value) FILTER (part = 'train' AND metric = 'accuracy' AND level <> 'recording') AS train_accuracy,
        max(value) FILTER (part = 'validation' AND metric = 'si_sdr_improvement') AS validation_si_sdr_improvement,
        max(value) FILTER (part = 'test' AND metric = 'si_sdr_improvement') AS test_si_sdr_improvement,
        max(low) FILTER (part = 'test' AND metric = 'si_sdr_improvement') AS test_si_sdr_improvement_low,
        max(high) FILTER (part = 'test' AND metric = 'si_sdr_improvement') AS test_si_sdr_improvement_high,
        max(value) FILTER (part = 'validation' AND metric = 'event_f1') AS validation_event_f1,
        max(value) FILTER (part = 'test' AND metric = 'event_f1') AS test_event_f1,
        max(low) FILTER (part = 'test' AND metric = 'event_f1') AS test_event_f1_low,
        max(high) FILTER (part = 'test' AND metric = 'event_f1') AS test_event_f1_high
    FROM metrics
    WHERE class IS NULL
    GROUP BY study, trial
),
finest AS (  -- one level for each trial: the one with the most to count, recordings only where there is nothing else
    SELECT study, trial, class, value
    FROM metrics
    WHERE part = 'validation' AND metric = 'recall' AND class IS NOT NULL
    QUALIFY dense_rank() OVER (PARTITION BY study, trial ORDER BY level = 'recording') = 1
),
worst AS (
    SELECT study, trial, arg_min(class, value) AS worst_class, min(value) AS worst_recall
    FROM finest GROUP BY study, trial
),
tried AS (SELECT study, trial, count(*) AS attempts FROM attempts GROUP BY study, trial),
changed AS (
    SELECT
        study, trial,
        string_agg(setting || ': ' || coalesce(before, 'null') || ' -> ' || coalesce(value, 'null'), '; ' ORDER BY setting)
            AS changes
    FROM settings WHERE changed GROUP BY study, trial
),
finished AS (
    SELECT
        *,
        data_fingerprint IS NOT DISTINCT FROM
            first_value(data_fingerprint) OVER (PARTITION BY study ORDER BY ended DESC NULLS LAST, trial)
            AS current_data,
        selection_metric IS NOT DISTINCT FROM
            first_value(selection_metric) OVER (PARTITION BY study ORDER BY ended DESC NULLS LAST, trial)
            AS current_metric,
        CASE WHEN coalesce(higher_is_better, true) THEN -selection_value ELSE selection_value END AS cost
    FROM trials
    WHERE status = 'finished'
),
ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY study ORDER BY current_data DESC, current_metric DESC, cost ASC NULLS LAST, trial)
            AS rank
    FROM finished
)
SELECT
    ranked.study, ranked.rank, ranked.trial, ranked.rank = 1 AS is_best, ranked.current_data,
    ranked.selection_metric, ranked.selection_value, ranked.higher_is_better,
    summary.validation_accuracy, summary.validation_low, summary.validation_high,
    summary.validation_recording_accuracy, summary.validation_recording_low, summary.validation_recording_high,
    summary.test_accuracy, summary.test_low, summary.test_high,
    summary.test_recording_accuracy, summary.test_recording_low, summary.test_recording_high,
    summary.validation_macro_f1, summary.test_macro_f1, summary.train_accuracy,
    summary.validation_si_sdr_improvement, summary.test_si_sdr_improvement,
    summary.test_si_sdr_improvement_low, summary.test_si_sdr_improvement_high,
    summary.validation_event_f1, summary.test_event_f1, summary.test_event_f1_low, summary.test_event_f1_high,
    worst.worst_class, worst.worst_recall,
    ranked.seconds_spent / 60 AS minutes, ranked.epochs_done AS epochs, ranked.best_epoch, ranked.seconds_standalone,
    tried.attempts, ranked.ended, ranked.purpose, changed.changes, ranked.remarks, ranked.verdict,
    ranked.model_name, ranked.model_key
FROM ranked
LEFT JOIN summary USING (study, trial)
LEFT JOIN worst USING (study, trial)
LEFT JOIN tried USING (study, trial)
LEFT JOIN changed USING (study, trial)
ORDER BY ranked.study, ranked.rank;
COMMENT ON VIEW leaderboard IS
    'One row per finished trial, the best first: chosen on validation, with what the test part says beside it.';
COMMENT ON COLUMN leaderboard.study IS 'study: one question about one body of data';
COMMENT ON COLUMN leaderboard.rank IS
    'place by selection_value within the study; older data, then another metric come last; ties in order of name';
COMMENT ON COLUMN leaderboard.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN leaderboard.is_best IS 'whether it is the winner of its study';
COMMENT ON COLUMN leaderboard.current_data IS
    'whether it saw the same data as the newest trial of the study; where not, it does not compare';
COMMENT ON COLUMN leaderboard.selection_metric IS 'the validation metric that the winner is chosen by';
COMMENT ON COLUMN leaderboard.selection_value IS 'its value at the best epoch';
COMMENT ON COLUMN leaderboard.higher_is_better IS 'whether a higher selection_value is the better one';
COMMENT ON COLUMN leaderboard.validation_accuracy IS 'share of validation windows (or single items) that are right';
COMMENT ON COLUMN leaderboard.validation_low IS 'lower end of its 95 % interval over recordings';
COMMENT ON COLUMN leaderboard.validation_high IS 'upper end of its 95 % interval over recordings';
COMMENT ON COLUMN leaderboard.validation_recording_accuracy IS 'share of validation recordings that are right';
COMMENT ON COLUMN leaderboard.validation_recording_low IS 'lower end of its 95 % interval';
COMMENT ON COLUMN leaderboard.validation_recording_high IS 'upper end of its 95 % interval';
COMMENT ON COLUMN leaderboard.test_accuracy IS 'share of test windows (or single items) that are right';
COMMENT ON COLUMN leaderboard.test_low IS 'lower end of its 95 % interval over recordings';
COMMENT ON COLUMN leaderboard.test_high IS 'upper end of its 95 % interval over recordings';
COMMENT ON COLUMN leaderboard.test_recording_accuracy IS 'share of test recordings that are right';
COMMENT ON COLUMN leaderboard.test_recording_low IS 'lower end of its 95 % interval';
COMMENT ON COLUMN leaderboard.test_recording_high IS 'upper end of its 95 % interval';
COMMENT ON COLUMN leaderboard.validation_macro_f1 IS 'F1 averaged over classes, each class counting alike, validation';
COMMENT ON COLUMN leaderboard.test_macro_f1 IS 'F1 averaged over classes, each class counting alike, test';
COMMENT ON COLUMN leaderboard.train_accuracy IS
    'share of training windows right at the best epoch: as drawn and augmented, where the study did not look again';
COMMENT ON COLUMN leaderboard.validation_si_sdr_improvement IS
    'dB of SI-SDR that denoising gains over the noisy input: mean over validation recordings';
COMMENT ON COLUMN leaderboard.test_si_sdr_improvement IS 'the same over test recordings';
COMMENT ON COLUMN leaderboard.test_si_sdr_improvement_low IS 'lower end of its 95 % interval over recordings, dB';
COMMENT ON COLUMN leaderboard.test_si_sdr_improvement_high IS 'upper end of its 95 % interval over recordings, dB';
COMMENT ON COLUMN leaderboard.validation_event_f1 IS
    'F1 of the hits that are found in whole validation songs, at most 50 ms from where they are, all components together';
COMMENT ON COLUMN leaderboard.test_event_f1 IS 'the same over test songs';
COMMENT ON COLUMN leaderboard.test_event_f1_low IS 'lower end of its 95 % interval over songs';
COMMENT ON COLUMN leaderboard.test_event_f1_high IS 'upper end of its 95 % interval over songs';
COMMENT ON COLUMN leaderboard.worst_class IS 'class with the lowest validation recall (by windows where there are any)';
COMMENT ON COLUMN leaderboard.worst_recall IS 'that recall';
COMMENT ON COLUMN leaderboard.minutes IS 'minutes of wall clock that the attempt took';
COMMENT ON COLUMN leaderboard.epochs IS 'epochs the trial has in all';
COMMENT ON COLUMN leaderboard.best_epoch IS 'epoch whose weights are the model, from 1';
COMMENT ON COLUMN leaderboard.seconds_standalone IS 'seconds of all its epochs, whoever trained them: its cost if run alone';
COMMENT ON COLUMN leaderboard.attempts IS 'how many times it was tried';
COMMENT ON COLUMN leaderboard.ended IS 'when it finished, UTC';
COMMENT ON COLUMN leaderboard.purpose IS 'what the trial is meant to find out';
COMMENT ON COLUMN leaderboard.changes IS
    'what it says differently from the defaults, in words: training.lr: 0.0003 -> 0.001; NULL: nothing, it is the baseline';
COMMENT ON COLUMN leaderboard.remarks IS
    'what to know before reading much into it, such as that it changes two settings at once; NULL: nothing';
COMMENT ON COLUMN leaderboard.verdict IS
    'what the study says of the trial by its own rules, such as good or trouble and why; NULL where it has none';
COMMENT ON COLUMN leaderboard.model_name IS 'name under which the model is exported';
COMMENT ON COLUMN leaderboard.model_key IS
    'key of the model among the artifacts; trials that have the same one are the same model';

CREATE VIEW per_class AS
SELECT
    study, trial, part, level, class,
    max(value) FILTER (metric = 'recall') AS recall,
    max(value) FILTER (metric = 'precision') AS precision,
    max(value) FILTER (metric = 'f1') AS f1,
    max(low) FILTER (metric = 'recall') AS low,
    max(high) FILTER (metric = 'recall') AS high,
    max(value) FILTER (metric = 'support') AS support
FROM metrics
WHERE class IS NOT NULL
GROUP BY study, trial, part, level, class;
COMMENT ON VIEW per_class IS 'How well each trial knows each class.';
COMMENT ON COLUMN per_class.study IS 'study: one question about one body of data';
COMMENT ON COLUMN per_class.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN per_class.part IS 'validation or test';
COMMENT ON COLUMN per_class.level IS 'what is counted: recording, or a smaller unit such as window';
COMMENT ON COLUMN per_class.class IS 'class';
COMMENT ON COLUMN per_class.recall IS 'share of the class that was recognized';
COMMENT ON COLUMN per_class.precision IS 'share of what was taken for the class that is it';
COMMENT ON COLUMN per_class.f1 IS 'harmonic mean of recall and precision';
COMMENT ON COLUMN per_class.low IS 'lower end of the 95 % interval of the recall';
COMMENT ON COLUMN per_class.high IS 'upper end of the 95 % interval of the recall';
COMMENT ON COLUMN per_class.support IS 'how many there are to recognize; NULL where it was not counted';

CREATE VIEW curves AS
SELECT study, trial, epoch, part, metric, value FROM epochs ORDER BY study, trial, part, metric, epoch;
COMMENT ON VIEW curves IS 'The learning curves: every metric over the epochs.';
COMMENT ON COLUMN curves.study IS 'study: one question about one body of data';
COMMENT ON COLUMN curves.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN curves.epoch IS 'epoch, from 1';
COMMENT ON COLUMN curves.part IS 'train or validation';
COMMENT ON COLUMN curves.metric IS 'for example loss, accuracy, macro_f1, lr';
COMMENT ON COLUMN curves.value IS 'value of the metric; NULL where it was not a number';

CREATE VIEW inventory_by_class AS
WITH counted AS (
    SELECT
        study,
        class,
        count(*) FILTER (state <> 'rejected') AS files,
        count(DISTINCT recording) FILTER (state <> 'rejected') AS recordings,
        count(*) FILTER (state <> 'rejected' AND seconds > 0 AND at_seconds IS NULL) AS sounds,
        coalesce(sum(seconds) FILTER (state <> 'rejected' AND at_seconds IS NULL), 0) / 60 AS minutes,
        count(*) FILTER (state = 'rejected') AS rejected,
        count(*) FILTER (state = 'warned') AS warned
    FROM files
    GROUP BY study, class
),
measured AS (  -- pictures and hits have no minutes: where there are any, what counts is how many
    SELECT
        *,
        sum(sounds) OVER whole = sum(files) OVER whole AS all_sound,
        CASE WHEN all_sound THEN minutes ELSE files END AS amount
    FROM counted
    WINDOW whole AS (PARTITION BY study)
),
cut AS (SELECT study, class, sum(windows) AS windows FROM window_counts GROUP BY study, class)
SELECT
    measured.study, measured.class, measured.files, measured.recordings,
    CASE WHEN measured.sounds > 0 OR measured.all_sound THEN measured.minutes END AS minutes,
    CASE WHEN measured.all_sound THEN 'minutes' ELSE 'files' END AS unit,
    measured.amount / nullif(sum(measured.amount) OVER whole, 0) AS share,
    measured.amount / nullif(min(nullif(measured.amount, 0)) OVER whole, 0) AS imbalance,
    cut.windows, measured.warned, measured.rejected
FROM measured
LEFT JOIN cut USING (study, class)
WINDOW whole AS (PARTITION BY measured.study)
ORDER BY measured.study, measured.amount DESC, measured.class;
COMMENT ON VIEW inventory_by_class IS 'How much there is of each class. Files, recordings, minutes and windows differ.';
COMMENT ON COLUMN inventory_by_class.study IS 'study: one question about one body of data';
COMMENT ON COLUMN inventory_by_class.class IS 'class';
COMMENT ON COLUMN inventory_by_class.files IS 'number of files (or of hits in them) that are used';
COMMENT ON COLUMN inventory_by_class.recordings IS 'number of recordings (persons, …) that are used: files that belong together count once';
COMMENT ON COLUMN inventory_by_class.minutes IS 'minutes of sound that are used; NULL where there are only pictures or hits';
COMMENT ON COLUMN inventory_by_class.unit IS
    'what share and imbalance are of: minutes where every used file of the study sounds, else files';
COMMENT ON COLUMN inventory_by_class.share IS 'share of the minutes (or files: see unit) of the study, 0 to 1';
COMMENT ON COLUMN inventory_by_class.imbalance IS 'how many times the minutes (or files: see unit) of the smallest class';
COMMENT ON COLUMN inventory_by_class.windows IS 'number of windows (a picture is one) in all parts; NULL where they were not counted';
COMMENT ON COLUMN inventory_by_class.warned IS 'files that are used and have something odd: see files.problem';
COMMENT ON COLUMN inventory_by_class.rejected IS 'files that are left out: see files.problem';

CREATE VIEW classes AS
SELECT
    s.study, s.part, s.class, count(*) AS files, count(DISTINCT s.recording) AS recordings,
    nullif(sum(f.seconds) FILTER (f.at_seconds IS NULL), 0) / 60 AS minutes, any_value(w.windows) AS windows
FROM splits s
LEFT JOIN files f ON f.study = s.study AND f.path = s.path
LEFT JOIN window_counts w ON w.study = s.study AND w.part = s.part AND w.class = s.class
GROUP BY s.study, s.part, s.class
ORDER BY s.study, s.class, s.part;
COMMENT ON VIEW classes IS 'How much there is of each class in each part, in four different units.';
COMMENT ON COLUMN classes.study IS 'study: one question about one body of data';
COMMENT ON COLUMN classes.part IS 'train, validation or test';
COMMENT ON COLUMN classes.class IS 'class';
COMMENT ON COLUMN classes.files IS 'number of files';
COMMENT ON COLUMN classes.recordings IS 'number of recordings (persons, …): files that belong together count once';
COMMENT ON COLUMN classes.minutes IS 'minutes of sound; NULL where there are only pictures';
COMMENT ON COLUMN classes.windows IS 'number of windows that the model sees; NULL where they were not counted';

CREATE VIEW miscounted AS
WITH counted AS (
    SELECT study, trial, 'epochs' AS table_name, count(*) AS found FROM epochs GROUP BY ALL
    UNION ALL SELECT study, trial, 'metrics', count(*) FROM metrics GROUP BY ALL
    UNION ALL SELECT study, trial, 'confusion', count(*) FROM confusion GROUP BY ALL
    UNION ALL SELECT study, trial, 'predictions', count(*) FROM predictions GROUP BY ALL
    UNION ALL SELECT study, trial, 'draws', count(*) FROM draws GROUP BY ALL
    UNION ALL SELECT study, trial, 'scores', count(*) FROM scores GROUP BY ALL
    UNION ALL SELECT study, NULL, 'files', count(*) FROM files GROUP BY ALL
    UNION ALL SELECT study, NULL, 'splits', count(*) FROM splits GROUP BY ALL
    UNION ALL SELECT study, NULL, 'window_counts', count(*) FROM window_counts GROUP BY ALL
    UNION ALL SELECT study, NULL, 'comparisons', count(*) FROM comparisons GROUP BY ALL
    UNION ALL SELECT study, NULL, 'importance', count(*) FROM importance GROUP BY ALL
)
SELECT
    coalesce(c.study, r.study) AS study, coalesce(c.trial, r.trial) AS trial,
    coalesce(c.table_name, r.table_name) AS table_name, coalesce(c.found, 0) AS found, coalesce(r.rows, 0) AS recorded
FROM counted c
FULL JOIN row_counts r ON c.study = r.study AND c.trial IS NOT DISTINCT FROM r.trial AND c.table_name = r.table_name
WHERE c.found IS DISTINCT FROM r.rows;
COMMENT ON VIEW miscounted IS 'Where a table holds other than what the records brought. Always empty in a published file.';
COMMENT ON COLUMN miscounted.study IS 'study: one question about one body of data';
COMMENT ON COLUMN miscounted.trial IS 'trial: one configuration of a study; NULL for tables of a whole study';
COMMENT ON COLUMN miscounted.table_name IS 'table that was counted';
COMMENT ON COLUMN miscounted.found IS 'rows in the table';
COMMENT ON COLUMN miscounted.recorded IS 'rows in the record';

CREATE VIEW runs AS
SELECT
    attempts.study, attempts.trial, attempts.attempt, attempts.status, attempts.run_id, attempts.started,
    attempts.ended, attempts.seconds_spent / 60 AS minutes, attempts.epochs_trained, attempts.error,
    trials.attempt IS NOT NULL AS is_shown
FROM attempts
LEFT JOIN trials USING (study, trial, attempt)
ORDER BY attempts.started DESC NULLS LAST, attempts.study, attempts.trial, attempts.attempt DESC;
COMMENT ON VIEW runs IS 'Every attempt at every trial, the newest first: how often it was tried and why it failed.';
COMMENT ON COLUMN runs.study IS 'study: one question about one body of data';
COMMENT ON COLUMN runs.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN runs.attempt IS 'number of the attempt at this trial, from 1';
COMMENT ON COLUMN runs.status IS 'finished, failed, paused, diverged, interrupted or damaged';
COMMENT ON COLUMN runs.run_id IS 'the Dagster run that made this attempt';
COMMENT ON COLUMN runs.started IS 'when the attempt began, UTC';
COMMENT ON COLUMN runs.ended IS 'when its record was written, UTC; NULL when interrupted';
COMMENT ON COLUMN runs.minutes IS 'minutes of wall clock that it took';
COMMENT ON COLUMN runs.epochs_trained IS 'epochs trained in this attempt; the others were found already trained';
COMMENT ON COLUMN runs.error IS 'why it did not finish, in a sentence; NULL when it did';
COMMENT ON COLUMN runs.is_shown IS 'whether this attempt is the one that all other tables show';

CREATE VIEW fits AS
WITH losses AS (
    SELECT
        study,
        trial,
        arg_max(value, epoch) FILTER (part = 'train') AS train_loss,
        arg_max(value, epoch) FILTER (part = 'validation') AS validation_loss,
        min(value) FILTER (part = 'validation') AS best_validation_loss
    FROM epochs
    WHERE metric = 'loss'
    GROUP BY study, trial
)
SELECT
    trials.study, trials.trial, trials.status, losses.train_loss, losses.validation_loss, losses.best_validation_loss,
    losses.validation_loss - losses.train_loss AS gap, trials.best_epoch, trials.epochs_done, trials.epochs_planned,
    trials.stopped_early, trials.verdict, trials.model_name, trials.model_key
FROM trials
LEFT JOIN losses USING (study, trial)
ORDER BY trials.study, losses.best_validation_loss NULLS LAST, trials.trial;
COMMENT ON VIEW fits IS 'How the training of each trial ended: losses, their gap, and whether it stopped by itself.';
COMMENT ON COLUMN fits.study IS 'study: one question about one body of data';
COMMENT ON COLUMN fits.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN fits.status IS 'finished, failed, paused, diverged, interrupted or damaged';
COMMENT ON COLUMN fits.train_loss IS 'training loss of the last epoch';
COMMENT ON COLUMN fits.validation_loss IS 'validation loss of the last epoch';
COMMENT ON COLUMN fits.best_validation_loss IS 'lowest validation loss of all epochs';
COMMENT ON COLUMN fits.gap IS
    'validation loss minus training loss, both of the last epoch: far above 0, the training part is learned by heart';
COMMENT ON COLUMN fits.best_epoch IS 'epoch whose weights are the model, from 1';
COMMENT ON COLUMN fits.epochs_done IS 'epochs the trial has in all';
COMMENT ON COLUMN fits.epochs_planned IS 'epochs the configuration asks for';
COMMENT ON COLUMN fits.stopped_early IS 'whether it stopped before the planned epochs for lack of progress';
COMMENT ON COLUMN fits.verdict IS
    'what the study says of the trial by its own rules, such as good or trouble and why; NULL where it has none';
COMMENT ON COLUMN fits.model_name IS 'name under which the model is exported';
COMMENT ON COLUMN fits.model_key IS
    'key of the model among the artifacts; trials that have the same one are the same model';

CREATE VIEW impact AS
WITH compared AS (
    SELECT s.study, s.setting, s.value, s.number, l.trial, l.selection_value, coalesce(l.higher_is_better, true) AS higher
    FROM settings s
    JOIN leaderboard l USING (study, trial)
    WHERE l.current_data AND s.setting NOT IN ('name', 'purpose')
),
differing AS (
    SELECT study, setting FROM compared GROUP BY study, setting HAVING count(DISTINCT coalesce(value, '')) > 1
)
SELECT
    c.study, c.setting, c.value, any_value(c.number) AS number, count(*) AS trials,
    avg(c.selection_value) AS mean, median(c.selection_value) AS median,
    CASE WHEN bool_or(c.higher) THEN max(c.selection_value) ELSE min(c.selection_value) END AS best,
    CASE WHEN bool_or(c.higher) THEN min(c.selection_value) ELSE max(c.selection_value) END AS worst,
    CASE WHEN bool_or(c.higher) THEN arg_max(c.trial, c.selection_value)
         ELSE arg_min(c.trial, c.selection_value) END AS best_trial
FROM compared c
JOIN differing USING (study, setting)
GROUP BY c.study, c.setting, c.value
ORDER BY c.study, c.setting, number NULLS LAST, c.value;
COMMENT ON VIEW impact IS
    'Every value of every setting in which finished trials of the present data differ: what its trials reach.';
COMMENT ON COLUMN impact.study IS 'study: one question about one body of data';
COMMENT ON COLUMN impact.setting IS 'name of the setting, with dots where settings are nested';
COMMENT ON COLUMN impact.value IS 'its value as text';
COMMENT ON COLUMN impact.number IS 'its value as a number; NULL where it is none';
COMMENT ON COLUMN impact.trials IS 'how many finished trials have this value';
COMMENT ON COLUMN impact.mean IS 'mean of their selection_value';
COMMENT ON COLUMN impact.median IS 'median of their selection_value';
COMMENT ON COLUMN impact.best IS 'best of their selection_value: the highest or the lowest, as the study has it';
COMMENT ON COLUMN impact.worst IS 'worst of their selection_value';
COMMENT ON COLUMN impact.best_trial IS 'the trial that reaches the best';

CREATE VIEW spread AS
SELECT
    study, any_value(selection_metric) AS selection_metric, count(*) AS trials,
    count(DISTINCT coalesce(model_key, trial)) AS distinct_models,
    avg(selection_value) AS mean, median(selection_value) AS median, stddev_samp(selection_value) AS deviation,
    CASE WHEN bool_and(coalesce(higher_is_better, true)) THEN max(selection_value) ELSE min(selection_value) END AS best,
    CASE WHEN bool_and(coalesce(higher_is_better, true)) THEN min(selection_value) ELSE max(selection_value) END AS worst,
    sum(epochs) AS epochs, sum(seconds_standalone) AS seconds_standalone, sum(minutes) * 60 AS seconds_spent
FROM leaderboard
WHERE current_data
GROUP BY study
ORDER BY study;
COMMENT ON VIEW spread IS 'All finished trials of the present data of a study in one row: how far they lie apart.';
COMMENT ON COLUMN spread.study IS 'study: one question about one body of data';
COMMENT ON COLUMN spread.selection_metric IS 'the validation metric that the winner is chosen by';
COMMENT ON COLUMN spread.trials IS 'number of finished trials';
COMMENT ON COLUMN spread.distinct_models IS 'number of different models among them: trials can come to the same weights';
COMMENT ON COLUMN spread.mean IS 'mean of selection_value';
COMMENT ON COLUMN spread.median IS 'median of selection_value';
COMMENT ON COLUMN spread.deviation IS 'standard deviation of selection_value (of a sample); NULL where there is one trial';
COMMENT ON COLUMN spread.best IS 'best selection_value';
COMMENT ON COLUMN spread.worst IS 'worst selection_value';
COMMENT ON COLUMN spread.epochs IS 'epochs that all trials have together, shared ones counted for each';
COMMENT ON COLUMN spread.seconds_standalone IS 'seconds that they would have taken one by one, nothing shared';
COMMENT ON COLUMN spread.seconds_spent IS 'seconds of wall clock that their shown attempts took';

CREATE VIEW failures AS
WITH newest AS (
    SELECT * FROM attempts QUALIFY row_number() OVER (PARTITION BY study, trial ORDER BY attempt DESC) = 1
)
SELECT
    newest.study, newest.trial, newest.attempt, newest.status, newest.epochs_done + 1 AS epoch,
    coalesce(string_split(newest.error, chr(10))[1], 'it ended without a word: killed, or the power went') AS error,
    newest.ended,
    coalesce(trials.status = 'finished', false) AS has_result
FROM newest
LEFT JOIN trials USING (study, trial)
WHERE newest.status NOT IN ('finished', 'paused')
ORDER BY newest.study, newest.ended DESC NULLS LAST, newest.trial;
COMMENT ON VIEW failures IS 'The trials whose newest attempt came to nothing, each with its error. Paused ones go on by themselves.';
COMMENT ON COLUMN failures.study IS 'study: one question about one body of data';
COMMENT ON COLUMN failures.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN failures.attempt IS 'number of that attempt, from 1';
COMMENT ON COLUMN failures.status IS 'failed, diverged (its loss was no number), interrupted or damaged';
COMMENT ON COLUMN failures.epoch IS 'the epoch in which it happened, from 1: the first that is not done';
COMMENT ON COLUMN failures.error IS 'why, in a sentence';
COMMENT ON COLUMN failures.ended IS 'when its record was written, UTC; NULL when interrupted';
COMMENT ON COLUMN failures.has_result IS 'whether an older attempt finished, so that the trial is in the leaderboard';
