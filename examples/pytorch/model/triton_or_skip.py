"""For tests of Triton kernels, run as programs: without a GPU in Triton's interpreter, and over where there is no
Triton, with status 3."""

import os
import sys

if "cuda" not in " ".join(sys.argv):
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

try:
    import triton  # noqa: F401
except ImportError:
    print(f"{os.path.splitext(os.path.basename(sys.argv[0]))[0]}: SKIPPED, there is no triton")
    sys.exit(3)
