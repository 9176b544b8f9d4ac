"""'auto' device and precision."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import EMULATED, write_data

from hpkit.devices import resolve_device, resolve_precision


def test_names_of_devices_and_precisions(monkeypatch) -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cuda", "mps", "cpu")
    assert resolve_precision("bfloat16", torch.device("cpu")) == "bfloat16"
    assert resolve_precision("auto", torch.device("mps")) == "float32"


@pytest.mark.parametrize(("variable", "value", "precision"), [
    ("ATEN_CPU_CAPABILITY", "avx2", "float32"), ("ATEN_CPU_CAPABILITY", "default", "float32"),
    ("ATEN_CPU_CAPABILITY", "avx512", "bfloat16"), ("ONEDNN_MAX_CPU_ISA", "AVX2", "float32"),
    ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", "float32"), ("ONEDNN_MAX_CPU_ISA", "ALL", "bfloat16"),
    ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", "bfloat16"),
])
def test_automatic_precision_on_a_cpu(monkeypatch, variable, value, precision) -> None:
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == precision


def test_automatic_precision_without_the_hardware(monkeypatch) -> None:
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: False, raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == "float32"
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, probe)
    assert resolve_precision("auto", torch.device("cpu")) == "float32"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_check_of_a_gpu_runs_on_the_processor(tmp_path):
    """Where there is no other device, the same path through the device argument."""
    script = Path(__file__).parent / "benchmarks" / "gpu_check.py"
    data = write_data(tmp_path / "data", train=("i_gnu", "v_hen"))  # a photo for each fold
    options = ["--device", "cpu", "--samples", "60", "--trained", "60", "--points", "10",
               "--threads", "1", "--skip-recipe", "--data", data, "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, script, *options], capture_output=True, text=True,
                          check=True)
    assert done.stdout.endswith("the scores agree, and the bytes repeat\n")
    tables = json.loads((tmp_path / "gpu_check.json").read_text())["tables"]
    assert all(row["there"] == row["processor"] for row in tables["the same weights"])
    assert [row["epochs kept when stopped"] for row in tables["the same bytes"]] == [1] * 5
    assert len(tables["throughput"]) == (6 if EMULATED else 12)  # a row per precision
