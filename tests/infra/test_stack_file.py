"""Stack files: read as the engine reads them, and every way of not being one told with its place."""

from pathlib import Path

import pulumi
import pytest

from infra.stack_file import StackFileError, engine_config, read_stack_file

EXPECTED = "allowed: 'config:' with keys such as 'rungway:name' below it"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"config:\n  rungway:name: a\n  rungway:name: b\n", ':3:3: found duplicate key "rungway:name"; keep one of them'),
        (b"config:\n  rungway:app:\n    servers: 1\n    servers: 2\n", ':4:5: found duplicate key "servers"; keep one of them'),
        (
            b"config:\n\trungway:name: a\n",
            ":2:1: found character '\\t' that cannot start any token; YAML allows no tabs for indentation: use spaces",
        ),
        (b"config:\n  rungway:name: f\xc3\xbc\xff\n", ":2:19: found the byte 0xff, which is not UTF-8; save the file as UTF-8"),
        (b"config: {a: [\n", ":2:1: expected the node content, but found '<stream end>'"),
        (b"config: *nobody\n", ":1:9: found undefined alias 'nobody'"),
        (b'config:\n  a: "\x00"\n', ": not valid YAML: unacceptable character #x0000: special characters are not allowed"),
        (b"- config\n", f":1:1: found no mapping; {EXPECTED}"),
        (b"config: [1]\n", f": found no mapping below 'config:'; {EXPECTED}"),
        (b"", f": found an empty file; {EXPECTED}"),
        (b"# nothing yet\n", f": found an empty file; {EXPECTED}"),
        (b"config: &a\n  x: *a\n", f": found groups within groups without an end; {EXPECTED}"),
        (b"config: " + b"[" * 5000, f": found groups within groups without an end; {EXPECTED}"),
    ],
)
def test_a_file_that_can_not_be_read_is_told_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    file.write_bytes(content)

    with pytest.raises(StackFileError) as caught:
        read_stack_file(file)

    assert str(caught.value) == f"{file}{message}"


def test_a_file_that_is_not_there_or_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StackFileError) as caught:
        read_stack_file(tmp_path / "Pulumi.none.yaml")
    assert str(caught.value) == f"{tmp_path}/Pulumi.none.yaml: can't read the stack file: No such file or directory"

    with pytest.raises(StackFileError) as caught:
        read_stack_file(tmp_path)
    assert str(caught.value) == f"{tmp_path}: can't read the stack file: Is a directory"


def test_the_engine_prints_such_an_error_without_a_traceback() -> None:
    assert issubclass(StackFileError, pulumi.RunError)


def test_a_byte_order_mark_and_letters_beyond_ascii_are_read(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    file.write_bytes("\ufeffconfig:\n  rungway:domain: münchen.de\n".encode())

    assert read_stack_file(file) == {"config": {"rungway:domain": "münchen.de"}}


def test_config_is_what_the_engine_gives_the_program(tmp_path: Path) -> None:
    """The forms of sdk/go/common/resource/config: texts as they are, everything else as Go writes JSON."""
    file = tmp_path / "Pulumi.test.yaml"
    file.write_text(
        """
encryptionsalt: v1:abc
config:
  name: shop
  rungway:config:domain: example.com
  rungway:text: "yes"
  rungway:flag: true
  rungway:count: 12
  rungway:share: 1.5
  rungway:whole: 30.0
  rungway:nothing:
  rungway:group: {zeta: 1.0, alpha: "<ü>", 3: [true, null]}
  hcloud:token: {secure: v1:def}
  rungway:keys: [{secure: v1:ghi}]
  rungway:settings: {secure: true}
""",
        encoding="utf-8",
    )

    config, secret_keys = engine_config(read_stack_file(file))

    assert config == {
        "rungway:name": "shop",
        "rungway:domain": "example.com",
        "rungway:text": "yes",
        "rungway:flag": "true",
        "rungway:count": "12",
        "rungway:share": "1.5",
        "rungway:whole": "30",
        "rungway:nothing": "",
        "rungway:group": '{"3":[true,null],"alpha":"\\u003cü\\u003e","zeta":1}',
        "hcloud:token": "[secret]",
        "rungway:keys": '["[secret]"]',
        "rungway:settings": '{"secure":true}',
    }
    assert secret_keys == ["hcloud:token", "rungway:keys"]


def test_a_stack_without_config_has_none() -> None:
    assert engine_config({"encryptionsalt": "v1:abc"}) == ({}, [])
    assert engine_config({"config": None}) == ({}, [])
