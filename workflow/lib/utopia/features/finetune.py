"""Fine-tunes an extractor on labelled frames: `python -m utopia.features.finetune openpose_action FRAMES --data DATA`.

The result is the file of the card of that name, in `<data>/weights/`; docs/fine_tuning.md says what is trained.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utopia import registry
from utopia.errors import InputError, UtopiaError
from utopia.features import cards, weights

TUNABLE = ("openpose_action", "xception_face")


def main(given: Sequence[str] | None = None) -> int:
    """The command; 1 (of a faulty card 2) where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m utopia.features.finetune", description=__doc__)
    parser.add_argument("extractor", choices=TUNABLE)
    parser.add_argument("frames", type=Path, help="labelled frames: <class>/<video>/<frame>.jpg")
    parser.add_argument("--data", type=Path, required=True, help="the data folder; weights lie in <data>/weights")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    chosen = parser.parse_args(given)
    try:
        digest = finetuned(chosen.extractor, chosen.frames, chosen.data / "weights", chosen.epochs, chosen.device)
    except UtopiaError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"name it in the study: features.{chosen.extractor}.sha256: {{{chosen.extractor}: {digest}}}")
    return 0


def finetuned(extractor: str, frames: Path, folder: Path, epochs: int, device: str) -> str:
    """Fine-tune the published network of an extractor, and write the file of its card into `folder`.

    Returns:
        Its sha256.

    Raises:
        InputError: published weights are not there, the frames do not suffice, or the file is there already.
        ChecksumError: published weights are not those of their card.
    """
    from utopia.extractors._finetune import Manner, finetune
    from utopia.files import sha256

    output = folder / weights.card(extractor).file
    if output.exists():
        raise InputError("is there already", where=output, remedy="move it away first")
    module, config = registry.load("extractors", extractor), registry.config_of("extractors", extractor)()
    paths: dict[str, Path] = {}
    base: dict[str, str] = {}
    for setting, card in cards.chosen(config).items():
        found = weights.find(card, folder)
        if found.path is None:
            raise InputError(found.reason)
        paths[setting], base[card] = found.path, weights.identify(found)
    network = module.tunable(config, paths.pop("weights"), 0, device, *paths.values())
    tuned = finetune(network, module.TUNED, frames, output, Manner(epochs=epochs), base)
    right = tuned.accuracies[tuned.epoch]
    print(
        f"{output}: {tuned.trained} frames, of {tuned.held_out} held out {right:.1%} right in epoch {tuned.epoch + 1}"
    )
    if tuned.nothing_in:
        print(f"nothing to learn from in {len(tuned.nothing_in)} frames: {', '.join(tuned.nothing_in[:5])} ...")
    return sha256(output)


if __name__ == "__main__":
    sys.exit(main())
