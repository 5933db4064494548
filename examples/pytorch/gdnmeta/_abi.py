"""The library and its ABI: structs, constants and functions as gdnmeta.h has them.

The header is the only description of the ABI: it is read here, so that nothing is declared twice.
  GDNMETA_LIB      the library, where it is not build/libgdnmeta.so of the tree that this file is part of
  GDNMETA_HEADER   the header, where it is not src/gdnmeta.h of that tree; the others of src are
                   next to it
"""
from __future__ import annotations

import ctypes
import os
import pathlib
import re
import types
from typing import Any, Dict, List, Optional, Tuple, Type

ROOT = pathlib.Path(__file__).resolve().parents[3]
HEADER_PATH = pathlib.Path(os.environ.get("GDNMETA_HEADER") or ROOT / "src/gdnmeta.h")
LIB_PATH = os.environ.get("GDNMETA_LIB") or str(ROOT / "build/libgdnmeta.so")

NUMBERS: Dict[str, Any] = {f"{sign}int{bits}_t": getattr(ctypes, f"c_{sign}int{bits}")
                           for sign in ("", "u") for bits in (8, 16, 32, 64)}
NUMBERS.update(size_t=ctypes.c_size_t, double=ctypes.c_double, float=ctypes.c_float, gdn_status=ctypes.c_int32)


def _plain(text: str) -> str:
    """C without comments, directives and words that change no layout."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"(?m)^[ \t]*#.*$", " ", text)
    return re.sub(r"\b(const|struct|GDN_OWN|GDN_NULL_OK)\b", " ", text)


def _members(statement: str, structs: Dict[str, Type[ctypes.Structure]]) -> List[Tuple[str, Any]]:
    """(name, type) of each declarator of a statement such as `int32_t *a, b[2]`. Pointers are addresses."""
    function = re.search(r"\(\*(\w+)\)\(", statement)
    if function:
        return [(function[1], ctypes.c_void_p)]
    base, rest = statement.split(None, 1)
    fields = []
    for declarator in rest.split(","):
        found = re.fullmatch(r"\s*([* ]*)(\w+)\s*(?:\[(\d+)\])?\s*", declarator)
        if not found:
            raise ImportError(f"{HEADER_PATH}: cannot read the member {statement!r}")
        kind: Any = ctypes.c_void_p if "*" in found[1] else NUMBERS.get(base) or structs[base]
        fields.append((found[2], kind * int(found[3]) if found[3] else kind))
    return fields


def read_structs(text: str) -> Dict[str, Type[ctypes.Structure]]:
    """Every complete struct of the header as a ctypes class, by name."""
    structs: Dict[str, Type[ctypes.Structure]] = {}
    for body, name in re.findall(r"typedef\s+\w+\s*\{([^{}]*)\}\s*(gdn_\w+);", _plain(text)):
        statements = [part.strip() for part in body.split(";") if part.strip()]
        fields = [field for part in statements for field in _members(part, structs)]
        structs[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return structs


def _type_of(text: str, result: bool) -> Any:
    if "*" in text:
        return ctypes.c_char_p if result and "char" in text else ctypes.c_void_p
    word = text.split()[0]
    return None if word == "void" else NUMBERS[word]


def declare(library: Any, text: str) -> Any:
    """The library's functions with the types of their prototypes, and no others: ctypes would pass an address to an
    undeclared one as an int."""
    functions = {}
    for result, name, arguments in re.findall(r"GDN_API\s+([\w *]*?)\s*(gdn_\w+)\(([^()]*)\);", _plain(text)):
        function = getattr(library, name)
        function.restype = _type_of(result, True)
        parts = [part for part in arguments.split(",") if part.strip() != "void"]
        function.argtypes = [_type_of(part, False) for part in parts]
        functions[name] = function
    return types.SimpleNamespace(**functions)


HEADER = HEADER_PATH.read_text() + "".join(HEADER_PATH.with_name(f"gdnmeta_{part}.h").read_text()
                                              for part in ("scheduler", "prefix_index", "worker"))
STRUCTS = read_structs(HEADER)
CONSTANTS: Dict[str, int] = {name: int(value)
                             for name, value in re.findall(r"\b(GDN_\w+)\s*=\s*(-?\d+)", HEADER)}
__version__ = ".".join(re.findall(r"(?m)^#define GDN_VERSION_[A-Z]+ (\d+)$", HEADER))

# Calls keep the interpreter's lock: they take microseconds, and a builder takes one thread at a time.
_library = ctypes.PyDLL(LIB_PATH)
if _library.gdn_abi() != CONSTANTS["GDN_ABI"]:
    raise ImportError(f"{LIB_PATH} has ABI {_library.gdn_abi()}, {HEADER_PATH} is of {CONSTANTS['GDN_ABI']}")
lib: Any = declare(_library, HEADER)
waiting: Any = declare(ctypes.CDLL(LIB_PATH), HEADER)  # for calls that wait for a device


def _check_library() -> None:
    ours = ctypes.sizeof(STRUCTS["gdn_config"])
    config = ctypes.create_string_buffer(ours + 4096)  # a library may know more fields
    lib.gdn_config_init(config)
    size = ctypes.c_uint32.from_buffer(config).value
    if size != ours:
        raise ImportError(f"{LIB_PATH} has a gdn_config of {size} bytes, {HEADER_PATH} one of {ours}")


_check_library()


def names_of(prefix: str) -> Dict[str, int]:
    """Constants GDN_<prefix>_* by the name that options take: GDN_RULES_VLLM_2026_04 is "vllm-2026-04"."""
    start = f"GDN_{prefix}_"
    return {name[len(start):].lower().replace("_", "-"): value
            for name, value in CONSTANTS.items() if name.startswith(start)}


def text(value: Optional[bytes]) -> str:
    return (value or b"").decode(errors="replace")
