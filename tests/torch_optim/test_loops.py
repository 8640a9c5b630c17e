"""Training loops that are not ours: Lightning's, and Hugging Face's Trainer."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from tests.torch_optim.rules import RULES, data, made, net

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

every_rule = pytest.mark.parametrize("rule", RULES)
BATCHES = [data(step) for step in range(6)]


@every_rule
def test_lightning_trains_as_a_plain_loop_does(rule, tmp_path):
    lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net()

        def training_step(self, batch, index):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            optimizer = made(rule, self.parameters())
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    module = Module()
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_epochs=1, default_root_dir=tmp_path, **options)
    trainer.fit(module, torch.utils.data.DataLoader(BATCHES, batch_size=None))
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    plain = net()
    optimizer = made(rule, plain.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    for inputs, targets in BATCHES:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(plain(inputs), targets)
        loss.backward()
        optimizer.step(loss=loss)
        scheduler.step()
    assert all(torch.equal(*pair) for pair in zip(module.net.parameters(), plain.parameters(), strict=True))
    again = Module()
    more = lightning.Trainer(max_epochs=2, default_root_dir=tmp_path, **options)
    more.fit(again, torch.utils.data.DataLoader(BATCHES, batch_size=None), ckpt_path=tmp_path / "half.ckpt")
    assert more.optimizers[0].state_bytes() == trainer.optimizers[0].state_bytes()
    assert not any(torch.equal(*pair) for pair in zip(again.net.parameters(), plain.parameters(), strict=True))


@every_rule
def test_a_trainer_of_hugging_face_trains(rule, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers", reason="transformers is not installed")
        pytest.importorskip("accelerate", reason="accelerate, which the Trainer needs, is not installed")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    )
    model = transformers.GPT2LMHeadModel(config)
    optimizer = made(rule, model.parameters())
    # The Trainer calls ``step()`` without a closure; the model's own answer says what the loss is.
    model.register_forward_hook(lambda module, given, found: optimizer.show(found.loss))
    words = [{"input_ids": row, "labels": row} for row in (torch.arange(8).remainder(11) + k for k in range(3))] * 16
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=12, per_device_train_batch_size=4, logging_steps=1, report_to=[],
        save_strategy="no", disable_tqdm=True, use_cpu=True, max_grad_norm=1.0,
    )  # fmt: skip
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, 12)
    trainer = transformers.Trainer(model, arguments, train_dataset=words, optimizers=(optimizer, scheduler))
    before = [value.detach().clone() for value in model.parameters()]
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(losses) == 12
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * optimizer.defaults["lr"])
    assert not any(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    if rule != "coordinatewise_lstm":  # two meta-updates have taught it nothing; the others are close to Adam
        assert losses[-1] < losses[0]
