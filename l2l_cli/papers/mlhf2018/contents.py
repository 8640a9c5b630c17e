"""Every table, figure and numbered claim of Chen and Lu 2018."""

from l2l_cli.papers.base import Content
from l2l_cli.papers.headline import Headline

SHORTER = "figure1 is reduced in size, figure1_published in length; the full size is left to scale paper"
PHOTOS = "figure2 is reduced in size, figure2_photos in length; the full size is left to scale paper"

CONTENTS = (
    Content("Figure 1: CUDA-convnet on CIFAR-10; claims 1, 3 and 5", ["figure1", "figure1_published"], SHORTER),
    Content(
        "Figure 2: from a residual network on CIFAR-10 to ResNet18 on ILSVRC2012; claim 2",
        ["figure2", "figure2_photos"],
        PHOTOS,
    ),
    Content(
        "Figure 3: ablation of RNN_p; claim 4",
        ["figure3", "figure3_published"],
        "figure3 is on the reduced network of figure1",
    ),
    Content("Claim 2, transfer to another network", ["transfer"]),
    Content("Claim 3, progress goes on over long runs", ["long"]),
    Content("Supplement: a perceptron", ["mlp"], "the supplement could not be obtained; sizes are ours"),
    Content("§5, future work: data-parallel MLHF", ["parallel"]),
    Content("§5, future work: recurrent networks", ["rnn"]),
)

HEADLINE = Headline(
    question="Do Hessian-free steps with learned damping (MLHF) train a network better than tuned rules, per sample?",
    head="training loss, last 10 % of steps",
    lines={
        "MLHF, lr 1": ("figure1", "MLHF, lr 1", "loss"),
        "MLHF, lr tuned": ("figure1", "MLHF, lr tuned", "loss"),
        "MLHF, trajectories (ours)": ("figure1", "MLHF, trajectories, lr 1", "loss"),
        "Hessian-free": ("figure1", "Hessian-free", "loss"),
        "K-FAC": ("figure1", "K-FAC", "loss"),
        "Adam": ("figure1", "Adam", "loss"),
        "SGD(m)": ("figure1", "SGD(m)", "loss"),
    },
    figure="figure1",
    beside={"÷ first order": "÷ first order", "÷ Hessian-free": "÷ Hessian-free"},
    decided_by="Claim 1, MLHF, lr tuned, best per sample",
    about="Cross-entropy on CIFAR-10, without published numbers; the ratios are to the best tuned "
    "first-order rule and to tuned Hessian-free: below 1, MLHF leads.  SGD(m): with momentum.",
)
