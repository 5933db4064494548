"""The header as Python reads it: each struct with its size and its members' offsets."""
import ctypes

from ._abi import STRUCTS

for name, struct in STRUCTS.items():
    offsets = (f"{member}={getattr(struct, member).offset}" for member, _ in getattr(struct, "_fields_"))
    print(name, ctypes.sizeof(struct), *offsets)
