-- The tables of results.duckdb. Everything in them comes from the records; nothing is kept here alone.
-- Each trial is represented by its newest finished attempt (its newest attempt, where none finished); `attempts` has all.
-- Times are UTC. Shares, recalls and the like go from 0 to 1.

CREATE TABLE about (name VARCHAR, value VARCHAR);
COMMENT ON TABLE about IS 'What this file is: version of its layout, DuckDB version, time of publishing.';
COMMENT ON COLUMN about.name IS 'layout, duckdb or published';
COMMENT ON COLUMN about.value IS 'the value as text; published is a UTC time';

CREATE TABLE studies (study VARCHAR, kind VARCHAR, number INTEGER, fingerprint VARCHAR, account JSON);
COMMENT ON TABLE studies IS 'What was noted about a study as a whole: the newest account of each kind.';
COMMENT ON COLUMN studies.study IS 'study: one question about one body of data';
COMMENT ON COLUMN studies.kind IS 'for example inventory, split or comparison';
COMMENT ON COLUMN studies.number IS 'how often this kind was noted with a new content, this one included';
COMMENT ON COLUMN studies.fingerprint IS 'stands for the content: equal fingerprint, equal content';
COMMENT ON COLUMN studies.account IS 'what was noted, as JSON';

CREATE TABLE files (
    study VARCHAR, path VARCHAR, class VARCHAR, recording VARCHAR, seconds DOUBLE, rate INTEGER, channels INTEGER,
    format VARCHAR, bytes BIGINT, modified_ns BIGINT, content_hash VARCHAR, sound_hash VARCHAR, peak DOUBLE,
    state VARCHAR, problem VARCHAR, at_seconds DOUBLE, heard_with VARCHAR
);
COMMENT ON TABLE files IS
    'The inventory: one row per file found in the source of a study, or per hit in it, the ones left out included.';
COMMENT ON COLUMN files.study IS 'study: one question about one body of data';
COMMENT ON COLUMN files.path IS 'path inside the source folder, with forward slashes';
COMMENT ON COLUMN files.class IS 'class: the folder the file lies in';
COMMENT ON COLUMN files.recording IS
    'what the file belongs to: the recording it was cut from, the person it shows; never split up between parts';
COMMENT ON COLUMN files.seconds IS 'seconds of sound, counted by decoding all of it; 0 for a picture';
COMMENT ON COLUMN files.rate IS 'samples per second (Hz) of the file; 0 for a picture';
COMMENT ON COLUMN files.channels IS 'channels of the sound, or bands of the picture: 1 is grey, 3 is colour';
COMMENT ON COLUMN files.format IS 'what the file really is, whatever its name says, for example wav/pcm_24 or png/rgb 640x480';
COMMENT ON COLUMN files.bytes IS 'bytes on disk';
COMMENT ON COLUMN files.modified_ns IS 'time of the last change of the file, nanoseconds since 1970 UTC';
COMMENT ON COLUMN files.content_hash IS 'SHA-256 of the bytes of the file';
COMMENT ON COLUMN files.sound_hash IS 'SHA-256 of the decoded samples or pixels: the same sound or picture in two formats agrees';
COMMENT ON COLUMN files.peak IS 'largest absolute sample, full scale is 1; 0 for a picture';
COMMENT ON COLUMN files.state IS 'ok, warned (used, look at problem) or rejected (left out)';
COMMENT ON COLUMN files.problem IS 'why it was warned about or rejected, in a sentence; empty when ok';
COMMENT ON COLUMN files.at_seconds IS 'where in the file the hit begins that the row stands for; NULL for a file as a whole';
COMMENT ON COLUMN files.heard_with IS 'other classes that begin within what is seen of a hit; NULL where it stands alone';

