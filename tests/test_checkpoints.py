"""The book's own models: stored as their cards say, made by runs that survive kills and splits."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fmbook import checkpoints, pretraining
from fmbook.checkpoints import LARGEST, CheckpointError, card, curve, load, pack, unpack
from fmbook.pretraining import PLAYS, RECIPES, corpus, crops, pages, resume
from fmbook.records.rnn import HELD_OUT
from fmbook.transformers.transformer import GPT, Sizes
from tests.house import ROOT
from tools import checkpoints as tool

TINY = Sizes(V=300, D=8, N=2, layers=1, context=16)
SHIPPED = checkpoints.names()


def tiny(seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    return GPT(TINY)


# what is stored


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_small_whole_and_described(name: str) -> None:
    model, tokenizer = load(name)
    said = card(name)
    weights = checkpoints.FOLDER / f"{name}.safetensors"
    assert weights.stat().st_size <= LARGEST
    assert said["parameters"] == sum(p.numel() for p in model.parameters())
    assert len(tokenizer) == model.sizes.V == said["sizes"]["V"]
    assert {"title", "use", "limits", "licence", "sha256", "recipe", "training", "data"} <= set(
        said
    )
    assert said["training"]["cpu_seconds"] <= 60 * 60
    assert said["recipe"] == {
        key: value for key, value in vars(RECIPES[name]).items() if key != "sizes"
    }
    assert model.sizes == RECIPES[name].sizes


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_reads_as_well_as_its_card_says(name: str) -> None:
    """After the rounding: the card's bits are those of the stored weights."""
    model, tokenizer = load(name)
    said = card(name)
    held = corpus()[1]
    for source, texts in held.items():
        again = pretraining.bits(model, tokenizer, texts, 60_000)
        assert abs(again - said["bits_per_character"][source]) < 0.002, source
        rounding = said["bits_per_character_before_rounding"][source]
        assert abs(said["bits_per_character"][source] - rounding) < 0.005


@pytest.mark.parametrize("name", SHIPPED)
def test_the_curve_of_a_shipped_model_is_kept(name: str) -> None:
    kept = curve(name)
    assert len(kept["step"]) == len(kept["loss"]) >= 20
    assert kept["step"][-1] == RECIPES[name].steps
    assert kept["loss"][-1] < 0.75 * kept["loss"][0]


def test_weights_are_rounded_to_half_precision_and_come_back() -> None:
    model, other = tiny(), tiny(1)
    unpack(other, pack(model))
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.half().float(), b)
        assert b.dtype == torch.float32
    assert len(pack(model)) < 2 * sum(p.numel() for p in model.parameters()) + 3_000


def test_a_tensor_with_two_names_is_stored_once() -> None:
    model, other = tiny(), tiny(1)
    for each in (model, other):
        each.readout.weight = each.embedding.weight
    raw = pack(model)
    assert len(raw) < len(pack(tiny()))
    unpack(other, raw)
    assert torch.equal(other.readout.weight, model.embedding.weight.half().float())


