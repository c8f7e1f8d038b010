"""tests/golden/quant: rows of 512 floats encoded and decoded by ggml, without and with importance weights (ggml_blocks.cc does it)."""
import pathlib
import shutil
import subprocess
import tempfile

import numpy

TYPES = ["q8_0", "q6_K", "q5_K", "q4_K", "q4_0", "q3_K", "q2_K", "iq4_nl", "iq4_xs", "iq2_xxs", "mxfp4"]
COLUMNS = 512


def rows(rng):
    normal = rng.standard_normal((6, COLUMNS)) * 0.05
    normal[1] = 0
    normal[2, 77] = 3.0  # an outlier
    normal[3] = rng.standard_t(2, COLUMNS) * 0.02  # heavy tails
    normal[4] *= rng.random(COLUMNS) < 0.1  # sparse
    normal[5] = abs(normal[5]) * 1e-4  # tiny, one sign
    return normal.astype(numpy.float32)


def program(scratch):
    tools = pathlib.Path(__file__).parent
    build = pathlib.Path(subprocess.run([tools / "peer_llama.sh", "ggml-base"], check=True, capture_output=True, text=True).stdout.strip())
    include = build.parent / "llama_cpp_python-0.3.36/vendor/llama.cpp/ggml/include"
    subprocess.run(["g++", "-std=c++17", "-O1", "-fopenmp", "-I", include, tools / "ggml_blocks.cc", "-o", scratch / "ggml_blocks", build / "ggml/src/libggml-base.a", "-lpthread", "-ldl"], check=True)
    return scratch / "ggml_blocks"


def make(out, seed):
    shutil.rmtree(out, ignore_errors=True)
    rng = numpy.random.default_rng(seed)
    for name in ("plain", "imatrix"):
        (out / name).mkdir(parents=True)
    rows(rng).tofile(out / "input.f32")
    (rng.random(COLUMNS) ** 4 * 10 + 1e-3).astype(numpy.float32).tofile(out / "imatrix.f32")
    with tempfile.TemporaryDirectory() as scratch:
        encode = program(pathlib.Path(scratch))
        for name, matrix in (("plain", "-"), ("imatrix", out / "imatrix.f32")):
            subprocess.run([encode, out / "input.f32", str(COLUMNS), matrix, out / name, *TYPES], check=True)
    print(f"quant: {len(list(out.rglob('*.bin')))} encodings by ggml")
