"""What a pre-trained model saves: labels against accuracy on mail and on topics, over seeds.

Left out: any search for the best rates, steps and sizes, and longer reading than 32 tokens.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import mean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fmbook import checkpoints, data
from fmbook.adaptation.finetuning import Classifier, LoRA, adapt, energy_rank, padded, pooled
from fmbook.device import device
from fmbook.features.naive_bayes import quality, split, threshold
from fmbook.precision import half, half_pays
from fmbook.pretraining import Recipe, State, bits, corpus, pages, pretrain, stream
from fmbook.records.lstm import periods
from fmbook.transformers.open_weights import Chat
from fmbook.transformers.tokenizer import Tokenizer
from fmbook.transformers.transformer import GPT
from fmbook.weights import smollm2

__all__ = [
    "LABELS",
    "METHODS",
    "Task",
    "accuracy",
    "continued",
    "drawn",
    "fitted",
    "logits",
    "point",
    "probe",
    "run",
    "said",
    "starting",
    "task",
]

SEEDS, LABELS, T, TESTED = range(3), (10, 100, 1_000, 4_000), 32, 400
STEPS = {10: (15, 8), 100: (30, 16), 1_000: (32, 32), 4_000: (63, 64)}  # steps, texts a step
RATES = {"scratch": 2e-3, "full": 1e-3, "continued": 1e-3, "lora": 5e-3}
METHODS = ("scratch", "frozen", "full", "continued", "lora")
SHOTS, ASKED, READ = 4, (100, 250), 160  # examples, earlier and later mails, characters of each


@dataclass(frozen=True)
class Task:
    """Texts to learn from and to be tested on, as tokens (B, T), real (B, T), labels (B,)."""

    classes: tuple[str, ...]
    learned: tuple[Tensor, Tensor, Tensor]
    test: tuple[Tensor, Tensor, Tensor]
    texts: tuple[str, ...]  # those to learn from, for reading on without labels
    later: tuple[data.Mail, ...] = ()


@cache
def reader() -> tuple[GPT, Tokenizer]:
    """The book's own model, not to be trained on, and its tokenizer."""
    return checkpoints.load()


def encoded(texts: Sequence[str], labels: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Texts and labels as the tensors of a task."""
    return (*padded(reader()[1], texts, T), torch.tensor(labels))


@cache
def task(name: str) -> Task:
    """`spam`: mail of 2002 before September, a fifth held out. `topics`: eleven, of pages."""
    classes: tuple[str, ...] = ("ham", "spam")
    if name == "spam":
        earlier, later = periods()
        parts = split(earlier, 0)
        texts, labels = (
            [[m.text for m in p] for p in parts],
            [[int(m.spam) for m in p] for p in parts],
        )
    else:
        named = [[p for p in part if p.topic != "Uncategorized"] for part in pages()]
        random.Random(0).shuffle(named[1])  # they come topic by topic
        classes, later = tuple(sorted({p.topic for p in named[0]})), []
        texts = [[p.text for p in part] for part in named]
        labels = [[classes.index(p.topic) for p in part] for part in named]
    return Task(
        classes,
        encoded(texts[0], labels[0]),
        encoded(texts[1][:TESTED], labels[1][:TESTED]),
        tuple(texts[0]),
        tuple(later),
    )


def starting(method: str, name: str, seed: int) -> Classifier:
    """The classifier of a method before its first label."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        read = reader()[0]
        body = GPT(read.sizes)
        if method != "scratch":
            body.load_state_dict((continued(name) if method == "continued" else read).state_dict())
        if method == "lora":
            body = LoRA.within(body, r=4, alpha=8)
        if method == "frozen":
            body.requires_grad_(False)
        model = Classifier(body, len(task(name).classes))
        model.bf16 = half_pays()
        return model


@cache
def continued(name: str, steps: int = 100) -> GPT:
    """The book's own model after reading the texts of a task, without their labels."""
    model, tokenizer = checkpoints.load()
    model.to(device())
    tokens = stream(tokenizer, [text[:1_000] for text in task(name).texts])
    recipe = Recipe(
        sizes=model.sizes, batch=16, steps=steps, rate=1e-3, warmup=steps // 10, bf16=half_pays()
    )
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01, fused=True)
    for _ in pretrain(State(recipe, model, optimizer), tokens):
        pass
    return model.cpu()


