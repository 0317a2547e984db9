"""``mnasfpn train``: what may be asked for."""

from __future__ import annotations

from mnasfpn.cli.verbs.train import train
from mnasfpn.models.training.recipes import RECIPES


def test_recipes_in_the_help_are_those_that_there_are() -> None:
    """The command line does not import what it names, to answer at once."""
    (option,) = (option for option in train.params if option.name == "recipe")
    words = option.to_info_dict()["help"].rstrip(".").replace(" or ", ", ").split(", ")
    assert words == list(RECIPES)
