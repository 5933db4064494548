"""Tensor parallelism over the processes of torchrun: each rank has some of the heads, of the states, and of the
MLPs' and experts' inner units, and sums up what a layer's last projection gives. To everything else a rank's
model is a model with fewer heads. Ranks get the same records and build the same metadata, each on its own.

    torchrun --nproc-per-node 2 examples/pytorch/worker.py ...

Rank 0 has the channel to the engine and passes on what comes; the others only follow."""

from __future__ import annotations

import copy
import ctypes
import os
import signal
from datetime import timedelta
from typing import Optional

import torch
import torch.distributed as dist

from .capture import drop_graphs
from .errors import ModelError

PR_SET_PDEATHSIG = 1
YEAR = timedelta(days=365)  # ranks wait for steps for as long as nobody asks
COUNTS = ("linear_num_key_heads", "linear_num_value_heads", "num_attention_heads", "num_key_value_heads")


class Ranks:
    """The processes of a torchrun. `device` is this one's."""

    def __init__(self, device: Optional[str] = None) -> None:
        self.rank, self.count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
        # torchrun gives each rank a session of its own, which would outlive it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        on_gpu = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")).type == "cuda"
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if on_gpu else torch.device("cpu")
        if on_gpu:
            torch.cuda.set_device(self.device)
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(minutes=10))
        self.host = dist.new_group(backend="gloo", timeout=YEAR)
        self.bytes = torch.zeros(1 << 16, dtype=torch.uint8)

    @classmethod
    def join(cls, device: Optional[str] = None) -> Optional[Ranks]:
        """None in a process that no torchrun started."""
        return cls(device) if "RANK" in os.environ else None

    def share(self, data: Optional[bytes] = None) -> bytes:
        """What rank 0 gives, for all."""
        length = 8
        if self.rank == 0:
            self.bytes[:8] = torch.frombuffer(bytearray(len(data).to_bytes(8, "little")), dtype=torch.uint8)
            fits = min(len(data), len(self.bytes) - length)
            if fits:
                self.bytes[length : length + fits] = torch.frombuffer(bytearray(data[:fits]), dtype=torch.uint8)
        dist.broadcast(self.bytes, 0, group=self.host)
        total = int.from_bytes(self.bytes[:length].numpy().tobytes(), "little")
        if total <= len(self.bytes) - length:
            return self.bytes[length : length + total].numpy().tobytes()
        whole = torch.frombuffer(bytearray(data or total), dtype=torch.uint8)
        dist.broadcast(whole, 0, group=self.host)
        return whole.numpy().tobytes()

    def shard(self, model):
        """The rank's part of a model, in place."""
        shard(model, self.rank, self.count)
        return model

    def leave(self) -> None:
        """The others go when rank 0 does."""
        if self.rank == 0:
            self.share(b"")
        self.close()

    def close(self) -> None:
        drop_graphs()
        dist.destroy_process_group()


class _Part:
    """Of `whole` things in ranks, those of one."""

    def __init__(self, name: str, whole: int, rank: int, count: int) -> None:
        if whole % count:
            raise ModelError(f"{name} = {whole}, want a multiple of {count} ranks")
        self.size = whole // count
        self.first = rank * self.size

    def of(self, tensor, dim: int = 0, each: int = 1):
        """`each` elements of dim belong to a thing."""
        return tensor.narrow(dim, self.first * each, self.size * each)


def _keep(module, name: str, tensor) -> None:
    setattr(module, name, torch.nn.Parameter(tensor.detach().clone(), requires_grad=False))


def _outputs(linear, part: _Part, each: int) -> None:
    _keep(linear, "weight", part.of(linear.weight, 0, each))
    if linear.bias is not None:
        _keep(linear, "bias", part.of(linear.bias, 0, each))
    linear.out_features = part.size * each


def _inputs(linear, part: _Part, each: int) -> None:
    _keep(linear, "weight", part.of(linear.weight, 1, each))
    linear.in_features = part.size * each


