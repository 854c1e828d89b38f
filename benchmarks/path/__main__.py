"""`python -m benchmarks.path`: the cost of the data path in bare cipher calls."""

from benchmarks.path.harness import figures


def main() -> None:
    print(f"{'per packet':24} {'bare us':>8} {'seal us':>8} {'ratio':>6} {'open us':>8} {'ratio':>6}")
    for figure in figures():
        print(
            f"{figure.name:24} {figure.bare_us:8.2f} {figure.seal_us:8.2f} {figure.seal_ratio:6.2f}"
            f" {figure.open_us:8.2f} {figure.open_ratio:6.2f}"
        )


if __name__ == "__main__":
    main()