def drawn(name: str, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """n labelled texts of a task at random, or all if there are fewer."""
    rows = task(name).learned
    chosen = torch.randperm(len(rows[2]), generator=torch.Generator().manual_seed(seed))[:n]
    return rows[0][chosen], rows[1][chosen], rows[2][chosen]


@cache
def fitted(method: str, name: str, n: int, seed: int) -> tuple[Classifier, float]:
    """A classifier that has learned from n labels by a method, and the CPU-seconds it took."""
    model, rows = starting(method, name, seed), drawn(name, n, seed)
    began = time.process_time()
    if method == "frozen":
        probe(model, (features(model, *rows[:2]), rows[2]))
    else:
        (steps, batch), generator = STEPS[n], torch.Generator().manual_seed(seed)
        for _ in adapt(model, rows, steps, RATES[method], generator, batch):
            pass
    return model, time.process_time() - began


@torch.no_grad()
def features(model: Classifier, tokens: Tensor, real: Tensor) -> Tensor:
    """What the head of a classifier reads of texts (B, T): (B, D)."""
    parts = zip(tokens.split(200), real.split(200), strict=True)
    with half(model.bf16):
        return torch.cat([pooled(model.body.states(t), r).float() for t, r in parts])


def probe(model: Classifier, rows: tuple[Tensor, Tensor], decay: float = 0.01) -> None:
    """Fit the head alone, to the features of a frozen body: logistic regression, to its end."""
    features, labels = rows
    optimizer = torch.optim.LBFGS(
        model.head.parameters(), max_iter=100, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        total: Tensor = F.cross_entropy(model.head(features), labels)
        total = total + decay * model.head.weight.square().sum() / len(labels) ** 0.5
        total.backward()
        return total

    optimizer.step(loss)


@torch.no_grad()
def logits(model: Classifier, tokens: Tensor, real: Tensor) -> Tensor:
    """What a classifier says of texts (B, T): (B, classes)."""
    parts = zip(tokens.split(100), real.split(100), strict=True)
    every: Tensor = torch.cat([model(t, r) for t, r in parts])
    return every


def accuracy(model: Classifier, rows: tuple[Tensor, Tensor, Tensor]) -> float:
    """The share of texts whose class is named rightly."""
    return float((logits(model, *rows[:2]).argmax(-1) == rows[2]).float().mean())


@cache
def left() -> list[str]:
    """Some pages that no model of the book has read."""
    return corpus()[1]["encyclopedia"][-60:]


def kept(model: Classifier) -> float:
    """Bits per character on encyclopedia pages that are left, with the readout as it was."""
    body = LoRA.merge(model.body)
    return round(bits(body, reader()[1], left(), 6_400), 3)


def curves(name: str) -> dict[str, Any]:
    """Accuracy and CPU-seconds for each method, number of labels and seed; the last models kept."""
    found: dict[str, Any] = {}
    for method in METHODS:
        rows: dict[str, list[Any]] = {"accuracy": [], "cpu_seconds": []}
        for seed in SEEDS:
            each = [fitted(method, name, n, seed) for n in LABELS]
            last = each[-1][0]
            rows["accuracy"].append([round(accuracy(m, task(name).test), 4) for m, _ in each])
            rows["cpu_seconds"].append([round(seconds, 2) for _, seconds in each])
            if seed == 0:
                found[method] = {
                    "parameters": sum(p.numel() for p in last.parameters() if p.requires_grad),
                    "bits_kept": kept(last) if method != "scratch" else None,
                }
            if name == "spam":
                rows.setdefault("scores", []).append(spam_scores(last))
        found[method] |= rows
    return found


def words(name: str) -> list[list[float]]:
    """The peer: weighted counts of the same words, and scikit-learn's logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    def read(rows: tuple[Tensor, Tensor, Tensor]) -> list[str]:
        pairs = zip(rows[0].tolist(), rows[1].sum(1).tolist(), strict=True)
        return [reader()[1].decode(tokens[1:n]) for tokens, n in pairs]

    test = read(task(name).test)
    found: list[list[float]] = []
    for seed in SEEDS:
        found.append([])
        for n in LABELS:
            rows, counts = drawn(name, n, seed), TfidfVectorizer(sublinear_tf=True)
            model = LogisticRegression(C=10, max_iter=1_000)
            model.fit(counts.fit_transform(read(rows)), rows[2].numpy())
            right = model.score(counts.transform(test), task(name).test[2].numpy())
            found[-1].append(round(float(right), 4))
    return found


@cache
def later() -> tuple[Tensor, Tensor, Tensor]:
    """The mails of later months, as the tensors of a task."""
    mails = task("spam").later
    return encoded([m.text for m in mails], [int(m.spam) for m in mails])


def spam_scores(model: Classifier) -> list[list[float]]:
    """The log-odds of spam for the held-out mails, and for the mails of later months."""
    return [
        (logits(model, *rows[:2]) @ torch.tensor([-1.0, 1.0])).tolist()
        for rows in (task("spam").test, later())
    ]


class Said:
    """A cache that remembers the first tokens read, and of all later ones nothing."""

    def __init__(self) -> None:
        self.length, self.held = 0, dict[int, tuple[Tensor, Tensor]]()

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if not self.length:
            self.held[layer] = (k, v)
            return k, v
        before = self.held[layer]
        return torch.cat((before[0], k), -2), torch.cat((before[1], v), -2)


def said(chat: Chat, shots: Sequence[data.Mail], mails: Sequence[data.Mail]) -> list[float]:
    """How much rather SmolLM2 says `spam` than `ham` of each mail, in nats, after some examples."""
    system = "You sort e-mail. Answer with one word: spam or ham."
    turns = [t for m in shots for t in (shown(m), "spam" if m.spam else "ham")]
    asked = [chat.tokens(*turns, shown(m), system=system)[0] for m in mails]
    first = chat.tokens(*turns, "", system=system)[0]
    common = next(i for i in range(len(first)) if any(a[i] != first[i] for a in asked))
    words = [chat.tokenizer.encode(word)[0] for word in ("spam", "ham")]
    cache, scores = Said(), []
    with torch.no_grad():
        chat.model.states(first[None, :common], cache)
        cache.length = common
        for tokens in asked:
            state = chat.model.states(tokens[None, common:], cache)[0, -1]
            spam, ham = (chat.model.embedding.weight[words] @ state).tolist()
            scores.append(spam - ham)
    return scores


def shown(mail: data.Mail) -> str:
    """The start of a mail on one line, as it stands in a prompt."""
    return " ".join(mail.text.split())[:READ]


def prompted() -> dict[str, Any]:
    """SmolLM2 asked about mails: without an example, and after four, drawn anew for each seed."""
    chat, (earlier, later) = Chat.read(smollm2()), periods()
    learned, held = split(earlier, 0)
    found: dict[str, Any] = {"shots": SHOTS, "mails": list(ASKED), "accuracy": [], "scores": []}
    asked = held[: ASKED[0]], later[:: len(later) // ASKED[1]][: ASKED[1]]
    found["truth"] = [[m.spam for m in mails] for mails in asked]
    began = time.process_time()
    found["without_examples"] = said(chat, [], asked[0])
    for seed in SEEDS:
        mixed = split(learned, seed)[0]
        kinds = [[m for m in mixed if m.spam == kind][: SHOTS // 2] for kind in (True, False)]
        shots = [mail for pair in zip(*kinds, strict=True) for mail in pair]
        found["scores"].append([said(chat, shots, mails) for mails in asked])
    questions = ASKED[0] + len(SEEDS) * sum(ASKED)
    found["seconds_a_mail"] = round((time.process_time() - began) / questions, 3)
    right = [
        [(s > 0) == m.spam for s, m in zip(run[0], asked[0], strict=True)]
        for run in found["scores"]
    ]
    found["accuracy"] = [round(mean(map(float, r)), 3) for r in right]
    found["parameters"] = sum(p.numel() for p in chat.model.parameters())
    later_quality = judged(found["scores"], asked[0], asked[1])
    return found | {"quality": later_quality}


def judged(
    scores: list[list[list[float]]], held: Sequence[data.Mail], later: Sequence[data.Mail]
) -> dict[str, float]:
    """Quality on later mail, means over seeds; one threshold from all held-out earlier mail."""
    labels = [m.spam for m in held] * len(scores)
    cut = threshold([s for run in scores for s in run[0]], labels)
    rows = [quality(run[1], later, cut) for run in scores]
    return {key: round(mean(row[key] for row in rows), 3) for key in rows[0]}


NAMES = {
    "scratch": "transformer, from scratch",
    "frozen": "frozen GPT, logistic head",
    "full": "GPT, fine-tuned",
    "continued": "GPT, read on, fine-tuned",
    "lora": "GPT with LoRA",
}


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The ledger's rows: each method with all labels, on the mail and on topics, and the prompt."""
    made, here = [], task("spam")
    held = split(periods()[0], 0)[1][:TESTED]
    decisions = ["a label for each text", f"the first {T} tokens", "rate and steps"]
    weights = (
        f"a body that read for {checkpoints.card('bookworm')['training']['cpu_seconds']} CPU-s"
    )
    for name in ("spam", "topics"):
        for method, label in NAMES.items():
            one = found[name][method]
            accurate = round(mean(run[-1] for run in one["accuracy"]), 3)
            made.append({
                "task": name,
                "method": label,
                "module": "fmbook.adaptation.finetuning",
                "quality": judged(one.pop("scores"), held, here.later) if name == "spam"
                else {"accuracy": accurate},
                "cpu_seconds": round(mean(run[-1] for run in one["cpu_seconds"]), 1),
                "parameters": one["parameters"],
                "decisions": decisions + [weights] * (method != "scratch"),
                "failures": ["Nothing after its first words is read", "Gives no reason"],
            })  # fmt: skip
    asked = found["prompted"]
    made.append({
        "task": "spam",
        "method": "SmolLM2, prompted",
        "module": "fmbook.transformers.open_weights",
        "quality": asked["quality"],
        "cpu_seconds": 0.0,
        "parameters": asked["parameters"],
        "decisions": [f"{SHOTS} examples and a sentence", f"judged on {ASKED[1]} later mails only"],
        "failures": [
            f"Takes {asked['seconds_a_mail']:.1f} CPU-seconds for each mail",
            "Its verdict hangs on which examples stand in the prompt",
        ],
    })  # fmt: skip
    return made


def ranks() -> dict[str, list[int]]:
    """How many of 128 directions hold nine tenths of what full fine-tuning changed, by matrix."""
    tuned, before = fitted("full", "topics", 4_000, 0)[0].body, reader()[0]
    names = ("query", "key", "value", "output")
    return {
        name: [
            energy_rank(getattr(a.attention, name).weight, getattr(b.attention, name).weight)
            for a, b in zip(before.blocks, tuned.blocks, strict=True)
        ]
        for name in names
    }


def run() -> dict[str, Any]:
    """All curves, what is left of the reader, and the prompt."""
    torch.set_num_threads(1)
    model, tokenizer = reader()
    found: dict[str, Any] = {name: curves(name) for name in ("spam", "topics")}
    mails = [text[:1_000] for text in (m.text for m in split(periods()[0], 0)[1])][:200]
    held = left()
    found["bits"] = {
        name: {
            "mail": round(bits(body, tokenizer, mails, 6_400), 3),
            "encyclopedia": round(bits(body, tokenizer, held, 6_400), 3),
        }
        for name, body in (("before", model), ("spam", continued("spam")),
                           ("topics", continued("topics")))
    }  # fmt: skip
    found["words"] = {name: words(name) for name in ("spam", "topics")}
    found |= {"labels": list(LABELS), "ranks": ranks(), "prompted": prompted()}
    return found | {"ledger": rows(found)}


def point() -> tuple[float, float, float]:
    """The accuracy of the first probe of frozen features on topics, from 1,000 labels."""
    from fmbook.records import load

    again = accuracy(fitted("frozen", "topics", 1_000, 0)[0], task("topics").test)
    return again, load("finetuning")["topics"]["frozen"]["accuracy"][0][2], 0.02
