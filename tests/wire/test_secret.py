import copy
import logging
import pickle
import traceback
from dataclasses import dataclass

import pytest

from vcstack.wire.secret import Secret

CONTENT = b"correct horse battery staple"


@dataclass(frozen=True)
class Holder:
    psk: Secret


def test_reveals_only_on_demand() -> None:
    secret = Secret(bytearray(CONTENT))
    assert secret.reveal() == CONTENT
    assert len(secret) == len(CONTENT)
    assert bool(secret)
    assert not Secret(b"")


def test_no_text_form_shows_the_content(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(CONTENT)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger().debug("%s %r %s", secret, secret, Holder(secret))
    shown = caplog.text + f"{secret}" + format(secret) + str([secret])
    assert "correct" not in shown
    assert "Secret(...)" in shown


def test_traceback_with_locals_does_not_show_the_content() -> None:
    try:
        secret = Secret(CONTENT)
        _ = {0: ""}[len(secret)]
    except KeyError as error:
        trace = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert "Secret(...)" in "".join(trace.format())
        assert "correct" not in "".join(trace.format())


def test_equality_is_by_content_and_among_secrets_only() -> None:
    assert Secret(CONTENT) == Secret(CONTENT)
    assert Secret(CONTENT) != Secret(b"other")
    assert Secret(CONTENT) != CONTENT


def test_has_no_hash() -> None:
    with pytest.raises(TypeError):
        hash(Secret(CONTENT))


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_is_neither_pickled_nor_copied(duplicate: object) -> None:
    assert callable(duplicate)
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        duplicate(Secret(CONTENT))


def test_cannot_carry_other_attributes() -> None:
    with pytest.raises(AttributeError):
        Secret(CONTENT).note = "x"  # type: ignore[attr-defined]
