"""What examples/pytorch/kernels.py refuses, a line each: options as one argument of ours, then its last line."""

import contextlib
import io
import sys

import kernels

for options in sys.argv[1:]:
    text = io.StringIO()
    sys.argv = ["kernels.py", *options.split()]
    with contextlib.redirect_stderr(text):
        try:
            kernels.parse()
            code = 0
        except SystemExit as stop:
            code = stop.code
    print(options, code, text.getvalue().splitlines()[-1] if code else "taken")
