"""Every table, figure and numbered claim of Chen and Lu 2018."""

from l2l_cli.papers.base import Content

SHORTER = "figure1 is reduced in size, figure1_published in length; the whole of it is left to scale paper"
PHOTOS = "figure2 is reduced in size, figure2_photos in length; the whole of it is left to scale paper"

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
    Content("Supplement: a perceptron", ["mlp"], "the supplement could not be had; sizes are ours"),
    Content("§5, future work: data-parallel MLHF", ["parallel"]),
    Content("§5, future work: recurrent networks", ["rnn"]),
)
