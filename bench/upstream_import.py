"""Loads the metadata builder of the package vllm alone: installed, or the Python files of its wheel. What the
rest of the server needs is stood in for then."""
import importlib
import importlib.abc
import importlib.machinery
import os
import sys
import types

# What the builder's imports name and its builds do not use; and what is stood in for where it is missing.
UNUSED = ("vllm._aiter_ops", "vllm.config", "vllm.distributed.kv_transfer", "vllm.env_override",
          "vllm.model_executor.layers.mamba.gdn", "vllm.multimodal", "transformers")
PACKAGES = ("cachetools", "cbor2", "cloudpickle", "msgspec", "psutil", "pydantic", "requests",
            "urllib3", "uvloop", "zmq", "vllm._C", "vllm._C_stable_libtorch", "vllm._moe_C",
            "vllm._moe_C_stable_libtorch")
BACKEND = ("vllm.model_executor.layers.mamba.gdn.qwen_gdn_linear_attn", "_resolve_gdn_prefill_backend")


class _Kind(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing

    def __or__(cls, _):
        return cls

    __ror__ = __or__


class Nothing(metaclass=_Kind):
    """Every class and function of a stand-in. It is false, and as a decorator it changes nothing."""

    def __new__(cls, *arguments, **named):
        if len(arguments) == 1 and not named and callable(arguments[0]) and cls.__name__[0].islower():
            return arguments[0]
        return super().__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __init_subclass__(cls, **_):
        pass

    def __class_getitem__(cls, _):
        return cls

    def __call__(self, *arguments, **_):
        return arguments[0] if arguments and callable(arguments[0]) else Nothing()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()

    def __bool__(self):
        return False

    def __iter__(self):
        return iter(())


class _Module(types.ModuleType):
    __path__ = []
    __version__ = "0"

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = _Kind(name, (Nothing,), {"__module__": self.__name__})
        setattr(self, name, value)
        return value


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name in self.names or isinstance(sys.modules.get(name.rpartition(".")[0]), _Module):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        pass


def load(files=None):
    """The modules gdn_attn, backend, kv_cache_interface. `files`: a folder of the wheel's Python files."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    if files:
        sys.path.insert(0, files)
        sys.meta_path.insert(0, _Finder(UNUSED))
        sys.meta_path.append(_Finder(PACKAGES))
        module, name = BACKEND  # which backend was asked for, and which is used
        setattr(importlib.import_module(module), name, lambda *_: ("triton", "triton"))
    modules = ("attention.backends.gdn_attn", "attention.backend", "kv_cache_interface")
    return [importlib.import_module("vllm.v1." + name) for name in modules]


def without_pinned_memory():
    """For a machine without a GPU."""
    for name, module in list(sys.modules.items()):
        if name.startswith("vllm") and "PIN_MEMORY" in vars(module):
            module.PIN_MEMORY = False
