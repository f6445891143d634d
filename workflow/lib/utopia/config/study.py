"""The typed configuration of a study: config.yaml with an overlay, nothing else.

The sections `datasets`, `features`, `models`, `losses` and `samplers` are typed by the components found in the folders
of the same names (`utopia.config.registry`): a new file there is a new section here, in the JSON schema and on the
reference page.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, create_model, field_validator, model_validator

from utopia.config import registry
from utopia.config.base import Below, Strict
from utopia.config.engine import Engine
from utopia.config.extraction import Compute, FineTune
from utopia.config.suggest import nearest

Name = Annotated[str, Field(pattern="^[a-z0-9_]+$", max_length=48)]
"""A name that becomes part of a file's name."""


def _list(schema: Any, kind: str) -> None:
    """Let editors offer the components that exist."""
    schema.get("anyOf", [schema])[0]["enum"] = list(registry.names(kind))


class Distribution(Strict):
    """Label histogram and its Gaussian convolution (ULDA sec. 3.2, Eq. 2)."""

    bins: int = Field(..., ge=2, le=100_000)
    """Number of bins b over [low, high]."""
    low: float = Field(...)
    """Lower end of the label range."""
    high: float = Field(...)
    """Upper end of the label range."""
    delta: float = Field(..., gt=0)
    """Width of the kernel's support, in label units; taps reach floor(delta / 2w) bins to each side (w: bin width)."""
    sigma: float = Field(..., gt=0)
    """Standard deviation of the Gaussian kernel, in label units."""
    binning: Literal["floor", "grid"] = "floor"
    """`floor`: exactly b half-open bins. `grid`: labels rounded to the nearest of b + 1 grid points [U]."""
    kernel: Literal["sum_one", "raw_density"] = "sum_one"
    """`sum_one` keeps the number of samples; `raw_density` is Eq. 2 to the letter and loses mass [U]."""
    boundary: Literal["zero", "reflect", "renormalise"] = "zero"
    """What lies beyond the label range: nothing (to the letter), the mirror image, or kernel taps renormalised [U]."""
    estimator: Literal["convolution", "calibrated", "oracle"] = "convolution"
    """How the distribution of the utopia labels is had: `convolution` is ULDA (Eq. 2); `calibrated` (ours) shrinks and
    smooths by the variance that the annotators' votes show; `oracle` is the true one, a control: of the planted utopia
    labels where they are known, else of the annotators held out to judge, or not behind the label. The last two need
    single votes and leave delta, sigma, kernel and boundary out."""
    scope: Literal["video", "train_set"] = "video"
    """Counts per video (ULDA 3.2: "on each time-series data") or pooled over the training videos of a fold."""
    extension: Literal["alternate", "right", "none"] = "alternate"
    """Where a time slice shorter than T is extended: left and right in turn, to the right first, or not at all [U]."""
    deviation: Literal["population", "sample"] = "population"
    """Deviation s of Eq. 4 over all frames of a window, or with one degree of freedom less [U]."""

    @model_validator(mode="after")
    def _range(self) -> Distribution:
        if self.high <= self.low:
            raise ValueError(f"high ({self.high}) must be greater than low ({self.low})")
        return self


class Treatment(Strict):
    """What is done about the label distribution in training."""

    loss: str = Field("mse", json_schema_extra=lambda schema: _list(schema, "losses"))
    """A file of `losses/`."""
    sampler: str | None = Field(None, json_schema_extra=lambda schema: _list(schema, "samplers"))
    """A file of `samplers/`, or null."""
    members: int = Field(1, ge=1, le=1000)
    """Networks of an ensemble: each replica is trained so many times from seeds of its own, and their predictions are
    averaged."""
    fit_on_all: int = Field(0, ge=0, le=1000)
    """How many of them are trained on the validation videos too; they predict only what has no labels (EEV)."""
    best: int | None = Field(None, ge=2, le=1000)
    """How many of them are averaged (EEV 2021 sec. 4.5): those trained on the validation videos, and of the others
    those with the lowest validation loss at their selected epochs. Null: all."""
    label_filter: Literal["none", "butterworth", "median", "gaussian"] = "none"
    """A low-pass filter that the training labels go through (EEV 2021 sec. 4.3)."""

    @model_validator(mode="before")
    @classmethod
    def _no_old_name(cls, treatment: Any) -> Any:
        if isinstance(treatment, dict) and "whole" in treatment:
            raise ValueError("`whole` is called `fit_on_all` now: rename the key")
        return treatment

    @model_validator(mode="after")
    def _an_ensemble(self) -> Treatment:
        if self.fit_on_all and self.fit_on_all >= self.members:
            raise ValueError(f"fit_on_all ({self.fit_on_all}) must be less than members ({self.members})")
        if self.best is not None and not self.fit_on_all < self.best <= self.members:
            limits = f"more than fit_on_all ({self.fit_on_all}) and at most members ({self.members})"
            raise ValueError(f"best ({self.best}) must be {limits}")
        return self

    @field_validator("loss", "sampler")
    @classmethod
    def _known(cls, name: str | None, info: ValidationInfo) -> str | None:
        kind = "losses" if info.field_name == "loss" else "samplers"
        known = registry.names(kind)
        if name is not None and name not in known:
            raise ValueError(f"must be one of the {kind}: {', '.join(known) or 'none yet'}{nearest(name, known)}")
        return name


