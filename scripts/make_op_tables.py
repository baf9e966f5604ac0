"""Make convert/targets/tables/*.json: which ops, in which versions, each runtime registers.

Every runtime is installed as its users install it, in a throw-away environment, and really loads a
single-op model for each op and version. Running it again gives the same files.

Usage: python scripts/make_op_tables.py [--only NAME] [--cache FOLDER]
       python scripts/make_op_tables.py --check [--only NAME] [--tables FOLDER]

--check asks the installed runtimes again, at the edges of each range, and exits with 1 where a
table says something else.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from probes.ask import HIGHEST, OPS, ask, onnx_known, onnx_models, tflite_command, versions

TABLES = Path(__file__).parents[1] / "convert" / "targets" / "tables"
PROBES = Path(__file__).parent / "probes"
MODULES = {"tflite-runtime": "tflite_runtime", "ai-edge-litert": "ai_edge_litert"}
LOADED = "a model of one op loaded for each op and version 1 to 25"
# Release of onnxruntime -> the package that was asked; the first three have no Python 3.11 wheel.
NODE = {"1.12": "1.12.1", "1.13": "1.13.1", "1.14": "1.14.0"}
WHEELS = {
    "1.15": "1.15.1", "1.16": "1.16.3", "1.17": "1.17.3", "1.18": "1.18.1", "1.19": "1.19.2",
    "1.20": "1.20.1", "1.21": "1.21.1", "1.22": "1.22.1", "1.23": "1.23.2", "1.24": "1.24.4",
    "1.25": "1.25.1", "1.26": "1.26.0", "1.27": "1.27.0", "1.28": "1.28.0", "1.29": "1.29.0",
    "1.30": "1.30.0", "1.31": "1.31.1", "1.32": "1.32.0",
}  # fmt: skip


@dataclass(frozen=True)
class Runtime:
    """A TFLite runtime to ask: its name and version, the packages that hold it, the source."""

    name: str
    version: str
    packages: tuple[str, ...]
    module: str
    source: str

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}.json"


def wheel(name: str, version: str, *more: str) -> Runtime:
    source = f"the Python 3.11 wheel {name} {version} for x86-64; {LOADED}"
    return Runtime(name, version, (f"{name}=={version}", *more), MODULES[name], source)


RUNTIMES = (
    wheel("tflite-runtime", "2.14.0", "numpy<2"),
    wheel("ai-edge-litert", "1.0.1", "numpy<2"),
    wheel("ai-edge-litert", "1.4.0", "numpy<2"),
    wheel("ai-edge-litert", "2.1.0"),
    wheel("ai-edge-litert", "2.3.0"),
    Runtime(
        "android-tflite", "2.16.1", ("tensorflow-cpu==2.16.1", "numpy<2"), "tensorflow",
        "tf.lite.Interpreter of the wheel tensorflow-cpu 2.16.1, which stands for the AAR "
        "org.tensorflow:tensorflow-lite:2.16.1: both are built from the same release and register "
        "the same BuiltinOpResolver (kernels/register.cc); the AAR itself runs on Android only; "
        f"{LOADED}",
    ),
    Runtime(
        "tflite-micro", "0.dev20261023182759", ("tflite-micro==0.dev20261023182759",),
        "tflite_micro",
        "the Python 3.11 wheel tflite-micro 0.dev20261023182759, whose resolver holds all ops; it "
        f"finds ops by name and ignores versions; firmware may register fewer; {LOADED}",
    ),
    Runtime(
        "litert.js", "2.5.3", ("@litertjs/core@2.5.3",), "",
        "the WebAssembly (build without relaxed SIMD) of the npm package @litertjs/core 2.5.3, "
        f"run under Node on its CPU accelerator; {LOADED}",
    ),
)  # fmt: skip


def installed(runtime: Runtime) -> bool:
    try:
        return importlib.metadata.version(runtime.name) == runtime.version
    except importlib.metadata.PackageNotFoundError:
        return False


def run(*command: str | Path, cwd: Path | None = None) -> None:
    subprocess.run([str(part) for part in command], cwd=cwd, check=True, stdout=sys.stderr)


def environment(cache: Path, name: str, packages: tuple[str, ...]) -> Path:
    """Return the Python of an environment that holds the packages."""
    folder = cache / name
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        run(sys.executable, "-m", "venv", "--clear", folder)
        run(python, "-m", "pip", "-q", "install", *packages)
        (folder / "done").touch()
    return python


def node_package(cache: Path, package: str) -> Path:
    """Return the folder of an npm package, installed without its scripts."""
    folder = cache / package.replace("/", "-")
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        run("npm", "install", "--silent", "--ignore-scripts", package, cwd=folder)
        (folder / "done").touch()
    return folder / "node_modules" / package.rpartition("@")[0]


def command_of(runtime: Runtime, cache: Path | None) -> list[str]:
    if installed(runtime):
        return tflite_command(runtime.module)
    if cache is None:
        raise SystemExit(f"{runtime.name} {runtime.version} is not installed")
    if not runtime.module:
        return [
            "node",
            str(PROBES / "probe_litert.cjs"),
            str(node_package(cache, *runtime.packages)),
        ]
    name = f"{runtime.name}-{runtime.version}"
    return tflite_command(runtime.module, environment(cache, name, runtime.packages))


def lines(entries: dict[str, object]) -> str:
    """Return a JSON object with one entry a line."""
    body = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in entries.items())
    return "{\n" + body + "\n  }"


def render(head: dict[str, object], **sections: dict[str, object]) -> str:
    rows = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    rows += [f"  {json.dumps(key)}: {lines(value)}" for key, value in sections.items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


def write(file: str, head: dict[str, object], **sections: dict[str, object]) -> None:
    """Write a table; one that says nothing new keeps its date."""
    path = TABLES / file
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    old = json.loads(path.read_text()) if path.exists() else {}
    fresh = json.loads(render({**head, "probed_on": today}, **sections))
    same = {**old, "probed_on": today} == fresh
    text = render({**head, "probed_on": old["probed_on"] if same else today}, **sections)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    print(f"{file}: {'unchanged' if same else 'written'}", file=sys.stderr)


def make_tflite(runtime: Runtime, cache: Path) -> None:
    have, killers = versions(command_of(runtime, cache))
    # A runtime that takes version 25 of everything does not look at versions.
    versioned = {high for _, high in have.values()} != {HIGHEST}
    if versioned and any(high == HIGHEST for _, high in have.values()):
        raise SystemExit(f"{runtime.file}: an op reaches version {HIGHEST}; raise HIGHEST")
    print(
        f"{runtime.file}: {len(have)} ops; crashed after loading: {sorted(killers)}",
        file=sys.stderr,
    )
    write(
        runtime.file,
        {
            "format_version": 1, "runtime": runtime.name, "version": runtime.version,
            "source": runtime.source, "versioned": versioned,
            "crashed_on": sorted(killers),
        },
        ops={op: list(have[op]) for op in sorted(have)},
    )  # fmt: skip


def limits(known: set[str]) -> dict[str, int]:
    """Return the highest opset and IR version among the models that were read."""
    return {
        what: max(int(key.split()[1]) for key in known if key.startswith(f"{what} "))
        for what in ("opset", "ir")
    }


def make_onnx(cache: Path) -> None:
    models = onnx_models()
    known: dict[str, set[str]] = {}
    for release, version in NODE.items():
        folder = node_package(cache, f"onnxruntime-node@{version}")
        known[release] = onnx_known(["node", str(PROBES / "probe_onnx.cjs"), str(folder)], models)
    for release, version in WHEELS.items():
        packages = (f"onnxruntime=={version}", *(("numpy<2",) if release < "1.19" else ()))
        python = environment(cache, f"onnxruntime-{version}", packages)
        known[release] = onnx_known(
            [str(python), str(PROBES / "probe_onnx.py"), "onnxruntime"], models
        )

    def highest(release: str, what: str) -> int:
        return max(int(key.split()[1]) for key in known[release] if key.startswith(f"{what} "))

    releases = {
        release: {
            "opset": highest(release, "opset"),
            "ir": highest(release, "ir"),
            "asked": version,
        }
        for release, version in {**NODE, **WHEELS}.items()
    }
    since = {
        key.split()[1]: next(release for release in known if key in known[release])
        for key in models
        if key.startswith("op ") and any(key in have for have in known.values())
    }
    write(
        "onnxruntime.json",
        {
            "format_version": 1, "runtime": "onnxruntime",
            "source": "onnxruntime-node 1.12 to 1.14, the Python 3.11 wheels from 1.15 on, x86-64; "
            "a model loaded for each opset, each IR version and each op of com.microsoft that "
            "onnxruntime 1.32.0 has a CPU kernel for; opsets agree with the table on the page "
            "Compatibility of onnxruntime's documentation (1.12 to 1.20)",
        },
        releases=releases,
        com_microsoft=since,
    )  # fmt: skip


def check(table: dict[str, object], runtime: Runtime) -> list[str]:
    """Ask the installed runtime at the edges of what the table says; return the differences."""
    questions, expected = [], []
    for op in OPS:
        low, high = table["ops"].get(op, (0, 0))
        for version in sorted({low - 1, low, high, high + 1} - {-1, 0}):
            questions.append((op, version))
            expected.append(low <= version <= high)
    unknown = sorted(set(table["ops"]) - set(OPS))
    answers, _ = ask(command_of(runtime, None), questions)
    return [f"{op} is no op" for op in unknown] + [
        f"{op} v{version}: table says {said}, runtime says {yes}"
        for (op, version), said, yes in zip(questions, expected, answers, strict=True)
        if said != yes
    ]


def check_onnx(table: dict[str, object]) -> list[str]:
    """Ask the installed onnxruntime for what the table says of its release."""
    release = ".".join(importlib.metadata.version("onnxruntime").split(".")[:2])
    known = onnx_known(
        [sys.executable, str(PROBES / "probe_onnx.py"), "onnxruntime"], onnx_models()
    )
    said = table["releases"].get(release, {})
    wrong = [
        f"{what}: table says {said.get(what)}, runtime says {value}"
        for what, value in limits(known).items()
        if said.get(what) != value
    ]
    ops = {key.split()[1] for key in known if key.startswith("op ")}
    return wrong + [f"{op}: in one only" for op in sorted(ops ^ set(table["com_microsoft"]))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", help="one runtime: its name, or NAME-VERSION")
    parser.add_argument("--cache", type=Path, help="keep the environments here")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tables", type=Path, default=TABLES)
    options = parser.parse_args()

    def wanted(runtime: Runtime) -> bool:
        return options.only in (None, runtime.name, runtime.file.removesuffix(".json"))

    chosen = [runtime for runtime in RUNTIMES if wanted(runtime)]
    if options.check:
        chosen = [runtime for runtime in chosen if installed(runtime)]
        wrong = [
            f"{runtime.file}: {line}"
            for runtime in chosen
            for line in check(json.loads((options.tables / runtime.file).read_text()), runtime)
        ]
        asked = [runtime.file for runtime in chosen]
        if options.only in (None, "onnxruntime"):
            asked.append("onnxruntime.json")
            table = json.loads((options.tables / asked[-1]).read_text())
            wrong += [f"{asked[-1]}: {line}" for line in check_onnx(table)]
        print("\n".join(wrong) or f"{', '.join(asked)}: as the table says")
        return 1 if wrong or not asked else 0
    with tempfile.TemporaryDirectory() as throw_away:
        cache = (options.cache or Path(throw_away)).resolve()
        for runtime in chosen:
            make_tflite(runtime, cache)
        if options.only in (None, "onnxruntime"):
            make_onnx(cache)
    return 0


if __name__ == "__main__":
    sys.exit(main())
