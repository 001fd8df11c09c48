"""One thread a process, set before torch loads: two workers share the machine, and banks fork."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