PRECOMPUTED = ("hdf5", "csv")
"""Values of `extractor` that extract nothing."""


class FromFile(Strict):
    """Features that somebody else extracted, in one file for all items."""

    files: list[Below] = Field(..., min_length=1)
    """Where the file may lie below `folder`, in order; the first one found is used."""
    folder: Below | None = None
    """The folder below `data` that holds it. Null: the data set's own."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """The published checksum; a file with another is refused. Null: any file, its checksum is recorded."""
    normalise: Literal["none", "l2", "standardise"] = "none"
    """`l2`: rows of unit norm; `standardise`: each dimension by mean and deviation of the fold's training videos."""
    note: str = ""
    """Why results on these features are not comparable with the published value; empty: they are the published
    features."""


class Precomputed(FromFile):
    """Features that somebody else extracted, taken from an HDF5 file in the field's layout (a group per video)."""

    extractor: Literal["hdf5"]
    """`hdf5`: nothing is extracted."""
    array: str | None = "features"
    """Name of the (steps x width) array in each group. Null: the file has an array per video, in the place of a group;
    one without columns is a single feature."""
    every: int = Field(15, ge=1, le=1_000_000)
    """Frames between rows, where a group has no `picks`: a video whose rows are not as many is refused."""


class PrecomputedTable(FromFile):
    """Features that somebody else extracted, taken from a table: a row per item and time, a column per feature."""

    extractor: Literal["csv"]
    """`csv`: nothing is extracted."""
    item: str = "musicId"
    """The column that holds an item's key; the rows of an item stand together."""
    time: str = "frameTime"
    """The column that holds the time of a row, in seconds. All other columns are features."""


