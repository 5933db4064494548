"""gdnmeta for Python hosts: batch metadata of Gated DeltaNet layers, on the CPU or a GPU.

    builder = Builder(rules="strict", device="cuda:0", max_num_seqs=256)
    batch = builder.batch()
    batch.set(query_len=1, seq_len=lengths, prompt_done=True, table_row=seats)    # numpy int32, at once
    meta = builder.build(batch, stream)
    torch.from_dlpack(meta.non_spec_state_indices_tensor)

Names are those of the Lua module and of gdnmeta.h, which says what every option, row and tensor means.
Needs numpy; torch is one of many that take the tensors."""
from ._abi import CONSTANTS, STRUCTS, __version__
from ._batch import Batch
from ._bucket import Bucket, Shape
from ._builder import Builder, Violation, bucket, builder_bytes
from ._columns import READ_DEFAULT
from ._errors import ClosedError, Error, StaleError
from ._metadata import Metadata
from ._options import MODES, RULES, Options
from ._raw import Inputs
from ._records import Hello, StepRecord
from ._reorder import Order, reorder
from ._rows import Rows
from ._tensor import Tensor
from ._worker import Channel

EINVAL, ENOMEM, ECAP = CONSTANTS["GDN_EINVAL"], CONSTANTS["GDN_ENOMEM"], CONSTANTS["GDN_ECAP"]
EGUARD, EDEVICE = CONSTANTS["GDN_EGUARD"], CONSTANTS["GDN_EDEVICE"]

__all__ = ["Batch", "Bucket", "Builder", "Channel", "ClosedError", "Error", "Hello", "Inputs", "MODES",
           "Metadata", "Options", "Order", "READ_DEFAULT", "RULES", "Rows", "STRUCTS", "Shape", "StaleError",
           "StepRecord", "Tensor", "Violation", "bucket", "builder_bytes", "reorder", "__version__", "EINVAL",
           "ENOMEM", "ECAP", "EGUARD", "EDEVICE"]
