"""The kernels of a layer under one set of names. `load(False)` finds those of flash-linear-attention, by
its public functions alone:

    conv(x, weight, initial_state, cu_seqlens, chunk_indices)     rows of any length
    conv_update(x, windows, weight)                               one token a row
    chunk(q, k, v, g, beta, initial_state, cu_seqlens, chunk_indices, chunk_offsets)
    recurrent(q, k, v, g, beta, initial_state)                    one token a row

Each returns outputs and new states; conv_update may use its windows for the new ones. Tokens are the first
dimension."""

from __future__ import annotations

import inspect
import json
import os
import tempfile
from types import SimpleNamespace

from . import naive

# Launch parameters, so that nothing is searched for: a search compiles a hundred variants. FLA reads them
# from a folder that its environment names, and searches where a kernel of another version is not listed.
LAUNCHES = {
    "chunk_local_cumsum_scalar_kernel": ({}, 4, 3),
    "chunk_gated_delta_rule_fwd_kkt_solve_kernel": ({"BK": 64}, 4, 3),
    "recompute_w_u_fwd_kernel": ({}, 4, 3),
    "chunk_gated_delta_rule_fwd_kernel_h_blockdim64": ({"BV": 32}, 4, 2),
    "chunk_fwd_kernel_o": ({"BK": 64, "BV": 64}, 4, 3),
    "l2norm_fwd_kernel": ({"BT": 16}, 4, 3),
    "causal_conv1d_fwd_kernel": ({"BD": 64}, 4, 3),
    "causal_conv1d_update_kernel": ({"BD": 64}, 4, 3),
}


class Missing(Exception):
    """The package is not there, or is one that these calls do not fit."""


def fixed_launches() -> None:
    """Before the package is imported."""
    if "FLA_CONFIG_DIR" in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="gdnmeta-fla-")
    for name, (kwargs, warps, stages) in LAUNCHES.items():
        launch = {"kwargs": kwargs, "num_warps": warps, "num_stages": stages, "num_ctas": 1, "maxnreg": None}
        with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
            json.dump({"kernel_name": name, "default_config": launch}, file)
    os.environ.update(FLA_CONFIG_DIR=folder, FLA_CACHE_MODE="default")


def _takes(version, function, *names):
    known = inspect.signature(function).parameters
    for name in names:
        if name not in known:
            raise Missing(
                f"flash-linear-attention {version}: {function.__name__} takes no {name}, "
                f"only {', '.join(known)}; 0.6.0 is known to work"
            )
    return known


def load(plain: bool) -> SimpleNamespace:
    """The kernels, and `name` that says which. Raises Missing."""
    if plain:
        return SimpleNamespace(
            name="naive torch",
            conv=naive.conv,
            conv_update=naive.conv_update,
            chunk=naive.chunk,
            recurrent=naive.recurrent,
        )
    try:
        import fla
        from fla.modules.causal_conv1d import causal_conv1d, causal_conv1d_update
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule, fused_recurrent_gated_delta_rule
    except ImportError as error:
        raise Missing(f"flash-linear-attention cannot be imported: {error}") from None
    version = getattr(fla, "__version__", "?")
    delta = ("initial_state", "output_final_state", "use_qk_l2norm_in_kernel", "cu_seqlens")
    _takes(
        version,
        causal_conv1d,
        "initial_state",
        "output_final_state",
        "activation",
        "cu_seqlens",
        "chunk_indices",
    )
    _takes(version, causal_conv1d_update, "cache", "weight", "activation")
    _takes(version, fused_recurrent_gated_delta_rule, *delta)
    offsets = "chunk_offsets" in _takes(version, chunk_gated_delta_rule, *delta, "chunk_indices")

    def conv(x, weight, initial_state, cu_seqlens, chunk_indices):
        y, windows = causal_conv1d(
            x[None],
            weight,
            initial_state=initial_state,
            output_final_state=True,
            activation="silu",
            cu_seqlens=cu_seqlens,
            chunk_indices=chunk_indices,
        )
        return y[0], windows

    def conv_update(x, windows, weight):
        return causal_conv1d_update(x, windows.contiguous(), weight=weight, activation="silu")

    def chunk(q, k, v, g, beta, initial_state, cu_seqlens, chunk_indices, chunk_offsets):
        more = {"chunk_offsets": chunk_offsets} if offsets else {}
        out, states = chunk_gated_delta_rule(
            q[None],
            k[None],
            v[None],
            g[None],
            beta[None],
            initial_state=initial_state,
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
            cu_seqlens=cu_seqlens,
            chunk_indices=chunk_indices,
            **more,
        )
        return out[0], states

    def recurrent(q, k, v, g, beta, initial_state):
        out, states = fused_recurrent_gated_delta_rule(
            q[:, None],
            k[:, None],
            v[:, None],
            g[:, None],
            beta=beta[:, None],
            initial_state=initial_state,
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
        )
        return out[:, 0], states

    return SimpleNamespace(
        name=f"flash-linear-attention {version}",
        conv=conv,
        conv_update=conv_update,
        chunk=chunk,
        recurrent=recurrent,
    )
