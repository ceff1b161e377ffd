"""Reading of arguments: every mistake of one component at once, each with its path."""

from typing import Any, NotRequired, TypedDict

import pulumi
import pytest

from components.arguments import ArgumentError, Arguments


class PartArgs(TypedDict):
    """A part."""

    size: pulumi.Input[int]
    note: NotRequired[pulumi.Input[str]]


class WholeArgs(TypedDict):
    """A whole."""

    provider: pulumi.Input[str]
    count: NotRequired[pulumi.Input[int]]
    parts: NotRequired[pulumi.Input[list[pulumi.Input[PartArgs]]]]


def read(args: dict[str, Any]) -> Arguments:
    return Arguments("Whole", "whole-eu", args, WholeArgs)


def problems_of(arguments: Arguments) -> list[str]:
    with pytest.raises(ArgumentError) as caught:
        arguments.check()
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def test_an_error_ends_a_program_without_a_traceback() -> None:
    assert issubclass(ArgumentError, pulumi.RunError)


def test_good_arguments_pass() -> None:
    arguments = read({"provider": "hetzner", "count": 3})

    assert arguments.provider() == "hetzner"
    assert arguments.number("count", 1, 3, 1) == 3
    arguments.check()


def test_a_misspelt_argument_gets_a_suggestion_and_a_strange_one_none() -> None:
    assert problems_of(read({"provider": "hetzner", "cuont": 3, "xyz": 1})) == [
        "whole-eu (Whole): cuont: found an unknown argument; allowed: count, parts, provider; did you mean 'count'?",
        "whole-eu (Whole): xyz: found an unknown argument; allowed: count, parts, provider",
    ]


@pytest.mark.parametrize("args", [{}, {"provider": None}])
def test_a_required_argument_must_be_there(args: dict[str, Any]) -> None:
    assert problems_of(read(args)) == ["whole-eu (Whole): provider: found nothing; it is required"]


def test_a_wrong_choice_shows_what_is_allowed() -> None:
    arguments = read({"provider": "aws"})
    arguments.provider()

    assert problems_of(arguments) == ["whole-eu (Whole): provider: found 'aws'; allowed: digitalocean, hetzner"]


def test_structure_must_be_known_before_deployment() -> None:
    arguments = read({"provider": pulumi.Output.from_input("hetzner")})
    arguments.provider()

    assert problems_of(arguments) == ["whole-eu (Whole): provider: must be known before deployment; found an Output"]


@pytest.mark.parametrize(
    ("found", "shown", "allowed"),
    [
        ("three", "'three'", "a whole number"),
        (1.5, "1.5", "a whole number"),
        (True, "True", "a whole number"),
        (0, "0", "1 to 3"),
        (4, "4", "1 to 3"),
    ],
)
def test_a_number_is_whole_and_within_bounds(found: object, shown: str, allowed: str) -> None:
    arguments = read({"provider": "hetzner", "count": found})

    arguments.number("count", 1, 3, 1)

    assert problems_of(arguments) == [f"whole-eu (Whole): count: found {shown}; allowed: {allowed}"]


def test_a_whole_number_may_arrive_as_a_float_as_it_does_from_other_languages() -> None:
    count = read({"provider": "hetzner", "count": 3.0}).number("count", 1, 3, 1)

    assert (count, type(count)) == (3, int)


def test_an_absent_number_is_the_default() -> None:
    assert read({"provider": "hetzner"}).number("count", 1, 3, 2) == 2


def test_items_are_checked_one_by_one_with_their_index() -> None:
    parts = ["large", {"size": "large"}, {"size": 1, "sise": 2}, {"note": "no size"}, {"size": 2, "note": "fine"}]
    arguments = read({"provider": "hetzner", "parts": parts})

    items = arguments.items("parts", PartArgs, {"size": int})

    assert items == [{}, {"size": 1, "sise": 2}, {"note": "no size"}, {"size": 2, "note": "fine"}]
    assert problems_of(arguments) == [
        "whole-eu (Whole): parts[0]: found 'large'; allowed: a dictionary",
        "whole-eu (Whole): parts[1].size: found 'large'; allowed: a whole number",
        "whole-eu (Whole): parts[2].sise: found an unknown argument; allowed: note, size; did you mean 'size'?",
        "whole-eu (Whole): parts[3].size: found nothing; it is required",
    ]


def test_a_list_that_is_none_is_named() -> None:
    arguments = read({"provider": "hetzner", "parts": "large"})

    assert arguments.items("parts", PartArgs) == []
    assert problems_of(arguments) == ["whole-eu (Whole): parts: found 'large'; allowed: a list"]


def test_every_problem_of_a_component_is_in_one_error() -> None:
    arguments = read({"provider": "aws", "count": 9, "parts": [{}]})
    arguments.provider()
    arguments.number("count", 1, 3, 1)
    arguments.items("parts", PartArgs)

    assert problems_of(arguments) == [
        "whole-eu (Whole): provider: found 'aws'; allowed: digitalocean, hetzner",
        "whole-eu (Whole): count: found 9; allowed: 1 to 3",
        "whole-eu (Whole): parts[0].size: found nothing; it is required",
    ]
