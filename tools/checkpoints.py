"""`make checkpoints`: pre-train the book's own models that are missing, and verify those there are.

A run that was killed goes on where it stood. On several processes (gloo) or GPUs (nccl), the same:
`torchrun --nproc-per-node 2 -m tools.checkpoints NAME --into FOLDER`.
"""

import argparse
import hashlib
import json
import platform
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fmbook import checkpoints, pretraining
from fmbook.checkpoints import FOLDER, LARGEST, CheckpointError, load, pack, unpack
from fmbook.pretraining import Recipe, State
from fmbook.transformers.tokenizer import Tokenizer

WORK = Path(__file__).parent.parent / "_build" / "checkpoints"
SHIPPED = ("bookworm",)
ABOUT = {
    "title": "Bookworm, a GPT that has read Shakespeare and an encyclopedia",
    "use": "teaching: to be sampled, looked into, and adapted to other tasks",
    "limits": [
        "it knows how English of two kinds looks, and next to nothing about the world",
        "its sentences are often false, also about people; do not believe one of them",
        "it reads 128 tokens, some 350 characters; what stood before is not there for it",
        "what its texts leave out or say of people and places, it leaves out and says too",
    ],
    "licence": "MIT, as this book, for the weights; for the texts see [data]",
    "data": {
        "shakespeare": "39 of the 42 works of fmbook.data.shakespeare, public domain; Hamlet, "
        "Macbeth and Twelfth Night are held out",
        "encyclopedia": "eight ninths of the pages of fmbook.data.encyclopedia, summaries of "
        "English Wikipedia, CC BY-SA 4.0, the authors of the articles; by title a ninth is held "
        "out, on which the book tests topics; lists of what a word may refer to are left out",
        "not": "no mail, no instruction, no preference of a person, no other language",
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=SHIPPED, help=", ".join(pretraining.RECIPES))
    parser.add_argument("--again", action="store_true", help="make it even if it is there")
    parser.add_argument("--into", type=Path, default=FOLDER, help="where the result goes")
    parser.add_argument("--work", type=Path, default=WORK, help="where a run keeps its state")
    parser.add_argument("--texts", type=int, help="learn from so many texts only, for a trial")
    chosen = parser.parse_args()
    with pretraining.processes() as (rank, _):
        for name in chosen.names:
            if not chosen.again and verified(name, chosen.into):
                print(f"{name} is as its card says")
                continue
            recipe = pretraining.RECIPES[name]
            learned, held = pretraining.corpus()
            learned = learned[-chosen.texts :] if chosen.texts else learned
            tokenizer = pretraining.new_tokenizer(learned, recipe.sizes.V)
            state = run(recipe, tokenizer, learned, chosen.work / name, say=not rank)
            if not rank:
                write(name, state, tokenizer, held, chosen.into)
                shutil.rmtree(chosen.work / name)


def verified(name: str, folder: Path) -> bool:
    """Whether a model is there; one that is there and altered is an error."""
    if name not in checkpoints.names(folder):
        return False
    load(name, folder)
    return True


def run(
    recipe: Recipe,
    tokenizer: Tokenizer,
    texts: list[str],
    work: Path,
    *,
    every: int = 50,
    say: bool = True,
) -> State:
    """Begin a pre-training, or go on with the one in `work`; its state is kept every few steps."""
    work.mkdir(parents=True, exist_ok=True)
    state = pretraining.resume(recipe, work / "state.pt")
    if say and state.step:
        print(f"going on at step {state.step} of {recipe.steps}", flush=True)
    losses = []
    for step, loss in pretraining.pretrain(state, pretraining.stream(tokenizer, texts)):
        losses.append(loss)
        if step % every == 0 or step == recipe.steps:
            state.curve.append((step, round(sum(losses) / len(losses), 4)))
            losses = []
            pretraining.save(state, work / "state.pt")
            if say:
                left = state.seconds / step * (recipe.steps - step) / 60
                told = f"step {step} of {recipe.steps}: {state.curve[-1][1]:.3f} nats a token"
                print(f"{told}, {left:.1f} CPU-minutes left", flush=True)
    return state


def write(
    name: str, state: State, tokenizer: Tokenizer, held: dict[str, list[str]], into: Path
) -> None:
    """Store a trained model with its tokenizer, curve and card; judged as it is stored."""
    steps, losses = zip(*state.curve, strict=True)
    raw = pack(state.model)
    if name in SHIPPED and len(raw) > LARGEST:
        raise CheckpointError(f"{name} has {len(raw):,} bytes, the book ships {LARGEST:,}")
    files = {
        "safetensors": raw,
        "tokenizer.json": tokenizer.to_json().encode(),
        "curve.json": json.dumps({"step": steps, "loss": losses}).encode(),
    }
    exact = judged(state, tokenizer, held)
    unpack(state.model, raw)  # from here on as it is stored, rounded to float16
    bits = {
        "bits_per_character": judged(state, tokenizer, held),
        "bits_per_character_before_rounding": exact,
    }
    into.mkdir(parents=True, exist_ok=True)
    for ending, content in files.items():
        (into / f"{name}.{ending}").write_bytes(content)
    (into / f"{name}.toml").write_text(toml(described(state, files) | bits), "utf8")


def described(state: State, files: dict[str, bytes]) -> dict[str, Any]:
    """The card of a trained model: what it is, how it was made, what it read, what it cannot do."""
    about = {key: text for key, text in ABOUT.items() if key != "data"}
    python = f"Python {platform.python_version()}"
    return about | {
        "parameters": sum(p.numel() for p in state.model.parameters()),
        "format": "safetensors, float16, named as in fmbook.transformers.transformer.GPT",
        "sha256": {ending: hashlib.sha256(raw).hexdigest() for ending, raw in files.items()},
        "sizes": asdict(state.recipe.sizes),
        "recipe": {k: v for k, v in asdict(state.recipe).items() if k != "sizes"},
        "training": {
            "cpu_seconds": round(state.seconds),
            "tokens": state.step * state.recipe.batch * state.recipe.sizes.context,
            "machine": f"{platform.machine()}, {platform.system()}, {python}",
        },
        "data": ABOUT["data"],
    }


def judged(state: State, tokenizer: Tokenizer, held: dict[str, list[str]]) -> dict[str, float]:
    """Bits per character on the texts held out, by where they are from."""
    model = state.model.eval()
    return {
        source: round(pretraining.bits(model, tokenizer, texts, 60_000), 3)
        for source, texts in held.items()
    }


def toml(table: dict[str, Any], name: str = "") -> str:
    """A table as TOML: its values first, then the tables in it. (JSON's texts are TOML's too.)"""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"\n[{name}]"] if name else ["# Made by `make checkpoints`."]
    lines += [
        f"{json.dumps(key) if '.' in key else key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in plain.items()
    ]
    lines += [toml(value, key).rstrip("\n") for key, value in table.items() if key not in plain]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
