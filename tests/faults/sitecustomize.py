"""Python imports this at its start if this folder is on PYTHONPATH: HPKIT_FAULT breaks hpkit."""

import os

if fault := os.environ.get("HPKIT_FAULT"):
    from faults import install

    install(fault)
