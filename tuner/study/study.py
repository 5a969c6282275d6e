"""A study: one spec about one data set, with all that is derived from the two."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from tuner.data import Modality, PairedDataset, Split, read
from tuner.data.formats.arrays.npz import MAX_BYTES
from tuner.data.formats.reach import Reach
from tuner.data.memory.blocks import OnStep, silent
from tuner.data.standardize import are_ids
from tuner.models.config import TrainingConfig
from tuner.models.encoders.kinds import is_module, resolve
from tuner.models.encoders.source import source_digest
from tuner.models.encoders.tokenizer import Tokenizer, tokenizers_of
from tuner.models.errors import UnsupportedShapeError
from tuner.models.evaluation.metrics import Metric
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import Rows, TrainingData
from tuner.study.budget import NO_BUDGET, Budget
from tuner.study.scoring.folds import Folds, FoldScorer, divisible_rows, with_folds
from tuner.study.scoring.scores import Scorer, metric_of
from tuner.study.scoring.targets import Target
from tuner.study.scoring.validation import ValidationFolds
from tuner.study.spec import StudySpec
from tuner.study.trial import Train, TrialRequest
from tuner.typing import Indices

if TYPE_CHECKING:
    from tuner.data.information.profile import Profile


_POINT = 0.01
_SHARE_OF_ERROR = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What is asked of which data.

    Attributes:
        id: Identifier of the study: equal data and spec have an equal one.
        spec: What is asked.
        dataset: Of what.
        training: How encoders are trained: the spec's, with `auto` encoders named, `hf:` paths
            absolute, and no more epochs than its gradient steps are enough for.
        metric: What is measured.
        validation: Scores validation rows.
        test: Scores test rows.
        data: What the search trains on.
        test_rows: What only confirmations see.
        inputs: The data set as encoders take it: ids of tokens for text that a tokenizer reads.
        tokenizers: By modality, what made these.
        shorter: Identifiers of the studies that this one adds seeds to, the last first.
        budget: What the search may cost.
        folds: What confirmations are trained and tested on, if not on the split.
        validation_folds: What seeds are trained and validated on, if not on the split.
    """

    id: str
    spec: StudySpec
    dataset: PairedDataset
    training: TrainingConfig
    metric: Metric
    validation: Scorer
    test: Scorer
    data: TrainingData
    test_rows: Rows
    inputs: PairedDataset
    tokenizers: Mapping[str, Tokenizer]
    shorter: tuple[str, ...] = ()
    budget: Budget = NO_BUDGET
    folds: Folds | None = None
    validation_folds: ValidationFolds | None = None

    @classmethod
    def of(cls, spec: StudySpec, dataset: PairedDataset) -> "Study":
        """Derive everything from spec and data.

        Raises:
            SpecError: If the spec asks for a metric of another task, or for folds that the data
                cannot be divided into.
            UnsupportedShapeError: If an encoder does not take rows of its modality's shape.
            EncoderModuleError: If a user's own encoder cannot be found.
        """
        spec = with_folds(spec, dataset)
        metric, folds = metric_of(spec, dataset.task), Folds.of(spec, dataset)
        validation_folds = ValidationFolds.of(spec, dataset)
        shapes = (dataset.a.values.shape[1:], dataset.b.values.shape[1:])
        holds = (dataset.a.holds, dataset.b.holds)
        training = resolve(spec.training, shapes, len(dataset.indices(Split.TRAIN)), holds)
        ids = _ids(training, dataset)
        tokenizers = tokenizers_of(training, dataset)
        inputs = dataset
        for modality, tokenizer in tokenizers.items():
            inputs = tokenizer.applied_to(inputs, modality)
        data = TrainingData.of(inputs, ids=ids, negatives=training.negatives)
        beside = _beside_the_spec(dataset, training, ids, tokenizers)
        if training.epochs < spec.training.epochs:
            beside.append(f"{training.epochs} epochs")
        return cls(
            id=spec.study_id(dataset.fingerprint, *beside),
            spec=spec,
            dataset=dataset,
            training=training,
            metric=metric,
            validation=Scorer.of(dataset, Split.VALIDATION, metric, spec.seed)
            if (of := validation_folds) is None
            else FoldScorer.in_folds(of.validated, of.fold, Split.VALIDATION, dataset, spec),
            test=Scorer.of(dataset, Split.TEST, metric, spec.seed)
            if folds is None
            else FoldScorer.in_folds(folds.tested, folds.fold, Split.TEST, dataset, spec),
            data=data,
            test_rows=data.scaling.rows(inputs, Split.TEST),
            inputs=inputs,
            tokenizers=tokenizers,
            shorter=tuple(s.study_id(dataset.fingerprint, *beside) for s in spec.shorter),
            folds=folds,
            validation_folds=validation_folds,
        )

    @property
    def divisible_rows(self) -> int | None:
        """Labelled rows that folds would test; None if there are folds, or none can be made."""
        return None if self.folds is not None else divisible_rows(self.spec, self.dataset)

    @property
    def tested(self) -> Indices | None:
        """Rows of the data set that folds test; None where those of the split are tested."""
        return None if self.folds is None else self.folds.tested

    def fold_of(self, request: TrialRequest) -> int | None:
        """Return on which fold a confirmation is tested; None for the rows of the split."""
        if self.folds is None or request.phase != "confirm":
            return None
        return self.folds.of_seed[request.seeds[0]]

    def fold_of_seed(self, seed: int) -> int | None:
        """Return the fold of a confirming seed, tested or validated; None for the split."""
        folds = self.folds or self.validation_folds
        return None if folds is None else folds.of_seed[seed]

    def trained(self, request: TrialRequest, train: Train) -> TrainingOutcome:
        """Have a request trained on the rows of its seeds, in this process."""

        def on(part: TrialRequest, fold: int | None, before: int = 0) -> TrainingOutcome:
            del before
            data, test = self.rows_of(fold)
            return train(part, data, self.training, test)

        if self.validation_folds is None:
            return on(request, self.fold_of(request))
        return self.validation_folds.trained(request, on)

    def inputs_of(self, fold: int | None) -> PairedDataset:
        """Return the data set as encoders take it, divided as a fold is, or the split."""
        folds = self.folds or self.validation_folds
        return self.inputs if fold is None or folds is None else folds.divided(self.inputs, fold)

    def rows_of(self, fold: int | None) -> tuple[TrainingData, Rows]:
        """Return training and validation rows, and test rows: of a fold, or of the split.

        Rows of a fold are standardised anew, as its training rows ask for.
        """
        if fold is None:
            return self.data, self.test_rows
        inputs, ids = self.inputs_of(fold), self.data.scaling.ids
        data = TrainingData.of(inputs, ids=ids, negatives=self.training.negatives)
        return data, data.scaling.rows(inputs, Split.TEST)

    def within(self, budget: Budget) -> "Study":
        """Return this study with a budget that ends its search, which makes it another question.

        An answer to a search that was cut short is none to the whole question, nor to one with
        more to spend.
        """
        if budget in (self.budget, NO_BUDGET):
            return self
        own, *shorter = map(budget.bounded, (self.id, *self.shorter))
        return replace(self, id=own, budget=budget, shorter=tuple(shorter))

    def stored_as(self, study_id: str, budget: Budget) -> "Study | None":
        """Return this study within a budget under the id that a store has; None if it is another.

        Version 0.1.0 kept a study within a budget under the id of the study without one.
        """
        bounded = self.within(budget)
        known = (self.id, bounded.id)
        return replace(bounded, id=study_id, budget=budget) if study_id in known else None

    def check_encoders(self) -> None:
        """Try users' own encoders on rows of the data; seconds, where there are any.

        Raises:
            EncoderModuleError: If one cannot be trained or registered: why, and how to mend it.
        """
        if is_module(self.training.encoder_a) or is_module(self.training.encoder_b):
            from tuner.models.preflight import check_own_encoders

            check_own_encoders(self.data, self.training, seed=self.spec.seed)

    @cached_property
    def profile(self) -> "Profile":
        """How the modalities share what they tell of the label; takes seconds the first time."""
        from tuner.data.information.profile import information_profile

        return information_profile(self.dataset, seed=self.spec.seed)

    @property
    def is_profiled(self) -> bool:
        """Whether the profile is known."""
        return "profile" in vars(self)

    def remember(self, profile: "Profile") -> None:
        """Take a profile of these data that was computed elsewhere."""
        vars(self)["profile"] = profile

    @property
    def epochs(self) -> int:
        """Of every training that is not cut short."""
        return self.training.epochs

    @property
    def max_steps(self) -> int:
        """Gradient steps of every training, at most."""
        return self.training.max_steps

    @property
    def planned(self) -> StudySpec:
        """The spec, with the epochs that are trained at most."""
        if self.epochs == self.spec.training.epochs:
            return self.spec
        training = self.spec.training.model_copy(update={"epochs": self.epochs})
        return self.spec.model_copy(update={"training": training})

    def smallest_gain(self, baseline: float, target: Target = "joint") -> float:
        """What is worth having of any target: as asked, else .01 of a rate, 2 % of an error at 0.

        Args:
            baseline: The score at λ = 0.
            target: Of which; they are in the same units.
        """
        del target
        if self.spec.smallest_gain is not None:
            return self.spec.smallest_gain
        return _POINT if self.metric.direction == "maximize" else _SHARE_OF_ERROR * baseline

    @property
    def name(self) -> str:
        """Name of the study: the spec's, or else the data set's."""
        return self.spec.name or self.dataset.name


