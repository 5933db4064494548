"""The Python of docs/from-vllm.md: the program prints what it says, and the plug-in works on a server's shape.

No server is here: `vllm` stands for the few names that the plug-in asks for, with what the page says of them.
"""

import contextlib
import io
import pathlib
import re
import sys
import types
import unittest

import numpy as np

PAGE = pathlib.Path("docs/from-vllm.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)


class Array(np.ndarray):
    """What a CPU tensor of torch offers of what the plug-in uses."""

    def cpu(self):
        return self


def tensor(values):
    return np.asarray(values, np.int32).view(Array)


def server(fields):
    """Modules vllm.v1.attention.backends.gdn_attn and torch, as far as they are asked."""
    backends = types.ModuleType("vllm.v1.attention.backends")
    gdn_attn = types.ModuleType("vllm.v1.attention.backends.gdn_attn")

    class Upstream:
        def __init__(self, spec, names, config, device):
            self.num_spec = config.num_spec

    def record(**values):
        assert set(values) == set(fields)
        return types.SimpleNamespace(**values)

    record.__dataclass_fields__ = dict.fromkeys(fields)
    gdn_attn.GDNAttentionMetadataBuilder, gdn_attn.GDNAttentionMetadata = Upstream, record
    gdn_attn.GDNAttentionBackend = type("Backend", (), {"get_builder_cls": staticmethod(lambda: Upstream)})
    backends.gdn_attn = gdn_attn
    torch = types.ModuleType("torch")
    torch.from_dlpack = lambda t: t.numpy()
    packages = {name: types.ModuleType(name) for name in ("vllm", "vllm.v1", "vllm.v1.attention")}
    return {**packages, backends.__name__: backends, gdn_attn.__name__: gdn_attn, "torch": torch}, gdn_attn


class Docs(unittest.TestCase):
    def test_programs_print_what_they_say(self):
        programs = [block for block in BLOCKS if "# plug-in" not in block]
        self.assertEqual(len(programs), 2)
        for block in programs:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(block, {})
            claimed = "".join(line[3:] + "\n" for line in block.splitlines() if line.startswith("#> "))
            self.assertEqual(out.getvalue(), claimed)

    def test_the_plug_in_serves_a_servers_shape(self):
        fields = (
            "num_decodes",
            "num_prefills",
            "non_spec_state_indices_tensor",
            "spec_token_indx",
            "chunk_offsets",
            "newer",
        )
        modules, gdn_attn = server(fields)
        before, names = dict(sys.modules), {}
        sys.modules.update(modules)
        try:
            exec(next(b for b in BLOCKS if "# plug-in" in b), names)
            names["register"]()
            made = gdn_attn.GDNAttentionBackend.get_builder_cls()
            names["register"]()
            self.assertIs(gdn_attn.GDNAttentionBackend.get_builder_cls(), made)
            space = types.SimpleNamespace
            mode = space(has_full_cudagraphs=lambda: True)
            config = space(
                scheduler_config=space(max_num_seqs=8, max_num_batched_tokens=64),
                cache_config=space(mamba_cache_mode="align"),
                num_spec=0,
                compilation_config=space(cudagraph_mode=mode, max_cudagraph_capture_size=None),
            )
            builder = made(space(block_size=16, num_speculative_blocks=0), ["layer"], config, "cpu")
            common = space(
                query_start_loc_cpu=tensor([0, 1, 6]),
                seq_lens=tensor([20, 5]),  # of the second block, and of the first
                num_reqs=2,
                block_table_tensor=tensor([[3, 8], [4, 9]]),
                num_actual_tokens=6,
                max_query_len=5,
                is_prefilling=np.array([False, True]).view(Array),
            )
            meta = builder.build(0, common)
        finally:
            for name in modules:
                sys.modules.pop(name)
            sys.modules.update(before)
        self.assertEqual(
            (meta.num_decodes, meta.num_prefills, meta.newer, meta.spec_token_indx), (1, 1, None, None)
        )
        self.assertEqual(meta.non_spec_state_indices_tensor.tolist(), [8, 4])
        self.assertEqual(meta.chunk_offsets.tolist(), [0, 1])


if __name__ == "__main__":
    unittest.main()
