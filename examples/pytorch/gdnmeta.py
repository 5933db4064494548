"""gdnmeta from Python: structs as gdnmeta.h has them, and tensors for whoever speaks DLPack.

The header is the only description of the ABI: it is read here, so that nothing is declared twice."""
import ctypes
import os
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
NUMBERS = {f"{name}_t": getattr(ctypes, f"c_{name}")
           for name in ("int32", "int64", "uint8", "uint16", "uint32", "uint64")}


def _member(text, structs):
    """(name, type) of each declarator of a statement such as `int32_t *const a, b[2]`."""
    function = re.search(r"\(\*(\w+)\)\(", text)
    if function:
        return [(function[1], ctypes.c_void_p)]
    words, fields = re.sub(r"\bconst\b|\bstruct\b", " ", text).split(None, 1), []
    base = NUMBERS.get(words[0]) or structs.get(words[0])
    for declarator in words[1].split(","):
        stars, name, count = re.fullmatch(r"\s*([* ]*)(\w+)\s*(?:\[(\d+)\])?\s*", declarator).groups()
        kind = base
        if "*" in stars:
            kind = ctypes.POINTER(base) if stars.count("*") == 1 and words[0] in NUMBERS else ctypes.c_void_p
        fields.append((name, kind * int(count) if count else kind))
    return fields


def read_structs(text):
    """Every complete struct of the header as a ctypes class, by name."""
    structs = {}
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", text, flags=re.S):
        members = [member.strip() for member in body.split(";") if member.strip()]
        fields = [field for member in members for field in _member(member, structs)]
        structs[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return structs


HEADER = (ROOT / "src/gdnmeta.h").read_text()
STRUCTS = read_structs(HEADER)
ABI = int(re.search(r"GDN_ABI = (\d+)", HEADER)[1])
READ_DEFAULT, CUDA = -2, 2

lib = ctypes.CDLL(os.environ.get("GDNMETA_LIB") or str(ROOT / "build/libgdnmeta.so"))
if lib.gdn_abi() != ABI:
    raise ImportError(f"libgdnmeta.so has ABI {lib.gdn_abi()}, {ROOT}/src/gdnmeta.h is of {ABI}")
lib.gdn_last_error.restype = ctypes.c_char_p
lib.gdn_builder_metadata.restype = ctypes.POINTER(STRUCTS["gdn_metadata"])

DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new, _valid, _pointer = (ctypes.pythonapi[f"PyCapsule_{name}"] for name in ("New", "IsValid", "GetPointer"))
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_valid.argtypes = _pointer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_pointer.restype = ctypes.c_void_p


class _Form:
    """One of DLPack's two forms: how it is exported, and what its capsule is called."""

    def __init__(self, struct, export, name):
        self.struct, self.export, self.name = STRUCTS[struct], export, name
        # A consumer renames the capsule and owns the tensor. One that nobody consumed deletes it.
        self.destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(self._dropped)

    def _dropped(self, capsule):
        if _valid(capsule, self.name):
            at = _pointer(capsule, self.name)
            DELETER(self.struct.from_address(at).deleter)(at)

    def capsule(self, builder, tensor):
        out = ctypes.c_void_p()
        builder.check(self.export(builder.handle, ctypes.byref(tensor), ctypes.byref(out)))
        return _new(out, self.name, ctypes.cast(self.destructor, ctypes.c_void_p))


VERSIONED = _Form("gdn_dlpack", lib.gdn_tensor_export, b"dltensor_versioned")
UNVERSIONED = _Form("gdn_dlpack_unversioned", lib.gdn_tensor_export_unversioned, b"dltensor")


class Tensor:
    """A tensor of the builder's last step, for torch.from_dlpack, numpy.from_dlpack and their like."""

    def __init__(self, builder, tensor):
        self.builder, self.tensor = builder, tensor

    def __dlpack_device__(self):
        return self.builder.device

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """`stream` is the consumer's: builds are on it already, see Builder.build."""
        if copy or dl_device not in (None, self.builder.device):
            raise BufferError("gdnmeta exports its own memory, where it is")
        form = VERSIONED if max_version and max_version[0] >= 1 else UNVERSIONED
        return form.capsule(self.builder, self.tensor)


class Builder:
    """A builder and its batch. Options are the fields of gdn_config; device: -1, or a CUDA ordinal."""

    def __init__(self, **options):
        config, why, out = STRUCTS["gdn_config"](), ctypes.create_string_buffer(512), ctypes.c_void_p()
        lib.gdn_config_init(ctypes.byref(config))
        known = [name for name, _ in config._fields_]
        for name, value in options.items():
            if name not in known:  # ctypes would take it for an attribute of the object, and say nothing
                raise TypeError(f"unknown option {name}, want one of {', '.join(known)}")
            setattr(config, name, value)
        if lib.gdn_builder_new(ctypes.byref(config), ctypes.byref(out), why, len(why)):
            raise RuntimeError(why.value.decode())
        self.handle = out
        self.device = (1, 0) if config.device < 0 else (CUDA, config.device)
        batch = ctypes.POINTER(STRUCTS["gdn_batch"])()
        self.check(lib.gdn_batch_new(self.handle, ctypes.byref(batch)))
        self.batch = batch

    def check(self, status):
        if status:
            raise RuntimeError(lib.gdn_last_error(self.handle).decode())

    def add(self, query_len, seq_len, block, prompt_done):
        """A row whose state is in one block."""
        batch = self.batch.contents
        row = batch.num_rows
        if row >= batch.max_rows:
            raise RuntimeError(f"rows = {row + 1}, want at most max_rows = {batch.max_rows}")
        batch.query_len[row], batch.seq_len[row], batch.prompt_done[row] = query_len, seq_len, prompt_done
        batch.num_draft_tokens[row], batch.num_accepted_tokens[row] = -1, 1
        batch.read_column[row], batch.table_row[row] = READ_DEFAULT, ~row
        batch.blocks[row * batch.max_blocks_per_row] = block
        batch.num_rows += 1

    def build(self, stream=None):
        """The metadata of the rows added since. On CUDA, `stream` is the one that consumers work on."""
        self.check(lib.gdn_build(self.handle, self.batch, ctypes.c_void_p(stream)))
        self.batch.contents.num_rows = 0
        return lib.gdn_builder_metadata(self.handle).contents

    def tensor(self, name):
        return Tensor(self, getattr(lib.gdn_builder_metadata(self.handle).contents, name))

    def close(self):
        lib.gdn_batch_free(self.batch)
        lib.gdn_builder_free(self.handle)
        self.batch = self.handle = None


if __name__ == "__main__":
    for name, struct in STRUCTS.items():
        offsets = (f"{member}={getattr(struct, member).offset}" for member, _ in struct._fields_)
        print(name, ctypes.sizeof(struct), *offsets)