CREATE TABLE splits (
    study VARCHAR, path VARCHAR, class VARCHAR, recording VARCHAR, content_hash VARCHAR, part VARCHAR
);
COMMENT ON TABLE splits IS 'Which part each accepted file belongs to. Frozen: a file added later moves no other.';
COMMENT ON COLUMN splits.study IS 'study: one question about one body of data';
COMMENT ON COLUMN splits.path IS 'path inside the source folder, with forward slashes';
COMMENT ON COLUMN splits.class IS 'class of the file';
COMMENT ON COLUMN splits.recording IS 'what the file belongs to: a recording, a person; all of its files are in the same part';
COMMENT ON COLUMN splits.content_hash IS 'SHA-256 of the bytes of the file';
COMMENT ON COLUMN splits.part IS 'train, validation or test';

CREATE TABLE window_counts (study VARCHAR, part VARCHAR, class VARCHAR, windows BIGINT);
COMMENT ON TABLE window_counts IS 'How many windows each class has in each part, where the study counted them.';
COMMENT ON COLUMN window_counts.study IS 'study: one question about one body of data';
COMMENT ON COLUMN window_counts.part IS 'train, validation or test';
COMMENT ON COLUMN window_counts.class IS 'class';
COMMENT ON COLUMN window_counts.windows IS 'number of windows that the model sees; a picture is one';

CREATE TABLE attempts (
    study VARCHAR, trial VARCHAR, attempt INTEGER, status VARCHAR, run_id VARCHAR, started TIMESTAMP, ended TIMESTAMP,
    error VARCHAR, purpose VARCHAR, remarks VARCHAR, verdict VARCHAR, model_name VARCHAR, model_key VARCHAR, fingerprint VARCHAR,
    selection_metric VARCHAR, selection_value DOUBLE, higher_is_better BOOLEAN,
    seconds_spent DOUBLE, seconds_standalone DOUBLE, epochs_planned INTEGER, epochs_trained INTEGER,
    epochs_done INTEGER, best_epoch INTEGER, stopped_early BOOLEAN, precision VARCHAR, machine VARCHAR,
    micro_batch INTEGER, out_of_memory INTEGER, data_fingerprint VARCHAR, features_key VARCHAR, revision VARCHAR,
    config JSON, changes JSON
);
COMMENT ON TABLE attempts IS 'Every attempt at every trial, the failed and the interrupted ones included.';
COMMENT ON COLUMN attempts.study IS 'study: one question about one body of data';
COMMENT ON COLUMN attempts.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN attempts.attempt IS 'number of the attempt at this trial, from 1';
COMMENT ON COLUMN attempts.status IS
    'finished, failed, paused, diverged, interrupted (ended without a word: killed, power cut) or damaged (see error)';
COMMENT ON COLUMN attempts.run_id IS 'the Dagster run that made this attempt';
COMMENT ON COLUMN attempts.started IS 'when the attempt began, UTC';
COMMENT ON COLUMN attempts.ended IS 'when its record was written, UTC; NULL when interrupted';
COMMENT ON COLUMN attempts.error IS 'why it did not finish, in a sentence; NULL when it did';
COMMENT ON COLUMN attempts.purpose IS 'what the trial is meant to find out';
COMMENT ON COLUMN attempts.remarks IS
    'what to know before reading much into it, such as that it changes two settings at once; NULL: nothing';
COMMENT ON COLUMN attempts.verdict IS
    'what the study says of the trial by its own rules, such as good or trouble and why; NULL where it has none';
COMMENT ON COLUMN attempts.model_name IS 'name under which the model is exported';
COMMENT ON COLUMN attempts.model_key IS
    'key of the best model among the artifacts; trials that have the same one are the same model';
COMMENT ON COLUMN attempts.fingerprint IS 'stands for all that decides the numbers: configuration, data, revision';
COMMENT ON COLUMN attempts.selection_metric IS 'the validation metric that the winner is chosen by';
COMMENT ON COLUMN attempts.selection_value IS 'its value at the best epoch';
COMMENT ON COLUMN attempts.higher_is_better IS 'whether a higher selection_value is the better one';
COMMENT ON COLUMN attempts.seconds_spent IS 'seconds of wall clock that this attempt took';
COMMENT ON COLUMN attempts.seconds_standalone IS
    'seconds that all epochs of the trial took, whichever attempt or trial trained them: its cost if run alone';
