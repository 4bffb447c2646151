"""`make mutants`: the mutants made by hand, then those that mutmut makes of the modules in pyproject.toml."""

import argparse

from tests.mutants import generated, hand_made


def main() -> int:
    """Returns 0 where every mutant made by hand was killed; what mutmut finds is for people to look at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wanted", nargs="?", default="", help="a part of a path: only the mutants of these files")
    parser.add_argument("--only", choices=("hand", "made"), help="hand: made by hand; made: by mutmut; default: both")
    parser.add_argument("--workers", type=int, default=2, help="processes of mutmut")
    asked = parser.parse_args()
    left = hand_made.replay(asked.wanted) if asked.only != "made" else 0
    if asked.only != "hand":
        scores = generated.run(asked.wanted, asked.workers)
        print(f"results and diffs of the survivors: {generated.RESULTS}" if scores else "no such module", flush=True)
    return min(left, 1)


if __name__ == "__main__":
    raise SystemExit(main())
