"""Every table, figure and numbered claim of Andrychowicz et al. 2016."""

from l2l_cli.papers.base import Content
from l2l_cli.papers.headline import Headline

FEATURES = "the loss is made of features of a pretrained VGG network, whose weights could not be obtained"
AVERAGING = "the paper shows no number of it"

CONTENTS = (
    Content("Figures 1 to 3: the optimizer, its graph, one coordinatewise step", (), "schematic drawings"),
    Content("Figure 4, left: quadratics; claim 1", ["figure4_quadratics"]),
    Content("Figure 4, centre and right: MNIST, 100 and 200 steps; claims 1 and 2", ["figure4_mnist"]),
    Content("Figure 5: 40 units, 2 layers, ReLU; claims 3 and 4", ["figure5"]),
    Content("Figure 6: widths and depths", ["figure6"]),
    Content("Figure 7: CIFAR-10, CIFAR-5, CIFAR-2; claim 5", ["figure7"]),
    Content("Figure 8: Neural Art, losses; claim 6", (), FEATURES),
    Content("Figure 9: Neural Art, images", (), FEATURES),
    Content("Figure 10, appendix B: proposed updates", ["figure10"]),
    Content("Appendix A: preprocessing of gradients", ["figure4_mnist"], "part of every learned rule on networks"),
    Content("Appendix D: averaging of cells over coordinates", ["averaging"], AVERAGING),
    Content("Appendix D: NTM-BFGS", (), "not implemented; the paper shows no number of it"),
)

RIVALS = ("SGD", "NAG", "RMSprop", "Adam")

HEADLINE = Headline(
    question="Does an LSTM that has learned to optimize train networks faster than tuned hand-made rules?",
    head="final loss of the LSTM",
    lines={
        "quadratics": ("figure4_quadratics", "LSTM", "loss@99"),
        "MNIST, 20 units": ("figure4_mnist", "LSTM", "loss@99"),
        "the same, 200 steps": ("figure4_mnist", "LSTM, 200 steps", "loss@199"),
        "40 units": ("figure5", "LSTM, 40 units", "loss@99"),
        "2 layers": ("figure5", "LSTM, 2 layers", "loss@99"),
        "ReLU": ("figure5", "LSTM, ReLU", "loss@99"),
    },
    figure="figure4_mnist",
    rivals=RIVALS,
    who="LSTM",
    decided_by="Claim 1, the LSTM beats tuned",
    about="Loss after 99 updates, or 199, on networks that no rule has met; lower is "
    "better.  The rival is the best of the paper's four.",
)
