"""A CSV file becomes a data set, a run and a bundle, or an error that names line and column."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from quiet import train_quietly

from edgeward.runtime.errors import InvalidDataError, UsageError
from edgeward.runtime.preprocessing import preprocess_batch
from edgeward.train.datasets import table
from edgeward.train.datasets.dataset import check_dataset
from edgeward.train.datasets.split import Shares
from edgeward.train.datasets.table import Table
from edgeward.train.recipes.table import RECIPE, TableNet

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]

# Anderson 1935, Fisher 1936: 150 flowers of three species.
IRIS = Path(__file__).parents[2] / "data" / "iris.csv"
LINES = IRIS.read_text().splitlines()


def load(path: Path | None, target: str = "species", ignore: str = "", task: str = "auto") -> Table:
    return table.load(path, target, ignore, task, Shares(0.15, 0.25), lambda line: None)


def written(folder: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_bytes("\n".join([*lines, ""]).encode(encoding))
    return path


def test_text_target_makes_classes_and_the_split_is_stratified() -> None:
    found = load(IRIS)
    assert found.labels == ("setosa", "versicolor", "virginica")
    assert found.columns == ("sepal_length", "sepal_width", "petal_length", "petal_width")
    for samples, low, high in ((found.train, 30, 32), (found.validation, 6, 8)):
        assert all(low <= n <= high for n in np.bincount(samples.targets["target"]))
    assert sum(len(split) for split in found.splits.values()) == 150


def test_every_row_keeps_its_own_target() -> None:
    found = load(IRIS)
    wanted = sorted(
        (*map(np.float32, line.split(",")[:4]), line.split(",")[4]) for line in LINES[1:]
    )
    got = sorted(
        (*row, found.labels[target])
        for split in found.splits.values()
        for row, target in zip(split.inputs["features"], split.targets["target"], strict=True)
    )
    assert got == wanted


def test_equal_rows_never_straddle_splits() -> None:
    found = load(IRIS)
    rows = [{row.tobytes() for row in s.inputs["features"]} for s in found.splits.values()]
    assert sum(len(each) for each in rows) == len(set.union(*rows))
    # The twin: iris does hold equal rows.
    assert len(set.union(*rows)) < 150


def test_features_are_scaled_by_the_training_split_alone() -> None:
    found = load(IRIS)
    fitted = RECIPE.specialise(found, TableNet())  # type: ignore[misc]
    check_dataset(found, fitted.inputs, fitted.outputs)
    scaled = preprocess_batch(fitted.inputs["features"], found.train.inputs["features"])
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-5)
    others = preprocess_batch(fitted.inputs["features"], found.test.inputs["features"])
    assert np.abs(others.mean(axis=0)).max() > 1e-3


def test_decimals_make_a_regression_whose_output_is_in_the_unit_of_the_target() -> None:
    found = load(IRIS, "petal_width", "species")
    assert found.labels is None
    assert found.columns == ("sepal_length", "sepal_width", "petal_length")
    fitted = RECIPE.specialise(found, TableNet())  # type: ignore[misc]
    check_dataset(found, fitted.inputs, fitted.outputs)
    assert found.train.targets["target"].shape[1:] == (1,)
    (back,) = fitted.outputs["target"].postprocessing
    widths = found.train.targets["target"]
    assert back.offset == pytest.approx(widths.mean(), rel=1e-5)
    assert back.scale == pytest.approx(widths.std(), rel=1e-5)
    assert fitted.budget == 0.05


def test_any_first_part_of_a_split_holds_all_classes() -> None:
    found = load(IRIS)
    assert LINES[20].endswith(LINES[1].rpartition(",")[2]), "the file is sorted by class"
    assert set(found.train.targets["target"][:20].tolist()) == {0, 1, 2}


def integers(classes: int, each: int) -> list[str]:
    return ["a,b", *(f"{i * 0.37:.2f},{i % classes}" for i in range(classes * each))]


@pytest.mark.parametrize(
    ("classes", "each", "task", "labels"),
    [
        (5, 10, "auto", ("0", "1", "2", "3", "4")),
        (12, 5, "auto", tuple(str(i) for i in range(12))),  # 10 after 9, not after 1
        (21, 5, "auto", None),
        (30, 2, "auto", None),
        (5, 10, "regression", None),
        (21, 5, "classification", tuple(str(i) for i in range(21))),
    ],
)
def test_few_integers_are_classes_and_many_are_numbers(
    tmp_path: Path, classes: int, each: int, task: str, labels: tuple[str, ...] | None
) -> None:
    assert load(written(tmp_path, integers(classes, each)), "b", task=task).labels == labels


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separator_mark_and_empty_lines_do_not_matter(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    lines = [line.replace(",", separator) for line in LINES]
    path = written(tmp_path, [*lines[:20], "", *lines[20:], ""], encoding)
    found, wanted = load(path), load(IRIS)
    for split in wanted.splits:
        np.testing.assert_array_equal(
            found.splits[split].inputs["features"], wanted.splits[split].inputs["features"]
        )


def changed(line: int, text: str) -> list[str]:
    """The lines of iris with line ``line`` (from 1) replaced."""
    return [*LINES[: line - 1], text, *LINES[line:]]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (changed(18, "5.1,,1.4,0.2,setosa"), ["line 18", "'sepal_width'", "missing"]),
        (changed(18, "5.1,3.5,nan,0.2,setosa"), ["line 18", "'petal_length'", "missing"]),
        (changed(18, "5.1,3.5,?,0.2,setosa"), ["line 18", "'petal_length'", "missing"]),
        (changed(18, "5.1,3.5,1.4,0.2,"), ["line 18", "'species'", "missing"]),
        (changed(18, "5.1,3.5,inf,0.2,setosa"), ["line 18", "'petal_length'", "inf"]),
        (changed(18, "5.1,3.5,1e39,0.2,setosa"), ["line 18", "'petal_length'", "1e39"]),
        (changed(18, "5.1,3.5,1_4,0.2,setosa"), ["line 18", "'petal_length'", "1_4"]),
        (changed(18, "5.1,3.5,one,0.2,setosa"), ["line 18", "'petal_length'", "one"]),
        (changed(18, "5.1,3.5,1.4,setosa"), ["line 18", "4 cells"]),
        (changed(18, "5.1,3.5,1.4,0.2,0.3,setosa"), ["line 18", "6 cells"]),
        (changed(18, '5.1,3.5,1.4,0.2,"setosa'), ["line 151", "CSV"]),
        (changed(1, "a,b,b,c,species"), ["'b' twice"]),
        (changed(1, "a,b,,c,species"), ["column 3"]),
        (LINES[:1], ["no rows"]),
        (["1,2", "3,4", "5,6"], ["no header"]),
        (["a,species", *(f"{1e9 + i % 2},s{i % 2}" for i in range(40))], ["'a'", "float32"]),
        ([LINES[0], *LINES[1:51]], ["'setosa' in every row"]),
        ([*LINES, "1,2,3,4,new"], ["'new'", "at least 3"]),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error_that_names_line_and_column(
    tmp_path: Path, lines: list[str], named: list[str]
) -> None:
    with pytest.raises(InvalidDataError) as caught:
        load(written(tmp_path, lines))
    for part in named:
        assert part in str(caught.value)


def test_text_feature_is_refused_and_can_be_left_out(tmp_path: Path) -> None:
    lines = [f"{line},{'color' if i == 0 else 'blue'}" for i, line in enumerate(LINES)]
    path = written(tmp_path, lines)
    with pytest.raises(InvalidDataError, match="'color' holds text") as caught:
        load(path)
    assert "--set ignore=color" in str(caught.value)
    assert load(path, ignore="color").columns == load(IRIS).columns


def test_one_text_among_the_numbers_of_the_target_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, changed(30, "5.2,3.4,1.4,wide,setosa"))
    with pytest.raises(InvalidDataError, match=r"line 30.*'petal_width'"):
        load(path, "petal_width", "species")


@pytest.mark.parametrize(
    ("target", "ignore", "said"),
    [
        ("", "", "--set target=COLUMN"),
        ("colour", "", "sepal_length"),
        ("species", "colour", "sepal_length"),
        ("species", "sepal_length,sepal_width,petal_length,petal_width", "one column more"),
    ],
)
def test_columns_that_do_not_exist_are_usage_errors(target: str, ignore: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(IRIS, target, ignore)
    assert said in str(caught.value)


def test_files_that_are_no_text_are_invalid_data(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match="UTF-8"):
        load(written(tmp_path, [*LINES, "\xe9"], "latin-1"))
    with pytest.raises(InvalidDataError, match="cannot be read"):
        load(tmp_path / "nowhere.csv")


def test_iris_trains_converts_and_answers(run_python: RunPython, tmp_path: Path) -> None:
    run = train_quietly("table", tmp_path / "runs", IRIS, target="species", epochs=40)
    assert run.info.metrics["test"]["accuracy"] >= 0.9
    done = run_python("-m", "convert", "--int8", "--format", "tflite", "--max-drop", "0.3")
    assert done.returncode == 0, done.stderr
    flowers = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], np.float32)
    for name, species, right in (("right", [0, 2], "1"), ("wrong", [2, 0], "0")):
        np.savez(tmp_path / f"{name}.npz", x=flowers, y=np.array(species))
        done = run_python(
            "-m", "runtime", "evaluate", "bundles/table", "--data", f"{name}.npz", "--json"
        )
        assert done.returncode == 0, done.stderr
        assert f'"accuracy": {right}.0' in done.stdout, done.stdout


def test_regression_beats_the_mean_in_the_unit_of_the_target(tmp_path: Path) -> None:
    run = train_quietly("table", tmp_path, IRIS, target="petal_width", ignore="species", epochs=40)
    reached = run.info.metrics["test"]["rmse"]
    targets = np.asarray(run.samples("test").targets["target"])
    assert reached < 0.4 * targets.std()
    # The twin: without training it is about as far off as the mean.
    blind = train_quietly(
        *("table", tmp_path, IRIS),
        **{"target": "petal_width", "ignore": "species", "epochs": 1, "learning_rate": 1e-9},
    )
    assert blind.info.metrics["test"]["rmse"] > 0.8 * targets.std()
