"""The `Study` class: what describes a study, and everything that changes it.

A `Study` is cheap to create: for a stored study, only the settings are read. It keeps no connection open. `run`, `ask`,
`tell` and a few more open a session, which `study_run` and `study_asking` set up. All questions about a study, such as
`front`, are in `study_reading`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, final

from lightning_hwtune.core.added_results import checked_result, is_same_result
from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.continuation import (
    kept_allocation,
    kept_objectives,
    kept_pool,
    kept_scheduler,
    kept_searcher,
    kept_space,
)
from lightning_hwtune.core.decisions import Rule
from lightning_hwtune.core.hardware.policies import POLICY_REGISTRY
from lightning_hwtune.core.hardware.policy import AllocationPolicy
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.hardware.scaling import ScalingProfile
from lightning_hwtune.core.objectives import Objective, Objectives
from lightning_hwtune.core.parameters import Parameter
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.core.replication import Replication
from lightning_hwtune.core.schedulers import SCHEDULER_REGISTRY, Scheduler, scheduler_or_horizon, with_horizon
from lightning_hwtune.core.searchers import Searcher, default_searcher
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.engine.check import Check
from lightning_hwtune.engine.checkpoint_tests import untested
from lightning_hwtune.engine.devices import on_allocated_nodes, resolve
from lightning_hwtune.engine.earlier_studies import auto_prior
from lightning_hwtune.engine.executors import abilities_of_choice
from lightning_hwtune.engine.open_sessions import OpenSession, session_of, take_over
from lightning_hwtune.engine.payload import stored_function
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.engine.refitting import verify_weights
from lightning_hwtune.engine.replicating import prepared
from lightning_hwtune.engine.session import Session
from lightning_hwtune.errors import (
    ArgumentError,
    StudyFailedError,
    StudyMismatchError,
    StudyNotFoundError,
    TrialError,
    first_line,
)
from lightning_hwtune.forms import FORMS, checked_call, parse_bytes
from lightning_hwtune.forms.containers import mapping
from lightning_hwtune.forms.given import given_to_call
from lightning_hwtune.forms.run_options import (
    ASK_OPTIONS,
    LIMITS,
    REPLICATE_OPTIONS,
    RUN_OPTIONS,
    AskOptions,
    ReplicateOptions,
    RunOptions,
)
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.host.session_signals import Signals
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.plugins import Registry
from lightning_hwtune.searchers.optuna_sampler import form_of
from lightning_hwtune.settings.finalists import finalists
from lightning_hwtune.settings.run_rules import limits_of
from lightning_hwtune.settings.study_parts import FILE_SEARCHERS, named
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.study_asking import opened_session
from lightning_hwtune.study_reading import Result, StudyReading
from lightning_hwtune.study_run import Run, TestFunction, TrainFunction, check_training, profile_training, test_study
from lightning_hwtune.text import to_start_over

if TYPE_CHECKING:
    import pandas as pd

    from lightning_hwtune.training.trial import Trial

__all__ = ["Study"]

_T = TypeVar("_T")
_NAMED = mapping("a name, or a mapping with a name and options", or_text=True)
_FAILED = "study.tell(trial, error='why') for a failure; without an error the study sets the state by itself"
_VALUES = "trial.report(1, val_loss=0.5), or log it in the validation: study.tell(trial, error) takes no values"


@final
class Study(StudyReading):
    """A multi-objective study of one training function.

    Args:
        name: name of the study's folder in `dir`. A study that already exists there is continued.
        space: the parameters, as a `SearchSpace` or a mapping from name to parameter. Hardware is a parameter too
            (`NumDevices`).
        objectives: `Metric("val_loss", "min")`, `TrainSeconds()`, ... The first one breaks ties and determines `best`.
        constraints: bounds on quantities that are not objectives, e.g. `[Constraint("params", at_most=1e6)]`. Bounds on
            metrics to optimise are given there: `Metric("val_error", "min", at_most=0.2)`.
        scheduler: decides which trials continue, e.g. `ASHA(max_epochs=27)`. For `scheduler`, `searcher` and
            `allocation`, you can also give what a study file has: a name, an import path, or a mapping with the `name`
            and the options, e.g. `{"name": "my_rules:BetterHalf", "max_epochs": 27}`.
        max_epochs, max_steps, max_samples: the length of a full training, in place of a scheduler. `max_epochs=27`
            means `scheduler=ASHA(max_epochs=27)`.
        searcher: proposes the configurations to try; `TPE()` by default.
        prior: "auto" learns once, when the study begins, from the finished studies in the same store that share
            parameters with this one and have the same objectives (`engine.earlier_studies`). None: learn nothing.
        pool: the devices and their price. The default is all visible GPUs or, without GPUs, the CPU cores.
        allocation: the policy that chooses the devices of each trial, e.g. `FixedAllocation(2)`. The default is the
            value of the space's `NumDevices` or, without one, a single device.
        dir: the folder that contains the studies.
        storage: SQLAlchemy URL of a database to use instead of the study's own SQLite file.
        seed: seed of all random draws.
        batch: "global" (the number of devices changes only time and cost) or "per_device".
        disk_budget: maximum size of all checkpoints together, in bytes or as text, e.g. "20GB"; None = unlimited.
        max_retries: how often a failed trial is retried from its last checkpoint.
        max_failures: the study ends when this many trials have failed.

    Raises:
        ArgumentError, UnknownArgumentError: an argument is not allowed; the message says what is allowed.
        StudyMismatchError: the stored study has a different space, objectives, constraints, scheduler, seed or batch.

    Examples:
        >>> def train(trial):
        ...     trial.report(1, val_loss=trial["lr"])
        >>> study = hwt.Study("rates", {"lr": hwt.Choice([0.1, 0.01])}, [hwt.Metric("val_loss", "min")], max_epochs=1)
        >>> done = study.run(train, max_trials=2, executor="inline", check=False, progress=False)
        >>> done.best.config
        {'lr': 0.01}
    """

    _asked: OpenSession | None = None
    _train: TrainFunction | None = None

    @checked_call("Study", elsewhere={name: f"study.run({name}=...)" for name in FORMS["Study.run"]})
    def __init__(
        self,
        name: str,
        space: SearchSpace | Mapping[str, Parameter],
        objectives: Sequence[Objective] | Objectives,
        *,
        constraints: Sequence[Constraint] = (),
        scheduler: Scheduler | str | Mapping[str, Any] | None = None,
        max_epochs: int | None = None,
        max_steps: int | None = None,
        max_samples: int | None = None,
        searcher: Searcher | str | Mapping[str, Any] | None = None,
        prior: str | None = None,
        pool: Pool | None = None,
        allocation: AllocationPolicy | str | Mapping[str, Any] | None = None,
        dir: str | Path = FILE_KEYS["dir"].default,  # noqa: A002 - the agreed public name
        storage: str | None = None,
        seed: int = FILE_KEYS["seed"].default,
        batch: str = FILE_KEYS["batch"].default,
        disk_budget: int | str | None = FILE_KEYS["disk_budget"].default,
        max_retries: int = FILE_KEYS["max_retries"].default,
        max_failures: int = FILE_KEYS["max_failures"].default,
    ) -> None:
        given, is_chosen = given_to_call(), scheduler is not None
        if not isinstance(space, SearchSpace):
            _require(space, Mapping, "space", "SearchSpace(lr=Float(1e-4, 1e-1, log=True), ...), or a mapping")
            space = SearchSpace(space)
        horizon = {"max_epochs": max_epochs, "max_steps": max_steps, "max_samples": max_samples}
        if isinstance(scheduler, str | Mapping):
            scheduler, horizon = with_horizon(_read_once("scheduler", scheduler), horizon)
        scheduler = _part("scheduler", SCHEDULER_REGISTRY, scheduler)
        searcher = _part("searcher", FILE_SEARCHERS, searcher)
        allocation = _part("allocation", POLICY_REGISTRY, allocation)
        scheduler = scheduler_or_horizon(scheduler, horizon)
        if form := form_of(searcher):
            raise ArgumentError("searcher", searcher, "a searcher such as Random(), or None", hint=form)
        _require(searcher, Searcher | None, "searcher", "a searcher such as Random(), or None")
        _require(pool, Pool | None, "pool", "a Pool such as Pool(devices=2), or None")
        pool = None if pool is None else on_allocated_nodes(pool)
        _require(allocation, AllocationPolicy | None, "allocation", "a policy such as FixedAllocation(2), or None")
        if prior is not None and searcher is not None:
            raise ArgumentError("prior", prior, "None if `searcher` is given, because a prior is a searcher, too")
        objectives = Objectives(objectives, constraints)
        files = StudyFiles(Path(dir), name, budget_bytes=parse_bytes(disk_budget))
        reader = Reader(files, storage)
        simple: dict[str, Any] = {"seed": seed, "batch": batch}
        simple |= {"max_retries": max_retries, "max_failures": max_failures}
        stored = reader.begun()
        if stored is not None:  # what is not given keeps its stored value
            simple |= {key: getattr(stored, key) for key in simple if key not in given}
            scheduler = kept_scheduler(stored, scheduler, is_chosen=is_chosen)
            objectives = kept_objectives(stored, objectives, is_constrained="constraints" in given)
            pool = kept_pool(stored, pool)
            allocation = kept_allocation(stored, allocation)
            searcher = kept_searcher(stored, searcher)
            space = kept_space(stored, space)
        space = space.constrained(None) if simple["batch"] == "per_device" else space
        if stored is None and prior == "auto":
            searcher = _auto_prior(space, objectives, files, storage, reader)
        spec = StudySpec(
            name=name,
            space=space,
            objectives=objectives,
            scheduler=scheduler,
            searcher=searcher or default_searcher(),
            pool=resolve(pool or Pool()),
            allocation=allocation,
            **simple,
        )
        spec.check_rebuilds()
        super().__init__(spec, files, storage, reader)
        if stored is not None and (differences := stored.differences(spec)):
            facts = reader.state()
            is_unused = facts is not None and not any(trial.measurements for trial in facts.trials)
            raise StudyMismatchError(name, differences, to_start_over(files.root, storage) if is_unused else "")

    @classmethod
    @checked_call("Study.load")
    def load(
        cls,
        name: str,
        dir: str | Path = FILE_KEYS["dir"].default,  # noqa: A002 - as above
        *,
        storage: str | None = None,
        disk_budget: int | str | None = FILE_KEYS["disk_budget"].default,
    ) -> Study:
        """Returns a stored study with the settings it was created with.

        Args:
            disk_budget: as for `Study`. It is not stored with the study, because it belongs to the machine.

        Raises:
            StudyNotFoundError: there is no study with this name.
        """
        files = StudyFiles(Path(dir), name, budget_bytes=parse_bytes(disk_budget))
        reader = Reader(files, storage)
        spec = reader.spec()
        if spec is None:
            raise StudyNotFoundError(f"study {name!r} in {str(dir)!r} has not begun")
        study = cls.__new__(cls)
        StudyReading.__init__(study, spec, files, storage, reader)
        return study

    # ------------------------------------------------------------------ running

    @checked_call("Study.check")
    def check(self, train: TrainFunction, *, preload: Sequence[str] = ()) -> Check:
        """Checks the training on shortened epochs of the first configurations, in child processes; returns a summary.

        Raises:
            MetricError: an objective is not logged.
            TrialError: the training code failed.
            ArgumentError: this machine has fewer GPUs than the study was created with.
        """
        return check_training(self._spec, self._files, self._reader, train, preload)

    @checked_call("Study.profile")
    def profile(
        self,
        train: TrainFunction,
        *,
        devices: Sequence[int] | None = None,
        steps: int = 20,
        global_batch: int | None = None,
        preload: Sequence[str] = (),
    ) -> ScalingProfile:
        """Measures a few warm steps on several numbers of devices, in child processes, and writes `profile.json`.

        Each number of devices is measured at the global batch, and one device also at smaller batches. The first steps
        of each process do not count. `profile(train).model()` is the `ScalingModel` of the measurements.

        Args:
            train: the training function, as for `run`. It trains with a Trainer.
            devices: numbers of devices; default: those that the study may use, or powers of two up to the pool.
            steps: how many batches to measure per size.
            global_batch: the batch over all devices; default: that of the study's first configuration.
            preload: modules that the processes import in advance, as for `run`.

        Raises:
            MetricError: an objective is not logged.
            TrialError: the training code failed, or trains without a Trainer.
            ArgumentError: the devices cannot share the batch, or are not in the pool.
        """
        options = {"devices": devices, "steps": steps, "global_batch": global_batch}
        return profile_training(self._spec, self._files, self._reader, train, preload, **options)

    @checked_call(
        "Study.run", elsewhere={name: f"Study(..., {name}=...)" for name in FORMS["Study"]}, options=RUN_OPTIONS
    )
    def run(self, train: TrainFunction, **options: Unpack[RunOptions]) -> Study:
        """Runs or continues the study until a limit is reached or nothing is left to do; returns itself.

        All limits are totals over all runs of the study. Ctrl-C ends the running trials cleanly; the same call
        continues the study.

        Args:
            train: a function that takes a `Trial` and trains it, e.g. with `trial.fit(model, data)`.
            options: the limits and options of the run; `forms.run_options.RunOptions` lists them.

        Raises:
            TrialError: the training failed before the study's first report; the error contains the traceback.
            StudyFailedError: `max_failures` trials failed. All results are stored and can be read.
            StudyLockedError: another process is running this study.
            ArgumentError: an argument is not allowed, or this machine has fewer GPUs than the study was created with.
        """
        others: dict[str, Any] = {name: value for name, value in options.items() if name not in LIMITS}
        limits, given = limits_of(options), given_to_call()
        if abilities_of_choice(options["executor"]).max_segments is not None:  # a limit of the executor, not a default
            given |= {"max_parallel"}
        run = Run(
            spec=self._spec,
            files=self._files,
            storage=self._storage,
            reader=self._reader,
            train=train,
            limits=limits,
            given=given,
            **others,
        )
        self._drive(run)
        return self

    def _drive(self, run: Run) -> None:
        self.close()
        self._train = run.train
        done = run.drive()
        if done.reason.rule == Rule.MAX_FAILURES:
            from lightning_hwtune.views.study_location import located

            last, why = self.state().last_failed, located(spelled(done.reason.text), self.dir, self._storage)
            raise StudyFailedError(self.name, why, first_line(last.error) if last else "")

    @checked_call(
        "Study.replicate",
        elsewhere={name: f"study.run(train, {name}=...)" for name in RUN_OPTIONS if name not in REPLICATE_OPTIONS},
        options=REPLICATE_OPTIONS,
    )
    def replicate(
        self,
        front: pd.DataFrame | Sequence[int] | Result | int | None = None,
        seeds: int = 3,
        *,
        train: TrainFunction | None = None,
        **options: Unpack[ReplicateOptions],
    ) -> pd.DataFrame:
        """Trains finalists again to the end with other seeds; returns their mean and spread, as `replicates` does.

        A replicate has the configuration and the devices of its trial. It is in the study's log and counts towards
        `max_time` and `max_cost`, but the search never sees it. The search must have ended. The same call continues
        after an interruption, and a higher number of seeds adds replicates.

        Args:
            front: the trials to repeat: numbers, results such as `study.best`, or a data frame with the column `trial`,
                such as rows of `study.front()`. None: the front.
            seeds: how many replicates each of them gets.
            train: the training function; None: that of the newest run.
            options: the limits and options; `forms.run_options.ReplicateOptions` lists them. A limit that is not given
                is that of the search.

        Raises:
            ArgumentError: the search has not ended, a trial is not fully trained, the time or money of the study is
                used, or the training function is not known.
            StudyNotFoundError: the study has not begun.
            StudyLockedError: another process is running this study.
        """
        self._train_again(finalists(self.state(), front), seeds, train, options, given_to_call())
        return self.replicates()

    def _train_again(
        self,
        numbers: Sequence[int],
        seeds: int,
        train: TrainFunction | None,
        options: ReplicateOptions,
        given: frozenset[str],
        refit: str = "",
    ) -> None:
        """Trains replicates, or refits, of these trials."""
        others: dict[str, Any] = {name: value for name, value in options.items() if name not in LIMITS}
        most = abilities_of_choice(options["executor"]).max_segments
        limits = {name: options[name] for name in LIMITS if name in given}  # type: ignore[literal-required]
        if most is not None:
            limits["max_parallel"] = min(limits.get("max_parallel") or most, most)
        self.close()
        state = self._reader.race_state(self._spec)
        assert state is not None
        wanted, all_limits = prepared(state, numbers, seeds, limits, refit)
        run = Run(
            spec=self._spec,
            files=self._files,
            storage=self._storage,
            reader=self._reader,
            train=train or self._train or stored_function(self._files.root),
            limits=all_limits,
            given=given,
            check=False,
            replication=wanted,
            **others,
        )
        self._drive(run)

    @checked_call(
        "Study.refit",
        elsewhere={name: f"study.run(train, {name}=...)" for name in RUN_OPTIONS if name not in REPLICATE_OPTIONS},
        options=REPLICATE_OPTIONS,
    )
    def refit(
        self,
        trial: Result | int,
        train: TrainFunction | None = None,
        *,
        from_checkpoint: bool = False,
        again: bool = False,
        **options: Unpack[ReplicateOptions],
    ) -> Result:
        """Trains the configuration of one trial again, e.g. on all data; returns the result, with its checkpoint.

        The refit is a trial of the study, with its own number, log and checkpoint, and counts towards `max_time` and
        `max_cost`, but the search never sees it. It trains as long as the trial did, and need not report the
        objectives: those that it does not log are NaN. The search must have ended. The same call continues after an
        interruption, and returns the result if the refit is complete.

        Args:
            trial: a fully trained trial: its number, or a result such as `study.best`.
            train: the training function, e.g. one that trains on all data; None: that of the newest run.
            from_checkpoint: whether the model begins with the weights of the trial's checkpoint instead of new ones.
            again: whether to train a further refit if one is complete.
            options: the limits and options; `forms.run_options.ReplicateOptions` lists them. A limit that is not given
                is that of the search.

        Raises:
            ArgumentError: the search has not ended, the trial is not fully trained or has no checkpoint, the time or
                money of the study is used, or the training function is not known.
            TrialError: the refit failed.
            StudyNotFoundError: the study has not begun.
            StudyLockedError: another process is running this study.
        """
        numbers, given = finalists(self.state(), [trial], "trial"), given_to_call()
        begin = "checkpoint" if from_checkpoint else "scratch"
        wanted = Replication((numbers[0],), 1, begin)
        complete = [found for found in self._refits(wanted) if found.state is TrialState.COMPLETED]
        if not complete or again:
            n_ended = sum(found.state.is_final for found in self._refits(wanted))
            if from_checkpoint:
                verify_weights(self.state(), self._files, numbers[0])
            self._train_again(numbers, n_ended + 1, train, options, given, begin)
        last = self._refits(wanted)[-1]
        if last.state is not TrialState.COMPLETED or last.last is None:
            raise TrialError(f"the refit of trial {numbers[0]} (trial {last.trial_id}) is {last.state}: {last.error}")
        saved = last.checkpoint
        path = self._files.present(saved.path) if saved is not None else None
        values = {name: last.last.values[name] for name in self._spec.objectives.names}
        return Result(last.trial_id, last.config, last.num_devices, values, last.resource, path)

    def _refits(self, wanted: Replication) -> list[TrialRecord]:
        return wanted.known(self.state(), wanted.trials[0])

    @checked_call("Study.test")
    def test(
        self,
        function: TestFunction,
        trials: pd.DataFrame | Sequence[int] | Result | int | None = None,
        *,
        again: bool = False,
        preload: Sequence[str] = (),
        progress: bool = True,
    ) -> pd.DataFrame:
        """Tests the checkpoints of the front with your function; returns the results, one row per trial.

        Each test runs in a fresh process on one device, with the trial's checkpoint as `trial.ckpt_path`. The results
        are stored: `front`, `trials` and exports have them as the columns `test/<name>`. A test that fails is reported
        in the column `failure`, and the others continue. The same call after an interruption tests what is missing.

        Args:
            function: takes a `Trial`; returns numbers by name, or what `Trainer.test` returns.
            trials: the trials to test: numbers, results such as `study.best`, or a data frame with the column `trial`.
                None: the front.
            again: whether to repeat tests that have a result, e.g. after a change of the function.
            preload: modules that the processes import in advance, as for `run`.
            progress: whether to print one line per test.

        Raises:
            ArgumentError: a trial does not exist, or has no checkpoint; or the function cannot be used.
            StudyNotFoundError: the study has not begun.
            StudyLockedError: another process is running this study.
        """
        from lightning_hwtune.views.kept_values import tests_frame, untouched_lines
        from lightning_hwtune.views.live import printer

        state = self.state()
        numbers = finalists(state, trials, "trials")
        left = untested(state, numbers, again=again)
        for line in untouched_lines(state, [number for number in numbers if number not in left]):
            printer(enabled=progress)(line)
        if left:
            self.close()
            test_study(
                self._spec, self._files, self._storage, function, left, preload,
                closed=state.closed, progress=progress,
            )  # fmt: skip
            state = self.state()
        return tests_frame(state, numbers)

    def refuse_foreign_folder(self) -> None:
        """Checks that the study may run in its folder; changes nothing. `run` calls this itself.

        Raises:
            StorageError: the folder contains trials of another study, or of a study whose log is not here.
        """
        self._reader.refuse_foreign(self._spec)

    @checked_call("Study.enqueue")
    def enqueue(self, *configs: Mapping[str, Any]) -> None:
        """Queues configurations, which are tried before those of the searcher.

        A configuration is skipped if it is already queued or has a trial that did not fail. So running a script again
        adds nothing, and a configuration that failed is tried once more.

        Raises:
            ArgumentError: a configuration is not in the search space. In this case none is queued.
        """
        valid = [self._spec.space.validate(config) for config in configs]
        if (asked := self._open_session()) is not None:
            self._enqueue(asked.session, valid)
            return
        state = self._replayed()
        if state is not None and all(map(state.knows, valid)):
            return
        with Signals():
            take_over(self._files.root, self._storage)
            with Session(self._spec, self._files, None, storage=self._storage) as session:
                self._enqueue(session, valid)

    @staticmethod
    def _enqueue(session: Session, configs: Sequence[Mapping[str, Any]]) -> None:
        for config in configs:
            if not session.controller.state.knows(config):
                session.controller.enqueue(config, session.clock.now())

    @checked_call("Study.add")
    def add(self, config: Mapping[str, Any], values: Mapping[str, float], resource: int | None = None) -> None:
        """Adds a result from elsewhere, such as another tool or an earlier script, from which the searcher learns.

        It is stored in the log, but is not a trial: it is not on the front, and does not count towards a limit. A
        result that was added before is ignored, so running a script again adds nothing.

        Args:
            config: a value for each parameter.
            values: a number for each objective; NaN means that the training diverged. Values of constraints may be
                added; without them, the result counts as feasible.
            resource: the epochs (or steps, samples) that it was trained; None for a full training.

        Raises:
            ArgumentError: the configuration is not in the search space, an objective has no value, or the resource is
                below the first rung or above a full training.
        """
        to = self._spec.scheduler.ladder.top if resource is None else resource
        new = checked_result(self._spec, config, values, to, 0.0)
        if (asked := self._open_session()) is not None:
            asked.session.controller.add_result(config, values, to, asked.session.clock.now())
            return
        state = self._replayed()
        if state is not None and any(is_same_result(known, new) for known in state.added):
            return
        with Signals():
            take_over(self._files.root, self._storage)
            with Session(self._spec, self._files, None, storage=self._storage) as session:
                session.controller.add_result(config, values, to, session.clock.now())

    # ------------------------------------------------------------------ ask and tell

    @checked_call("Study.ask", options=ASK_OPTIONS)
    def ask(self, **options: Unpack[AskOptions]) -> Trial | None:
        """Returns the next trial to train in this process, or None when nothing is left. For users with their own loop.

        Until `tell` is called, a Trainer with `RungCallback()` (or `trial.report`) in this process reports for this
        trial. The arguments take effect only in the first call. Without `max_trials`, trials are returned as long as
        the searcher proposes configurations. If another `Study` object of the same study in this thread (e.g. from an
        earlier run of a notebook cell) has an open trial, that trial is abandoned.

        Args:
            options: the limits of the study, how often it saves, and whether it prints;
                `forms.run_options.AskOptions` lists them.

        Raises:
            ArgumentError: `tell` was not called for the last trial.
            StudyLockedError: another process or thread is running the study, or this process is training another study.
        """
        with Signals():
            asked = self._open_session() or self._opened(options, given_to_call())
            trial = asked.manual.ask()
            if trial is None:
                asked.close()
            return trial

    def _opened(self, options: AskOptions, given: frozenset[str]) -> OpenSession:
        self._asked = opened_session(self, self._spec, self._files, self._storage, given, options)
        return self._asked

    def _open_session(self) -> OpenSession | None:
        """Returns the session of ask and tell; None if this object has none, or another object has taken it over."""
        asked = self._asked
        return asked if asked is not None and asked.is_open and asked.is_of_this_process else None

    @checked_call(
        "Study.tell",
        elsewhere={**dict.fromkeys(("value", "values"), _VALUES), **dict.fromkeys(("state", "status"), _FAILED)},
    )
    def tell(self, trial: Trial, error: BaseException | str | None = None) -> str:
        """Ends this segment of the trial after its training is over; returns the trial's new state.

        Metric values are not passed here, because `RungCallback` or `trial.report` has already reported them. The trial
        may come from an earlier object of the same study, as after the cell that creates the study was run again.

        Args:
            error: the exception that the training raised, or a text that says what went wrong; None if nothing failed.

        Raises:
            ArgumentError: `error` has another type, `ask` did not return this trial, or `tell` was already called for
                it.
        """
        asked = self._open_session() or session_of(trial, self, self._files.root, self._storage)
        if asked is None:
            raise ArgumentError("trial", trial, "a trial that ask() returned and that was not passed to tell() before")
        self._asked = asked
        with Signals():
            return asked.manual.tell(trial, error)

    @checked_call("Study.close")
    def close(self) -> None:
        """Ends the session that `ask` opened, including one of another object of this study in this thread.

        A trial without a `tell` is abandoned and resumes in a later session. The session also ends by itself when `ask`
        has nothing left to return, and when the process exits.
        """
        with Signals():
            if (asked := self._open_session()) is not None:
                asked.close()
            take_over(self._files.root, self._storage)


def _part(argument: str, registry: Registry[_T], given: _T | str | Mapping[str, Any] | None) -> _T | None:
    """Returns the part that a name, or a mapping with a name and options, describes; anything else unchanged."""
    return named(argument, registry, _read_once(argument, given)) if isinstance(given, str | Mapping) else given


def _read_once(argument: str, given: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    """Returns text, or the entries of a mapping, which may be any object that has no end or fails when it is read."""
    found: str | Mapping[str, Any] = _NAMED.read(argument, given)
    return found


def _require(value: object, kind: Any, argument: str, wanted: str) -> None:
    if not isinstance(value, kind):
        raise ArgumentError(argument, value, wanted)


def _auto_prior(
    space: SearchSpace, objectives: Objectives, files: StudyFiles, storage: str | None, reader: Reader
) -> Searcher | None:
    """Returns the searcher the study began with or, for a new study, a prior learned from the other studies."""
    try:
        stored = reader.spec()
    except StudyNotFoundError:
        stored = None
    if stored is not None:
        return stored.searcher
    found = auto_prior(files.name, space, objectives, files.root.parent, storage)
    if found is None:
        where = storage or str(files.root.parent)
        text = f"`prior='auto'`: no finished study in {where!r} has these objectives and shares parameters"
        warnings.warn(spelled(f"{text}, so the default searcher draws"), stacklevel=3)
    return found
