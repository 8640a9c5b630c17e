"""Text that anybody may have written: bounded, and nothing that a terminal obeys."""

from __future__ import annotations

import json

import pytest
import yaml

from l2l_cli.core.plain_text import in_one_line, parsed_json, parsed_yaml
from l2l_cli.core.printable import printable

BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "more than 200000 values"),
        ("a: &a [*a]", r"alias \*a refers to itself"),
        ("a: *b", r"alias \*b refers to itself, or to nothing"),
        ("[" * 100_000, "60 levels"),
        ("{a: " * 70 + "1" + "}" * 70, "60 levels"),
        ("a: 1\nb: 2\na: 3\n", "'a' occurs twice"),
        ("a: {b: 1, b: 2}", "'b' occurs twice"),
        (f"a: {'9' * 5000}", "4300 digits"),
        (f"a: 0x{'f' * 100}", "400 bits"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("? [1]\n: 2", "unhashable"),
        ("a: \x1b[31m", "control characters are not allowed"),
        ("\t- a", "cannot start any token"),
    ],
)
def test_yaml_that_is_not_plain_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        parsed_yaml(text)


def test_yaml_is_read_as_it_was_written():
    shared = [1.5, None, "é"]
    value = {"a": shared, "b": {"c": shared, "a": [{"a": 1}, {"a": 1}]}, "d": True, "e": "1e3"}
    text = yaml.safe_dump(value, allow_unicode=True)
    assert "*id" in text  # what occurs twice is written as an alias
    assert parsed_yaml(text) == value


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1' + "0" * 100 + "}", "{", '"\x01"'])
def test_json_that_is_not_plain_is_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        parsed_json(text)


@pytest.mark.parametrize(
    "sign", ["\x1b", "\x07", "\r", "\x9b", "\u202e", "\u2066", "\u200f", "\ud800", "\u2028", "\ufeff"]
)
def test_no_sign_that_a_terminal_obeys_is_left(sign):
    assert parsed_json(json.dumps({f"a{sign}": [f"b{sign}\n\tc"]})) == {"a": ["b\n\tc"]}
    assert printable(f"x{sign}y") == "xy"
    assert in_one_line(f"x{sign}\n  y") == "x y"
    if sign not in "\x1b\x07\x9b\ud800\ufeff":  # these are refused by YAML itself, unless they are escaped
        assert parsed_yaml(f'"a{sign}b"') in ("ab", "a b")
    assert parsed_yaml(json.dumps(f"a{sign}b")) == "ab" if sign != "\ud800" else True


def test_a_line_is_short():
    assert len(in_one_line("x" * 10_000)) == 201