def read_rows(
    spec: StudySpec, read: Callable[[], PairedDataset], fold: int | None
) -> tuple[TrainingData, Rows]:
    """Read a data set, and derive what `Study.rows_of` says of a study about it.

    Raises:
        DataError: If the data cannot be used.
        SpecError: As of `Study.of`.
    """
    return Study.of(spec, read()).rows_of(fold)


def read_dataset(
    spec: StudySpec,
    source: str,
    name: str | None = None,
    *,
    max_bytes: int = MAX_BYTES,
    alone: bool = False,
    reach: Reach | None = None,
    on_step: OnStep = silent,
) -> PairedDataset:
    """Read the data set that a spec is about.

    Args:
        spec: What is asked.
        source: Path or URI of the data, or a shipped example.
        name: What to call them if the spec does not say; from the file's name if not given.
        max_bytes: Limit on their size, as in `tuner.data.read`.
        alone: Whether they have to be one file that leads to no others, as in `tuner.data.read`.
        reach: Where they may be downloaded from, as in `tuner.data.read`.
        on_step: Told what is being read and checked, in words.

    Raises:
        DataError: If the data cannot be used.
    """
    options = spec.data_options | {"name": spec.name or name}
    return read(
        source,
        seed=spec.seed,
        max_bytes=max_bytes,
        alone=alone,
        reach=reach,
        on_step=on_step,
        **options,
    )


