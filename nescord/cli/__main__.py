"""`python -m nescord.cli`: the same as the `nescord` command."""

from nescord.cli import main

if __name__ == "__main__":
    main()
