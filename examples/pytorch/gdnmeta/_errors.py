"""What goes wrong, as exceptions.

A programming mistake is a TypeError or a ValueError. What a server can meet at run time is an Error with the
core's code; a view of a step that is over raises StaleError, and a closed object ClosedError."""
from __future__ import annotations

from typing import Any, Iterable, NoReturn, Union

from ._abi import CONSTANTS, lib, text

CODES = {CONSTANTS[name]: name for name in CONSTANTS
         if name in ("GDN_EINVAL", "GDN_ENOMEM", "GDN_ECAP", "GDN_EGUARD", "GDN_EDEVICE", "GDN_EVERSION")}


class Error(RuntimeError):
    """A call was refused. `code` is a GDN_E* of gdnmeta.h, `name` what it is called there."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    @property
    def name(self) -> str:
        return CODES.get(self.code, str(self.code))

    def __reduce__(self) -> Any:
        return Error, (str(self), self.code)


class StaleError(RuntimeError):
    """A tensor is of an earlier step: the builder's memory shows another one now."""


class ClosedError(ValueError):
    """The object, or its builder, was closed."""


def failed(handle: int, status: int) -> NoReturn:
    """Raise what gdn_last_error says of the call that just failed."""
    raise Error(text(lib.gdn_last_error(handle)), status)


def show(value: object) -> str:
    """A value as a message shows it: short, whatever it is."""
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        return '"%s"' % (value if len(value) <= 60 else value[:57] + "...")
    dtype = getattr(value, "dtype", None)
    if dtype is not None and getattr(value, "shape", None) == ():
        return f"{value} ({dtype})"
    return f"a {type(value).__name__}"


def wrong(name: str, value: object, wanted: str) -> str:
    return f"{name} = {show(value)}, want {wanted}"


def one_of(names: Iterable[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]


def integer(name: str, value: Any, low: int, high: int) -> int:
    """A whole number of low .. high, from Python or numpy; True is none."""
    if type(value) is not int:
        index = getattr(type(value), "__index__", None)
        kind = getattr(getattr(value, "dtype", None), "kind", "i")
        if index is None or isinstance(value, bool) or kind not in "iu":
            raise TypeError(wrong(name, value, f"an integer in {low} .. {high}"))
        try:
            value = index(value)
        except TypeError:  # an array of several
            raise TypeError(wrong(name, value, f"an integer in {low} .. {high}")) from None
    if not low <= value <= high:
        raise ValueError(wrong(name, value, f"an integer in {low} .. {high}"))
    number: int = value
    return number


Flag = Union[bool, int]


def flag(name: str, value: Any) -> int:
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return int(bool(value))
    raise TypeError(wrong(name, value, "True or False"))