def _summed(module) -> None:
    """What the module gives is a rank's share of a sum."""

    def add(_, __, out):
        dist.all_reduce(out[0] if isinstance(out, tuple) else out)
        return out

    module.register_forward_hook(add)


def _gdn(m, rank: int, count: int) -> None:
    keys = _Part("linear_num_key_heads", m.num_k_heads, rank, count)
    values = _Part("linear_num_value_heads", m.num_v_heads, rank, count)
    dk, dv, group = m.head_k_dim, m.head_v_dim, m.num_v_heads // m.num_k_heads

    def mixed(tensor):
        q, k, v = tensor.split([m.key_dim, m.key_dim, m.value_dim])
        return torch.cat([keys.of(q, 0, dk), keys.of(k, 0, dk), values.of(v, 0, dv)])

    _keep(m.conv1d, "weight", mixed(m.conv1d.weight))
    if hasattr(m, "in_proj_qkvz"):  # by key head: its queries, keys, and the values and gates of its value heads
        _outputs(m.in_proj_qkvz, keys, 2 * dk + 2 * dv * group)
        _outputs(m.in_proj_ba, keys, 2 * group)
    else:
        _keep(m.in_proj_qkv, "weight", mixed(m.in_proj_qkv.weight))
        _outputs(m.in_proj_z, values, dv)
        _outputs(m.in_proj_b, values, 1)
        _outputs(m.in_proj_a, values, 1)
    _keep(m, "A_log", values.of(m.A_log))
    _keep(m, "dt_bias", values.of(m.dt_bias))
    _inputs(m.out_proj, values, dv)
    _summed(m.out_proj)
    m.num_k_heads, m.num_v_heads = keys.size, values.size
    m.key_dim, m.value_dim = keys.size * dk, values.size * dv
    m.conv_dim = 2 * m.key_dim + m.value_dim


def _attention(m, config, rank: int, count: int) -> None:
    heads = _Part("num_attention_heads", config.num_attention_heads, rank, count)
    keys = _Part("num_key_value_heads", config.num_key_value_heads, rank, count)
    _outputs(m.q_proj, heads, 2 * m.head_dim)  # queries and gate
    _outputs(m.k_proj, keys, m.head_dim)
    _outputs(m.v_proj, keys, m.head_dim)
    _inputs(m.o_proj, heads, m.head_dim)
    _summed(m.o_proj)


def _mlp(m, name: str, rank: int, count: int) -> None:
    units = _Part(name, m.gate_proj.out_features, rank, count)
    _outputs(m.gate_proj, units, 1)
    _outputs(m.up_proj, units, 1)
    _inputs(m.down_proj, units, 1)


def _experts(m, rank: int, count: int) -> None:
    experts = m.experts
    units = _Part("moe_intermediate_size", experts.down_proj.shape[2], rank, count)
    gate, up = experts.gate_up_proj.chunk(2, 1)
    _keep(experts, "gate_up_proj", torch.cat([units.of(gate, 1), units.of(up, 1)], 1))
    _keep(experts, "down_proj", units.of(experts.down_proj, 2))
    experts.intermediate_dim = units.size
    _mlp(m.shared_expert, "shared_expert_intermediate_size", rank, count)


def shard(model, rank: int, count: int) -> None:
    """Leaves of a model of transformers what rank `rank` of `count` needs."""
    config = model.config
    for layer in model.model.layers:
        if hasattr(layer, "linear_attn"):
            _gdn(layer.linear_attn, rank, count)
        else:
            _attention(layer.self_attn, config, rank, count)
        if hasattr(layer.mlp, "experts"):
            _experts(layer.mlp, rank, count)
        else:
            _mlp(layer.mlp, "intermediate_size", rank, count)
        _summed(layer.mlp)
    model.config = copy.copy(config)
    for name in COUNTS:
        setattr(model.config, name, getattr(config, name) // count)