def _ids(training: TrainingConfig, dataset: PairedDataset) -> tuple[bool, bool]:
    """Whether the encoders of A and B embed what these hold: bytes of text, or ids."""
    return (
        _embeds("a", training.encoder_a, dataset.a, training),
        _embeds("b", training.encoder_b, dataset.b, training),
    )


def _embeds(modality: str, kind: str, side: Modality, training: TrainingConfig) -> bool:
    if side.holds != "numbers":
        return True
    if kind == "tokens" and not are_ids(side.values):
        raise UnsupportedShapeError(
            f"modality {modality}: the tokens encoder takes ids of tokens, whole numbers from 0, "
            f"and {side.name!r} holds others: save it so, or use --encoder-{modality} auto"
        )
    if not is_module(kind):
        return kind == "tokens"
    from tuner.models.encoders.custom import embeds_ids

    return embeds_ids(kind, side, training)


def _beside_the_spec(
    dataset: PairedDataset,
    training: TrainingConfig,
    ids: tuple[bool, bool],
    tokenizers: Mapping[str, Tokenizer],
) -> list[str]:
    """What the answer depends on besides the spec and the content of the data.

    The code of users' own encoders and their tokenizers, which of them embed ids, and that rows
    are taken for copies, which they were not always.
    """
    kinds = (training.encoder_a, training.encoder_b)
    digests = [source_digest(kind) for kind in kinds if is_module(kind)]
    digests += [f"ids in {side}" for side, embeds in zip("ab", ids, strict=True) if embeds]
    digests += [tokenizer.digest for tokenizer in tokenizers.values()]
    return digests + (["copies"] if dataset.copies is not None else [])