def test_weights_of_another_model_are_refused() -> None:
    raw = pack(tiny())
    with pytest.raises(CheckpointError, match=r"differ in shape \['blocks\.0"):
        unpack(GPT(replace(TINY, F=40)), raw)
    with pytest.raises(CheckpointError, match=r"lack \['blocks\.1"):
        unpack(GPT(replace(TINY, layers=2)), raw)
    with pytest.raises(CheckpointError, match=r"have \['blocks\.1"):
        unpack(tiny(), pack(GPT(replace(TINY, layers=2))))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, trained for some steps and stored."""
    folder = tmp_path_factory.mktemp("stored")
    texts = ["to be, or not to be " * 20, "that is the question " * 20]
    tokenizer = pretraining.new_tokenizer(texts, 300)
    recipe = pretraining.Recipe(
        sizes=replace(TINY, V=len(tokenizer)), batch=4, steps=30, warmup=3, rate=0.01
    )
    state = tool.run(recipe, tokenizer, texts, folder / "work", every=10, say=False)
    tool.write("tiny", state, tokenizer, {"speech": texts}, folder)
    return folder


def test_what_is_stored_is_loaded(stored: Path) -> None:
    model, tokenizer = load("tiny", stored)
    assert tokenizer.decode(tokenizer.encode("to be")) == "to be"
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())
    assert card("tiny", stored)["sizes"]["D"] == 8
    assert curve("tiny", stored)["step"] == [10, 20, 30]
    assert tool.verified("tiny", stored)
    assert not tool.verified("nobody", stored)


@pytest.mark.parametrize("ending", ["safetensors", "tokenizer.json", "curve.json"])
def test_an_altered_or_missing_file_is_found_out(stored: Path, tmp_path: Path, ending: str) -> None:
    for file in stored.glob("tiny.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    raw = bytearray((tmp_path / f"tiny.{ending}").read_bytes())
    raw[-2] ^= 1
    (tmp_path / f"tiny.{ending}").write_bytes(raw)
    read = curve if ending == "curve.json" else load
    with pytest.raises(CheckpointError, match=r"is not the file of tiny\.toml"):
        read("tiny", tmp_path)
    (tmp_path / f"tiny.{ending}").unlink()
    with pytest.raises(CheckpointError, match="is missing: run `make checkpoints`"):
        read("tiny", tmp_path)


def test_an_unknown_model_is_said(stored: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint 'gpt9' \(there is: tiny\)"):
        load("gpt9", stored)


def test_a_model_that_is_too_large_is_not_shipped(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "SHIPPED", ("tiny",))
    monkeypatch.setattr(tool, "LARGEST", 1_000)
    state = resume(RECIPES["trial"], stored / "nothing")
    state.curve.append((1, 1.0))
    with pytest.raises(CheckpointError, match="the book ships 1,000"):
        tool.write("tiny", state, load("tiny", stored)[1], {}, stored)


# what may be read


def test_the_held_out_texts_are_in_no_model() -> None:
    learned, held = corpus()
    for source, texts in held.items():
        assert texts, source
        assert not set(texts) & set(learned)
    assert [t[:6] for t in held["shakespeare"]] == ["HAMLET", "MACBET", "TWELFT"]
    assert set(PLAYS) == set(HELD_OUT)
    kept, away = pages()
    assert 900 < len(away) < 1_200
    assert not {p.title for p in kept} & {p.title for p in away}


# the recipe


def test_texts_of_a_step_depend_on_seed_and_step_alone() -> None:
    recipe = pretraining.Recipe(sizes=TINY, batch=4, steps=9, warmup=0)
    tokens = torch.arange(1_000)
    x, y = crops(tokens, recipe, 3)
    assert x.shape == y.shape == (4, 16)
    assert torch.equal(x[:, 1:], y[:, :-1])
    assert torch.equal(x, crops(tokens, recipe, 3)[0])
    assert not torch.equal(x, crops(tokens, recipe, 4)[0])
    assert not torch.equal(x, crops(tokens, replace(recipe, seed=1), 3)[0])


def test_processes_share_the_texts_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, tokens = (
        pretraining.Recipe(sizes=TINY, batch=4, steps=9, warmup=0),
        torch.arange(1_000),
    )
    whole, parts = crops(tokens, recipe, 5)[0], []
    for rank in range(2):
        monkeypatch.setattr(pretraining, "_place", lambda rank=rank: (rank, 2))
        parts.append(crops(tokens, recipe, 5)[0])
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)


def test_the_rate_rises_and_falls() -> None:
    recipe = pretraining.Recipe(sizes=TINY, batch=1, steps=100, warmup=10, rate=1.0)
    rates = [recipe.rate_at(step) for step in range(101)]
    assert rates[0] == 0.1
    assert rates[9:71] == [1.0] * 62
    assert rates[85] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.02)
    longer = replace(recipe, steps=1_000)
    assert [longer.rate_at(step) for step in range(71)] == rates[:71]


def test_a_recipe_without_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need texts, steps and a rate above 0"):
        pretraining.Recipe(sizes=TINY, batch=0, steps=9)
    recipe = pretraining.Recipe(sizes=TINY, batch=1, steps=9, warmup=0)
    pretraining.save(resume(recipe, tmp_path / "none"), tmp_path / "state.pt")
    with pytest.raises(ValueError, match="written by another recipe"):
        resume(replace(recipe, seed=1), tmp_path / "state.pt")


def test_bits_of_a_model_that_knows_nothing_are_those_of_guessing() -> None:
    tokenizer = pretraining.new_tokenizer(["abc"], 257)
    model = GPT(replace(TINY, V=257))
    model.readout.weight.data.zero_()
    found = pretraining.bits(model, tokenizer, ["abcd" * 8] * 4)
    tokens, letters = 4 * 33 // 16 * 16, 4 * 33 // 16 * 16 - 3  # 3 of them stand between texts
    assert found == pytest.approx(torch.tensor(257.0).log2().item() * tokens / letters, rel=1e-3)


# a run


def command(folder: Path, *more: str) -> list[str]:
    options = ["trial", "--texts", "60", "--into", str(folder), "--work", str(folder / "work")]
    return ["-m", *more, "tools.checkpoints", *options]


def environment() -> dict[str, str]:
    alone = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "FMBOOK_DEVICE": "cpu"}
    return {**os.environ, **alone, "PYTHONPATH": str(ROOT)}


def python(arguments: list[str]) -> str:
    ran = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment()
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The trial recipe, run without a break."""
    folder = tmp_path_factory.mktemp("trial")
    python(command(folder))
    return folder, curve("trial", folder)