COMMENT ON COLUMN attempts.epochs_planned IS 'epochs the configuration asks for';
COMMENT ON COLUMN attempts.epochs_trained IS 'epochs trained in this attempt; the others were found already trained';
COMMENT ON COLUMN attempts.epochs_done IS 'epochs the trial has in all';
COMMENT ON COLUMN attempts.best_epoch IS 'epoch whose weights are the model, from 1';
COMMENT ON COLUMN attempts.stopped_early IS 'whether it stopped before the planned epochs for lack of progress';
COMMENT ON COLUMN attempts.precision IS 'number format of the arithmetic: fp32 or bf16';
COMMENT ON COLUMN attempts.machine IS 'machine it ran on';
COMMENT ON COLUMN attempts.micro_batch IS 'samples put through at once; smaller than the batch after running out of memory';
COMMENT ON COLUMN attempts.out_of_memory IS 'how many times memory ran out and the micro-batch was halved';
COMMENT ON COLUMN attempts.data_fingerprint IS 'stands for the data: trials compare only where it is the same';
COMMENT ON COLUMN attempts.features_key IS 'key of the features among the artifacts';
COMMENT ON COLUMN attempts.revision IS 'revision of the study: changes when code changes what the numbers mean';
COMMENT ON COLUMN attempts.config IS 'the whole configuration, as JSON';
COMMENT ON COLUMN attempts.changes IS 'what differs from the defaults: setting to [before, after], as JSON';

-- The columns of attempts; where nothing is said about one here, it is what it is there.
CREATE TABLE trials AS FROM attempts LIMIT 0;
COMMENT ON TABLE trials IS 'One row per trial: its newest finished attempt, or its newest attempt where none finished.';
COMMENT ON COLUMN trials.attempt IS 'number of the attempt that this row and all other tables show';

CREATE TABLE settings (
    study VARCHAR, trial VARCHAR, setting VARCHAR, value VARCHAR, number DOUBLE, changed BOOLEAN, before VARCHAR
);
COMMENT ON TABLE settings IS 'The configuration of each trial, one row per setting, to join and filter by.';
COMMENT ON COLUMN settings.study IS 'study: one question about one body of data';
COMMENT ON COLUMN settings.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN settings.setting IS 'name of the setting, with dots where settings are nested';
COMMENT ON COLUMN settings.value IS 'its value as text';
COMMENT ON COLUMN settings.number IS 'its value as a number; NULL where it is none';
COMMENT ON COLUMN settings.changed IS 'whether the trial says it differently from the defaults of the study';
COMMENT ON COLUMN settings.before IS 'what the defaults say, where changed';

CREATE TABLE epochs (
    study VARCHAR, trial VARCHAR, epoch INTEGER, part VARCHAR, metric VARCHAR, value DOUBLE, seconds DOUBLE,
    key VARCHAR
);
COMMENT ON TABLE epochs IS 'Every metric of every epoch of every trial.';
COMMENT ON COLUMN epochs.study IS 'study: one question about one body of data';
COMMENT ON COLUMN epochs.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN epochs.epoch IS 'epoch, from 1';
COMMENT ON COLUMN epochs.part IS 'train or validation';
COMMENT ON COLUMN epochs.metric IS 'for example loss, accuracy, macro_f1, lr';
COMMENT ON COLUMN epochs.value IS 'value of the metric; NULL where it was not a number';
COMMENT ON COLUMN epochs.seconds IS 'seconds of wall clock that the epoch took (the same in all rows of the epoch)';
COMMENT ON COLUMN epochs.key IS 'key of the training state after the epoch; trials that share it trained it once';

