"""Write the files in `examples/`; seeded, so it writes the same bytes each time.

Run it from the top folder: `python -m tools.make_examples`.
"""

import argparse
from pathlib import Path

from tools.example_calls import make_calls
from tools.example_shipments import make_shipments

EXAMPLES = Path(__file__).parents[1] / "examples"


def main() -> None:
    """Write both files, into `examples/` unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=EXAMPLES)
    folder: Path = parser.parse_args().folder
    for name, content in (("calls.csv", make_calls()), ("shipments.json", make_shipments())):
        (folder / name).write_bytes(content)
        print(f"{folder / name}: {len(content)} bytes")


if __name__ == "__main__":
    main()
