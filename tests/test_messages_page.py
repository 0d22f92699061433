"""The message page says what the code says."""

from __future__ import annotations

from tests.messages_page import PAGE, codes, messages, messengers, page


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.messages_page`"


def test_every_code_has_its_cause_and_its_remedy() -> None:
    for code, error in codes().items():
        text = error.__doc__ or ""
        assert text.startswith("Cause: ") and " Fix: " in text, code


def test_messages_are_read_from_the_code(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "source.py"
    path.write_text("""
AGAIN = "compile again"

def one(size):
    what = f"a batch of {size}"
    raise UsageError(Problem(what, hint=AGAIN))

def tell(message, hint):
    BindError.raise_if([Problem(message, hint=hint)])

def two(name):
    if name == "a":
        told = "never seen"
        return
    told = "not here"
    tell(f"{name!r} is {told}", "look elsewhere")
    log.warning("%s was left out", name)
""")
    found = [(each.code, each.text, each.remedy) for each in messages(path, messengers([path]))]
    assert found == [
        ("USAGE", "a batch of <size>", "compile again"),
        ("BIND", "<name> is not here", "look elsewhere"),
        ("note", "<name> was left out", ""),
    ]
