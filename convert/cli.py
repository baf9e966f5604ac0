"""``python -m convert``: a run in, a bundle of measured artifacts out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from edgeward.convert.arguments import make_parser, to_options
from edgeward.convert.report.console import print_report
from edgeward.convert.report.markdown import error_to_markdown
from edgeward.convert.variants import OFFERED
from edgeward.runtime.console import guarded, print_json, say
from edgeward.runtime.errors import EdgewardError, MissingExtraError, RefusedError, UsageError
from edgeward.runtime.system import require_posix

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the conversion and return the exit code."""
    options = make_parser().parse_args(argv)
    return guarded("convert", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    require_posix("convert")
    variants = [name for name in OFFERED if getattr(options, name)]
    if not variants and not options.everything:
        raise UsageError(
            "Which variant?",
            received="none",
            expected=", ".join(f"--{name}" for name in OFFERED) + " or --all",
            fix="add --int8",
        )
    if options.memory is not None and not 0 <= options.memory < 2**20:
        raise UsageError(
            "--memory is wrong.", received=options.memory, expected="gigabytes >= 0; 0 is no limit"
        )
    if options.android is not None and "tflite" not in options.format:
        raise UsageError(
            "The app runs TFLite files.",
            received=f"--format {options.format}",
            fix="--format tflite",
        )
    try:
        from edgeward.convert.pipeline import convert_as
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name}, which converting needs,", "convert") from None
    with _Progress() as progress:
        try:
            if options.android is not None:
                from edgeward.convert.bundle.android import check_assets
                from edgeward.convert.source.open import source_name

                check_assets(options.android, source_name(options.source))
            report = convert_as(to_options(options, progress))
        except EdgewardError as error:
            _print_error(error, options)
            raise
    if options.android is not None and report.bundle is not None:
        from edgeward.convert.bundle.android import export_assets

        say(f"Android assets: {export_assets(report.bundle, options.android)}")
    if options.markdown:
        print(report.to_markdown(), end="")
    elif options.json:
        # A path, for the next command; the report inside the bundle holds its name only.
        print_json({**report.to_json(), "bundle": str(report.bundle)})
    else:
        print_report(report)
        print(f"bundle: {report.bundle}   report: {report.bundle}/report.html")
    return 0


def _print_error(error: EdgewardError, options: argparse.Namespace) -> None:
    """Print on stdout what is known of a conversion that failed; the message goes to stderr."""
    report = error.report if isinstance(error, RefusedError) else None
    if options.markdown:
        print(error_to_markdown(error) if report is None else report.to_markdown(), end="")
    elif report is not None and options.json:
        print_json(report.to_json())
    elif report is not None:
        print_report(report)


class _Progress:
    """A spinner with the current step on a terminal, plain lines elsewhere; all on stderr."""

    def __init__(self) -> None:
        self._status = None
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("starting")

    def __enter__(self) -> _Progress:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)
        else:
            say(text)


if __name__ == "__main__":
    sys.exit(main())