def test_a_trial_learns_and_is_not_made_twice(trial: tuple[Path, dict[str, Any]]) -> None:
    folder, found = trial
    assert found["step"] == [50, 100, 150, 200, 250, 300]
    assert found["loss"][-1] < found["loss"][0] - 0.5
    assert not (folder / "work" / "trial").exists()
    assert python(command(folder)) == "trial is as its card says\n"


def test_a_run_that_was_killed_goes_on_to_the_same_end(
    trial: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    running = subprocess.Popen(
        [sys.executable, *command(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, env=environment()
    )
    state, stop = tmp_path / "work/trial/state.pt", time.monotonic() + 120
    while not state.exists():
        assert time.monotonic() < stop, "the run does not come to a state"
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert not (tmp_path / "trial.toml").exists()
    said = python(command(tmp_path))
    assert said.startswith("going on at step ")
    assert curve("trial", tmp_path) == trial[1]
    weights = [(folder / "trial.safetensors").read_bytes() for folder in (tmp_path, trial[0])]
    assert weights[0] == weights[1]


def test_two_processes_learn_what_one_would(
    trial: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-addr", "127.0.0.1", "--master-port", str(port), "-m"]
    python(command(tmp_path, *launch))
    both, one = curve("trial", tmp_path), trial[1]
    assert both["step"] == one["step"]
    torch.testing.assert_close(
        torch.tensor(both["loss"]), torch.tensor(one["loss"]), atol=2e-3, rtol=0
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_learns_what_the_cpu_does(stored: Path, tmp_path: Path) -> None:
    texts = ["to be, or not to be " * 20, "that is the question " * 20]
    tokenizer = load("tiny", stored)[1]
    sizes = Sizes(**card("tiny", stored)["sizes"])
    recipe = pretraining.Recipe(sizes=sizes, batch=4, steps=30, warmup=3, rate=0.01)
    state = tool.run(recipe, tokenizer, texts, tmp_path, every=10, say=False)
    assert next(state.model.parameters()).is_cuda
    losses = [loss for _, loss in state.curve]
    torch.testing.assert_close(losses, curve("tiny", stored)["loss"], atol=0.05, rtol=0)


def test_the_card_is_toml_that_says_what_went_in() -> None:
    import tomllib

    table = {"a": 1, "b": ["x", 'q"'], "c": {"d.e": 2.5, "f": True}}
    assert tomllib.loads(tool.toml(table)) == table
    assert json.loads(json.dumps(table)) == table
