"""Fetching what a recipe names: skip what is there, try the sources in order, say of the rest why it is missing."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utopia.errors import ChecksumError, InputError, UtopiaError
from utopia.fetch import agreement, availability, webvideo
from utopia.fetch.archive import UnpackLimits, extract
from utopia.fetch.coverage import FileOutcome
from utopia.fetch.download import Fetched, Wanted, download
from utopia.fetch.recipe import Agreement, FetchFile, Product, Recipe, WebVideos, keys, published
from utopia.fetch.record import Entry, FetchRecord, Pin
from utopia.fetch.transfer import DiskFullError, Policy, Progress

ARCHIVES = ".archives"
"""Folder below the data folder, where archives lie until they are unpacked."""


@dataclass(frozen=True)
class FetchOptions:
    """How to fetch."""

    origins: Sequence[Path] = ()
    """Local folders that are looked through first (they, or their folder of the data set's name)."""
    mirrors: Sequence[str] = ()
    """Addresses below which the files lie as `<data set>/<name>`, tried before the published ones."""
    roles: Sequence[str] = ()
    """Fetch only these; empty: all."""
    dry: bool = False
    """Only say what would be done."""
    verify: bool = False
    """Hash what is there, also where size and time have not changed."""
    again: bool = False
    """Ask again for web videos that were gone, private or closed."""
    keep: frozenset[str] = frozenset()
    """Names of archives that are not deleted once they are unpacked, because another data set needs them next."""
    policy: Policy = field(default_factory=Policy)
    videos: webvideo.RequestOptions | None = None
    """How to ask for web videos; None: as the recipe says."""
    begin: Callable[[str, FetchFile], Progress | None] = lambda dataset, file: None
    """Called before a file is asked for; gives what is told of its progress."""
    told: Callable[[str, str], None] = lambda dataset, message: None
    """Called with a line for people."""


class _Fetch:
    """One recipe being carried out below one folder."""

    def __init__(self, dataset: str, folder: Path, record: FetchRecord, options: FetchOptions) -> None:
        self.dataset, self.folder, self.record, self.options = dataset, folder, record, options
        self.published = published(dataset)
        self.reasons: dict[str, list[str]] = defaultdict(list)
        """Pattern of a product -> why it is not there."""
        self.failed: set[str] = set()
        self.wrong: set[str] = set()
        """Products whose place is taken by another file."""
        self.came: dict[str, int] = defaultdict(int)

    def found(self, product: Product) -> list[Path]:
        """Files of a product below the folder, at any depth, hidden folders left out."""
        if not self.folder.is_dir():
            return []
        paths = (path for path in self.folder.rglob(product.path) if path.is_file())
        return sorted(path for path in paths if not any(p.startswith(".") for p in path.relative_to(self.folder).parts))

    def there(self, product: Product, file: FetchFile) -> bool:
        """Whether a product is there and right; a wrong file is a failure, and is left alone."""
        paths = self.found(product)
        if len(paths) < product.count:
            return False
        wrong = [fault for path in paths if (fault := self.fault(path, self.wanted(path, file, product)))]
        if wrong:
            self.wrong.add(product.path)
            self.fail(product, wrong[0])
        return True

    def wanted(self, path: Path, file: FetchFile, product: Product, sources: Sequence[str] = ()) -> Wanted:
        """What is known of a product's file: its own digest, that on the card, or that of its first fetch."""
        given_as_is = not file.gives
        card = self.published.get(path.name, {})
        sha256 = (file.sha256 if given_as_is else None) or card.get("sha256")
        entry = self.record.entry(path)
        others = {name: value for name in ("md5", "sha1") if given_as_is and (value := getattr(file, name))}
        return Wanted(
            path,
            sources,
            sha256=sha256 or (entry.sha256 if entry else None),
            sha256_prefix=file.sha256_prefix if given_as_is else None,
            bytes=(file.bytes if given_as_is else None) or card.get("bytes"),
            others=others,
        )

    def fault(self, path: Path, wanted: Wanted) -> str:
        """How a file that is there differs from the wanted one; one about which nothing is known is recorded as it
        is."""
        current: Entry | None = None if self.options.verify else self.record.current(path)
        if current is not None and current.sha256 == wanted.sha256:
            return ""
        digest = self.record.digest(path, verify=self.options.verify)
        unlike = wanted.unlike(digest, path.stat().st_size, path)
        if unlike:
            return (
                f"{path} is not the file that was published or first fetched: {unlike}; move it away or delete it, and "
                "fetch again (nothing of yours is overwritten)"
            )
        if not self.options.dry:
            known = self.published.get(path.name, {}).get("sha256")
            former = self.record.entry(path)
            source = former.url if former else "in place"
            self.record.add(path, url=source, sha256=digest, pinned="card" if known else "first use")
        return ""

    def fail(self, product: Product, reason: str) -> None:
        self.reasons[product.path].append(reason)
        self.failed.add(product.path)

    def files(self, files: Sequence[FetchFile]) -> Iterator[FileOutcome]:
        products = {product.path: product for file in files for product in file.products if self.asked(product)}
        for file in files:
            mine = [product for product in file.products if self.asked(product)]
            lacking = [product for product in mine if not self.there(product, file)]
            if not lacking:
                continue
            if self.options.dry:
                size = f" ({file.size_note})" if file.size_note else f" ({file.bytes} bytes)" if file.bytes else ""
                for product in lacking:
                    if not self.reasons[product.path]:  # other archives that give the same come after this one
                        self.reasons[product.path].append(f"would be fetched from {self.sources(file)[0]}{size}")
                continue
            try:
                self.fetch(file, lacking)
            except DiskFullError:
                raise
            except (UtopiaError, OSError) as error:
                for product in lacking:
                    self.fail(product, _in_words(error))
            else:
                for product in lacking:
                    if not self.there(product, file):
                        self.fail(product, f"{file.name} holds fewer than {product.count} {product.path}")
        for path, product in products.items():
            obtained = 0 if path in self.wrong else min(product.count, len(self.found(product)))
            whole = obtained == product.count
            yield FileOutcome(
                self.dataset,
                f"{product.role}:{path}",
                product.count,
                obtained,
                {} if whole else {"; ".join(self.reasons[path]) or "not there": (path,)},
                self.came[path],
                failed=path in self.failed and not whole,
            )

    def asked(self, product: Product) -> bool:
        return not self.options.roles or product.role in self.options.roles

    def sources(self, file: FetchFile) -> list[str]:
        """Local folders first, then mirrors, then the published addresses."""
        local = [
            str(path)
            for origin in self.options.origins
            for path in (origin / self.dataset / file.name, origin / file.name)
            if path.is_file()
        ]
        return [*local, *(f"{m.rstrip('/')}/{self.dataset}/{file.name}" for m in self.options.mirrors), *file.urls]

    def fetch(self, file: FetchFile, lacking: list[Product]) -> None:
        if file.extract is None:
            target = self.folder / file.into / file.name
            product = lacking[0]
            fetched = self.get(file, self.wanted(target, file, product, self.sources(file)))
            self.came[product.path] += fetched.transferred
            self.note(target, fetched, "card" if file.sha256 else "first use")
            return
        lacking = [product for product in lacking if not self.taken(product, file)]
        if lacking:
            self.unpack(file, lacking)

    def taken(self, product: Product, file: FetchFile) -> bool:
        """Whether a local folder had the product itself, with its published digest, so that no archive is needed."""
        card = self.published.get(product.path)
        here = [str(path) for origin in self.options.origins for path in sorted(origin.rglob(product.path))[:1]]
        if not card or not card["sha256"] or not here:
            return False
        target = self.folder / file.into / product.path
        fetched = self.get(file, self.wanted(target, file, product, here))
        self.note(target, fetched, "card")
        return True

    def unpack(self, file: FetchFile, lacking: list[Product]) -> None:
        assert file.extract is not None
        how = file.extract
        # Beside all data sets, because some archives serve two of them.
        target = self.record.folder / ARCHIVES / file.name
        entry = self.record.entry(target)
        wanted = Wanted(
            target,
            self.sources(file),
            sha256=file.sha256 or (entry.sha256 if entry else None),
            sha256_prefix=file.sha256_prefix,
            bytes=file.bytes,
        )
        fetched = self.get(file, wanted)
        self.came[lacking[0].path] += fetched.transferred
        into = self.folder / file.into
        limits = UnpackLimits(how.largest, how.files)
        self.options.told(self.dataset, f"unpacking {file.name}")
        try:
            known = {name: card["sha256"] for name, card in self.published.items() if card.get("sha256")}
            extract(target, into, limits, members=how.members, strip=how.strip, nested=how.nested, known=known)
        except ChecksumError:  # a file of the user's is in the way: the archive is good, and stays
            raise
        except InputError as error:
            refused = target.with_name(f"{file.name}.refused")
            target.replace(refused)
            raise InputError(error.what, where=refused, why=error.why, remedy=error.remedy) from error
        if fetched.source != "in place" or not entry:
            self.note(target, fetched, "card" if file.sha256 else "first use")
        if file.name not in self.options.keep:
            target.unlink()

    def note(self, path: Path, fetched: Fetched, pinned: Pin) -> None:
        self.record.add(path, url=fetched.source, sha256=fetched.sha256, pinned=pinned, etag=fetched.etag)
        if pinned == "first use" and fetched.source.startswith("http://"):
            self.options.told(
                self.dataset,
                f"{path.name} came over plain http and no sha256 of it is published: anybody on the way could have "
                f"changed it; compare {fetched.sha256} with what others have",
            )

    def get(self, file: FetchFile, wanted: Wanted) -> Fetched:
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
        return download(
            wanted,
            self.options.policy,
            self.options.begin(self.dataset, file),
            lambda: self.options.told(self.dataset, f"{file.name}: another process is fetching it; waiting"),
        )

    def web(self, videos: WebVideos) -> Iterator[FileOutcome]:
        try:
            ids = list(dict.fromkeys(self.ids(videos)))
        except InputError as error:
            reason = _in_words(error)
            yield FileOutcome(self.dataset, "videos", 1, 0, {reason: ("list",)}, failed=not self.options.dry)
            return
        every = Product(path="*", role="videos")
        there = {path.stem: path for path in self.found(every) if path.suffix.lower() in webvideo.SUFFIXES}
        wanted = [id for id in ids if id not in there]
        folder = self.folder / videos.into
        log = availability.Log(folder).last()
        trouble = ""
        if wanted and not self.options.dry:
            options = self.options.videos or webvideo.RequestOptions(format=videos.format, pause=videos.pause)
            try:
                webvideo.fetch_videos(
                    wanted,
                    videos.address,
                    folder,
                    options,
                    record=self.record,
                    again=self.options.again,
                    waiting=lambda: self.options.told(self.dataset, "another process is fetching videos; waiting"),
                    told=lambda entry: self.options.told(self.dataset, f"{entry.id}: {entry.status} {entry.message}"),
                )
            except DiskFullError:
                raise
            except UtopiaError as error:
                trouble = _in_words(error)
            log = availability.Log(folder).last()
        reasons: dict[str, list[str]] = defaultdict(list)
        for id in (id for id in ids if id in there and self.options.verify):
            if (before := self.record.entry(there[id])) and self.record.digest(there[id], verify=True) != before.sha256:
                reasons["is not the file that was fetched: delete it, and fetch again"].append(id)
        for id in wanted:
            entry = log.get(id)
            if entry is None or entry.status != "ok":
                reasons[entry.status if entry else trouble or "not asked for yet"].append(id)
            elif webvideo.video_of(folder, id) is None:
                reasons["was fetched, and is no longer there"].append(id)
        missing = sum(map(len, reasons.values()))
        passing = set(reasons) - set(availability.PERMANENT)
        yield FileOutcome(
            self.dataset,
            "videos",
            len(ids),
            len(ids) - missing,
            {reason: tuple(found) for reason, found in reasons.items()},
            failed=bool(passing) and not self.options.dry,
        )

    def ids(self, videos: WebVideos) -> Iterator[str]:
        if not videos.ids.files:
            yield from keys(self.dataset)
        for name in videos.ids.files:
            path = self.folder / name
            if not path.is_file():
                raise InputError("is not there yet: it lists the videos", where=path, remedy="fetch it first")
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                header = next(rows, [])
                if videos.ids.column and videos.ids.column not in header:
                    raise InputError(f"has no column {videos.ids.column!r}", where=path, remedy="fetch it again")
                at = header.index(videos.ids.column) if videos.ids.column else 0
                last = ""
                for row in rows:
                    if row and row[at] != last:
                        last = row[at]
                        yield last

    def agreed(self, terms: Agreement, look: agreement.Look) -> Iterator[FileOutcome]:
        trouble = ""
        if not self.options.dry:
            try:
                for origin in self.options.origins:
                    for path in agreement.take(origin, self.folder, look, self.record, self.options.policy):
                        self.options.told(self.dataset, f"copied {path.name}")
                if self.folder.is_dir():
                    for path in agreement.unpack(self.folder, terms, self.record):
                        self.options.told(self.dataset, f"unpacked {path.name}")
            except DiskFullError:
                raise
            except (UtopiaError, OSError) as error:
                trouble = _in_words(error)
        seen = look(self.folder)
        if words := agreement.instructions(terms, seen, self.folder):
            self.options.told(self.dataset, words)
        for role, ids in agreement.lacking(seen).items():
            reason = trouble or seen.missing.get(role) or f"no file of these items below {self.folder}"
            yield FileOutcome(
                self.dataset,
                role,
                len(seen.items),
                len(seen.items) - len(ids),
                {reason: tuple(ids)} if ids else {},
                failed=bool(trouble),
            )


def obtain(
    dataset: str,
    recipe: Recipe,
    folder: Path,
    record: FetchRecord,
    options: FetchOptions | None = None,
    look: agreement.Look | None = None,
) -> list[FileOutcome]:
    """Fetch what a recipe names into a data set's folder; what is not available is an outcome with its reason.

    Args:
        folder: `<data>/<data set>`.
        record: of the data folder.
        look: the data set's `locate`; needed for data under an agreement.

    Returns:
        What was expected and obtained, per kind of file.

    Raises:
        DiskFullError: there is no room.
    """
    options = options or FetchOptions()
    fetching = _Fetch(dataset, Path(folder), record, options)
    outcomes = list(fetching.files(recipe.files))
    if recipe.videos is not None and (not options.roles or "videos" in options.roles):
        outcomes += _videos(fetching, recipe.videos, outcomes)
    if recipe.agreement is not None and look is not None:
        outcomes += fetching.agreed(recipe.agreement, look)
    return outcomes


def _videos(fetching: _Fetch, videos: WebVideos, outcomes: list[FileOutcome]) -> list[FileOutcome]:
    """Web videos, where no archive has given them all."""
    archived = [outcome for outcome in outcomes if outcome.subject.startswith("videos:")]
    if any(outcome.obtained == outcome.expected or fetching.options.dry for outcome in archived):
        return []
    for outcome in archived:
        outcomes.remove(outcome)
    why = {reason for outcome in archived for reason in outcome.reasons}
    if why:
        fetching.options.told(
            fetching.dataset, f"no archive of the videos ({'; '.join(sorted(why))}); asking for each by its id"
        )
    return list(fetching.web(videos))


def _in_words(error: UtopiaError | OSError) -> str:
    if isinstance(error, UtopiaError):
        where = f"{error.where}: " if error.where else ""
        return " ".join(f"{where}{error.what}".split())
    return " ".join(str(error).split())


def total(outcomes: Iterable[FileOutcome]) -> int:
    """Bytes that came."""
    return sum(outcome.came for outcome in outcomes)