CREATE TABLE metrics (
    study VARCHAR, trial VARCHAR, part VARCHAR, level VARCHAR, metric VARCHAR, class VARCHAR, value DOUBLE,
    low DOUBLE, high DOUBLE
);
COMMENT ON TABLE metrics IS 'What the model of each trial reaches, in tidy form: one row per number.';
COMMENT ON COLUMN metrics.study IS 'study: one question about one body of data';
COMMENT ON COLUMN metrics.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN metrics.part IS 'train, validation or test';
COMMENT ON COLUMN metrics.level IS 'what is counted: recording, or a smaller unit such as window';
COMMENT ON COLUMN metrics.metric IS 'for example accuracy, macro_f1, recall, precision, f1, support';
COMMENT ON COLUMN metrics.class IS 'class, for metrics of one class; NULL for metrics over all';
COMMENT ON COLUMN metrics.value IS 'the number';
COMMENT ON COLUMN metrics.low IS 'lower end of its 95 % interval over recordings';
COMMENT ON COLUMN metrics.high IS 'upper end of its 95 % interval over recordings';

CREATE TABLE confusion (
    study VARCHAR, trial VARCHAR, part VARCHAR, level VARCHAR, actual VARCHAR, predicted VARCHAR, count BIGINT
);
COMMENT ON TABLE confusion IS 'What was taken for what.';
COMMENT ON COLUMN confusion.study IS 'study: one question about one body of data';
COMMENT ON COLUMN confusion.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN confusion.part IS 'validation or test';
COMMENT ON COLUMN confusion.level IS 'what is counted: recording, or a smaller unit such as window';
COMMENT ON COLUMN confusion.actual IS 'class it is';
COMMENT ON COLUMN confusion.predicted IS 'class it was taken for';
COMMENT ON COLUMN confusion.count IS 'how many times';

CREATE TABLE predictions (
    study VARCHAR, trial VARCHAR, part VARCHAR, level VARCHAR, recording VARCHAR, path VARCHAR, window_number INTEGER,
    start_seconds DOUBLE, actual VARCHAR, predicted VARCHAR, confidence DOUBLE, probabilities FLOAT[]
);
COMMENT ON TABLE predictions IS 'What the model said about each recording and each window outside the training part.';
COMMENT ON COLUMN predictions.study IS 'study: one question about one body of data';
COMMENT ON COLUMN predictions.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN predictions.part IS 'validation or test';
COMMENT ON COLUMN predictions.level IS 'recording: one row per file; or a smaller unit such as window';
COMMENT ON COLUMN predictions.recording IS 'what its file belongs to: a recording, a person';
COMMENT ON COLUMN predictions.path IS 'file it lies in, inside the source folder; NULL where a row speaks of several files';
COMMENT ON COLUMN predictions.window_number IS 'number of the window in its file, from 0; NULL or -1 for recordings';
COMMENT ON COLUMN predictions.start_seconds IS 'where the window begins in its file, seconds';
COMMENT ON COLUMN predictions.actual IS 'class it is';
COMMENT ON COLUMN predictions.predicted IS 'class it was taken for';
COMMENT ON COLUMN predictions.confidence IS 'probability given to the predicted class';
COMMENT ON COLUMN predictions.probabilities IS 'probability of every output of the network: the classes of the study in its order';

CREATE TABLE draws (study VARCHAR, trial VARCHAR, epoch INTEGER, class VARCHAR, count BIGINT);
COMMENT ON TABLE draws IS 'How many training windows of each class an epoch drew: what balancing really did.';
COMMENT ON COLUMN draws.study IS 'study: one question about one body of data';
COMMENT ON COLUMN draws.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN draws.epoch IS 'epoch, from 1';
COMMENT ON COLUMN draws.class IS 'class';
COMMENT ON COLUMN draws.count IS 'windows drawn, repetitions included';

CREATE TABLE scores (
    study VARCHAR, trial VARCHAR, part VARCHAR, recording VARCHAR, path VARCHAR, metric VARCHAR, value DOUBLE
);
COMMENT ON TABLE scores IS 'What the model of each trial reaches on every single file, where files have numbers instead of classes.';
COMMENT ON COLUMN scores.study IS 'study: one question about one body of data';
COMMENT ON COLUMN scores.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN scores.part IS 'validation or test';
COMMENT ON COLUMN scores.recording IS 'what the file belongs to: a recording, a speaker, a song';
COMMENT ON COLUMN scores.path IS 'the file, inside the source folder';
COMMENT ON COLUMN scores.metric IS 'for example si_sdr (dB), si_sdr_improvement (dB), snr (dB), stoi (0 to 1), event_f1 (0 to 1)';
COMMENT ON COLUMN scores.value IS 'the number; a file on which the metric is not defined has no row';