class ExtractedFeature(Strict):
    """Features that the pipeline extracts from the videos."""

    sha256: dict[Name, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(default_factory=dict)
    """Checksums of its weights, by card: for those that nobody published and that `utopia fetch` did not get."""
    compute: Compute = Field(default_factory=Compute)
    """How the network is run."""
    fine_tune: FineTune | None = None
    """How the network is trained further before it extracts; `options.weights` is then what that starts from. Null: it
    is not. Only of extractors that can be fine-tuned: openpose_action, xception_face."""
    normalise: Literal["none", "l2", "standardise"] = "none"
    """`l2`: rows of unit norm; `standardise`: each dimension by mean and deviation of the fold's training videos."""
    note: str = ""
    """Why results on these features are not comparable with the published value; empty: they are the published
    features."""

    @model_validator(mode="after")
    def _is_trained(self) -> ExtractedFeature:
        untrained = getattr(getattr(self, "options", None), "untrained", "")
        if untrained and self.fine_tune is None:
            raise ValueError(f"{untrained}: say what it is fine-tuned on (`fine_tune: {{dataset: liris}}`)")
        if self.fine_tune is not None and self.extractor not in _tunable():  # type: ignore[attr-defined]
            raise ValueError(f"fine_tune: only these can be fine-tuned: {', '.join(_tunable())}")
        known = registry.names("datasets")
        if self.fine_tune is not None and self.fine_tune.dataset not in (None, *known):
            name = str(self.fine_tune.dataset)
            raise ValueError(f"fine_tune.dataset must be one of: {', '.join(known)}{nearest(name, known)}")
        return self


@cache
def _tunable() -> tuple[str, ...]:
    """The extractors whose network can be fine-tuned: those that say which parameters that trains."""
    names = registry.names("extractors")
    return tuple(name for name in names if registry.fact("extractors", name, "TUNED", None) is not None)


class DatasetSettings(Strict):
    """A data set: where its files are, what it is fed with, its label distribution."""

    folder: Below = Field(..., min_length=1)
    """The data set's folder below `data`."""
    features: list[list[str]] = Field(...)
    """Sets of features (rows concatenated), best first: the first set that is available is used. Empty: nothing is
    trained on it, only its labels are studied."""
    published_features: list[list[str]] = Field(default_factory=list)
    """Sets of features that published values are computed from: results on any other are not
    comparable with them. Empty: the paper does not say."""
    shard: int = Field(16, ge=1, le=100_000)
    """Videos per extraction job, on average: where lists or tables tell their lengths, jobs have equal shares of all
    seconds."""
    models: dict[Name, dict[str, float | int | str | bool | None]] = Field(default_factory=dict)
    """Settings of models that differ on this data set, by model and dotted name (`pgl_sum: {d_model: 128}`)."""
    distribution: Distribution | None = None
    """Its label distribution. Null where a label is no single number: nothing is weighed or sampled by it."""


class Generated(Strict):
    """Size of the miniature's generated data. Only an overlay sets it; null means real data."""

    seconds: float = Field(60.0, gt=5, le=86_400)
    """Mean length of a video; a song is 15 s longer, which no label covers."""
    seconds_of: dict[str, Annotated[float, Field(gt=5, le=86_400)]] = Field(default_factory=dict)
    """Mean length by data set, where it differs."""
    width: int = Field(96, ge=32, le=8192)
    """Frame width in pixels."""
    height: int = Field(72, ge=32, le=8192)
    """Frame height in pixels."""
    fps: int = Field(10, ge=2, le=1000)
    """Frames per second."""
    annotators: int = Field(30, ge=2, le=1000)
    """Simulated annotators who vote on every video."""
    label_annotators: int = Field(3, ge=1, le=1000)
    """How many of them make the training labels."""
    items: dict[str, Annotated[int, Field(ge=0, le=100_000)]] = Field(default_factory=dict)
    """Number of videos by data set; one that is not named, or has 0, is not generated."""

    @field_validator("items", "seconds_of")
    @classmethod
    def _data_sets(cls, given: dict[str, Any]) -> dict[str, Any]:
        known = registry.names("datasets")
        for name in given:
            if name not in known:
                raise ValueError(f"{name!r} is not a data set: {', '.join(known)}{nearest(name, known)}")
        return given

    def size(self, dataset: str) -> dict[str, Any]:
        """The settings that a data set is generated with, as `inputs.miniature.generate` takes them."""
        own = {"seconds": self.seconds_of.get(dataset, self.seconds)}
        return self.model_dump(mode="json", exclude={"items", "seconds_of"}) | own


class Evaluation(Strict):
    """How predictions are judged."""

    double_rounding: bool = False
    """Round the F-score of a split to two decimals before the mean over splits, as the log files of PGL-SUM's reference
    code do; false: round once, at the end."""
    constant: Literal["zero", "minus_one", "skip"] = "zero"
    """The correlation of reactions with a constant series: 0 (EEV's reference code), -1, or left out of means [U]."""
    random_draws: int = Field(100, ge=1, le=10_000)
    """How often each repeat of the reference `random` draws scores."""
    label_draws: int = Field(7, ge=1, le=10_000)
    """How often each repeat of a study of labels draws the annotators behind a video's label."""


class StudyBase(Strict):
    """The study."""

    study: str = "miniature"
    """Name of the study: an overlay file in workflow/resources/studies/, and the folder below `results`."""
    data: Path | None = None
    """Folder with the data you have (one folder per data set). The miniature generates its own."""
    results: Path = Path("results")
    """Where everything that is made goes; deleting it is the whole reset."""
    seed: int = Field(2307, ge=0, le=2**63 - 1)
    """Root of every random seed."""
    repeats: int = Field(3, ge=1, le=1000)
    """Seeds per run; values are means over them, with their standard deviation."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run."""
    engine: Engine = Field(default_factory=Engine)
    """How runs are trained."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """How predictions are judged."""
    generated: Generated | None = None
    """Set by the miniature: generate the data instead of reading it."""
    treatments: dict[Name, Treatment]
    """Named combinations of a loss and a sampler."""
    tables: Literal["all"] | list[str] = "all"
    """Tables to make: `all`, or ids of workflow/resources/tables/."""
    figures: Literal["all"] | list[str] = "all"
    """Figures to make: `all`, or ids of workflow/resources/figures/."""
    only_datasets: Literal["all"] | list[str] = "all"
    """Data sets to work on: `all`, or names. Cells of the others say so; tables and figures of the others alone are
    left out. `utopia run --datasets summe` sets it."""
    without_data: Literal["hole", "leave_out"] = "hole"
    """What to do with a table or figure none of whose data sets is there: `hole` makes it with empty cells,
    each with its reason; `leave_out` leaves it out, and `utopia plan` says so."""

    @field_validator("only_datasets")
    @classmethod
    def _known_data_sets(cls, given: Any) -> Any:
        known = registry.names("datasets")
        for name in given if isinstance(given, list) else ():
            if name not in known:
                raise ValueError(f"{name!r} is not a data set: {', '.join(known)}{nearest(name, known)}")
        if given == []:
            raise ValueError("names no data set: there would be nothing to do")
        return given

    def is_asked(self, dataset: str) -> bool:
        """Whether a data set is one of those to work on."""
        return self.only_datasets == "all" or dataset in self.only_datasets

    def dataset(self, name: str) -> Any:
        """The settings of a data set."""
        return getattr(self.datasets, name)  # type: ignore[attr-defined]

    @property
    def root(self) -> Path:
        """The study's own folder, `results/<study>`."""
        return self.results / self.study


_MADE: dict[str, Any] = {"use_attribute_docstrings": False}
"""Of models that are made here, and so have no source: pydantic would look for it through the whole stack of calls."""


def _section(title: str, kind: str) -> Any:
    """A settings model with one field per component of a kind, each with its defaults."""
    fields: dict[str, Any] = {}
    for name in registry.names(kind):
        config = registry.config_of(kind, name)
        fields[name] = (config, Field(default_factory=config, description=config.__doc__))
    return create_model(title, __base__=Strict, __cls_kwargs__=_MADE, **fields)


_NUMBERS = ("affect", "summary")
"""Protocols whose labels are single numbers: these have a distribution."""


def _datasets() -> Any:
    fields: dict[str, Any] = {}
    for name in registry.names("datasets"):
        config = registry.config_of("datasets", name)
        own: dict[str, Any] = {
            "options": (config, Field(default_factory=config, description="What is particular to this data set."))
        }
        if registry.constant("datasets", name, "PROTOCOL") in _NUMBERS:
            own["distribution"] = (Distribution, Field(..., description="Its label distribution."))
        settings = create_model(
            f"{name.title()}Settings", __base__=DatasetSettings, __cls_kwargs__=_MADE, __doc__=config.__doc__, **own
        )
        fields[name] = (settings, Field(..., description=config.__doc__))
    return create_model("Datasets", __base__=Strict, __cls_kwargs__=_MADE, **fields)


def _feature() -> Any:
    union: Any = Precomputed | PrecomputedTable
    for name in registry.names("extractors"):
        config = registry.config_of("extractors", name)
        tag: Any = Literal[name]
        union |= create_model(
            f"{name.title().replace('_', '')}Feature",
            __base__=ExtractedFeature,
            __cls_kwargs__=_MADE,
            __doc__=config.__doc__,
            extractor=(tag, Field(..., description="A file of `extractors/`.")),
            options=(config, _own_settings(config)),
        )
    return Annotated[union, Field(discriminator="extractor")]


def _own_settings(config: type[Strict]) -> Any:
    """Its defaults where every setting has one; else they must be given."""
    needed = any(field.is_required() for field in config.model_fields.values())
    how: dict[str, Any] = {} if needed else {"default_factory": config}
    return Field(**how, description="Settings of the extractor.")


@cache
def study_model() -> type[StudyBase]:
    """The `Study` model with a section for every component that exists."""
    feature: Any = _feature()
    features: Any = dict[Name, feature]
    samplers = _section("Samplers", "samplers")
    return create_model(
        "Study",
        __base__=StudyBase,
        __cls_kwargs__=_MADE,
        __doc__="A study: the published settings (config.yaml) with an overlay.",
        datasets=(_datasets(), Field(..., description="The data sets.")),
        features=(features, Field(..., description="Named sources of features.")),
        models=(_section("Models", "models"), Field(default_factory=dict, description="Settings of each model.")),
        losses=(_section("Losses", "losses"), Field(default_factory=dict, description="Settings of each loss.")),
        samplers=(samplers, Field(default_factory=dict, description="Settings of each sampler.")),
    )
