"""The command line as a module, as launchers start it: ``torchrun --nproc-per-node=2 -m l2l_cli meta-train``."""

from l2l_cli.cli import main

if __name__ == "__main__":
    main()