CREATE TABLE comparisons (
    study VARCHAR, trial VARCHAR, against VARCHAR, part VARCHAR, recordings INTEGER, better_on INTEGER,
    worse_on INTEGER, difference DOUBLE, low DOUBLE, high DOUBLE, p_value DOUBLE, verdict VARCHAR
);
COMMENT ON TABLE comparisons IS 'Each trial against the leader, recording by recording: is the difference real?';
COMMENT ON COLUMN comparisons.study IS 'study: one question about one body of data';
COMMENT ON COLUMN comparisons.trial IS 'trial: one configuration of a study';
COMMENT ON COLUMN comparisons.against IS 'the trial it is compared with: the leader';
COMMENT ON COLUMN comparisons.part IS 'part whose recordings were compared: validation or test';
COMMENT ON COLUMN comparisons.recordings IS 'number of recordings that both judged';
COMMENT ON COLUMN comparisons.better_on IS
    'recordings that only this trial got right (groups of files of several classes: more files of; scores: a better one)';
COMMENT ON COLUMN comparisons.worse_on IS
    'recordings that only the leader got right (groups of files of several classes: more files of; scores: a better one)';
COMMENT ON COLUMN comparisons.difference IS
    'difference of their shares of right recordings, or of their mean scores; below 0 it is behind the leader';
COMMENT ON COLUMN comparisons.low IS 'lower end of the 95 % interval of the difference, whole recordings drawn again';
COMMENT ON COLUMN comparisons.high IS 'upper end of the 95 % interval of the difference';
COMMENT ON COLUMN comparisons.p_value IS 'how often chance alone would make them differ this much (paired test); small is sure';
COMMENT ON COLUMN comparisons.verdict IS 'the comparison in words';

CREATE TABLE importance (
    study VARCHAR, setting VARCHAR, main DOUBLE, total DOUBLE, partner VARCHAR, together DOUBLE, trials BIGINT,
    whole BOOLEAN
);
COMMENT ON TABLE importance IS
    'How much each setting decides over selection_value: shares of its variance over the grid of all settings that differ.';
COMMENT ON COLUMN importance.study IS 'study: one question about one body of data';
COMMENT ON COLUMN importance.setting IS 'name of the setting, with dots where settings are nested';
COMMENT ON COLUMN importance.main IS 'share of the variance (0 to 1) that the setting decides by itself';
COMMENT ON COLUMN importance.total IS
    'share that it has a part in, together with other settings too; far above main: it depends on the others';
COMMENT ON COLUMN importance.partner IS 'the setting whose interaction with it is the largest; NULL where there is none';
COMMENT ON COLUMN importance.together IS 'share of the variance that this pair decides beyond both alone';
COMMENT ON COLUMN importance.trials IS 'number of trials that it was computed from';
COMMENT ON COLUMN importance.whole IS
    'whether the trials fill the grid, so that the shares are exact; else a random forest filled in the rest';

CREATE TABLE row_counts (study VARCHAR, trial VARCHAR, kind VARCHAR, table_name VARCHAR, number INTEGER, rows BIGINT);
COMMENT ON TABLE row_counts IS 'How many rows each record brought to each table: every publishing checks the tables by it.';
COMMENT ON COLUMN row_counts.study IS 'study: one question about one body of data';
COMMENT ON COLUMN row_counts.trial IS 'trial the record is of; NULL for records of a whole study';
COMMENT ON COLUMN row_counts.kind IS 'kind of account, for records of a whole study; NULL for trials';
COMMENT ON COLUMN row_counts.table_name IS 'table the rows are in';
COMMENT ON COLUMN row_counts.number IS 'number of the attempt, or of the account of a study';
COMMENT ON COLUMN row_counts.rows IS 'how many rows';
