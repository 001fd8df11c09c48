"""Answers to the exercise on joint spaces: wrong ones, what catches them, right ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.bank import right, wrong

# Task 1: zero_shot ------------------------------------------------------------------------------

CLASSES, SHAPES = "zero_shot-hidden-values", "zero_shot-hidden-shapes"


@wrong("zero_shot", cell=CLASSES, says="these are the farthest classes")
def farthest(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)
    return (F.normalize(images, dim=-1) @ classes.T).argmin(1)


@wrong("zero_shot", cell=CLASSES, says="it must be the nearest class of each image")
def nearest_image(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)
    return (F.normalize(images, dim=-1) @ classes.T).argmax(0)


@wrong("zero_shot", cell=CLASSES, says="only the first prompt of each class is used")
def first_prompt(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    return (images @ F.normalize(prompts[:, 0], dim=-1).T).argmax(1)


@wrong("zero_shot", cell=CLASSES, says="long ones count more")
def long_prompts_count_more(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    return (images @ F.normalize(prompts.mean(1), dim=-1).T).argmax(1)


@wrong("zero_shot", cell=CLASSES, says="the mean of the prompts is not brought to length 1")
def mean_not_normalized(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    classes = F.normalize(prompts, dim=-1).mean(1)
    return (F.normalize(images, dim=-1) @ classes.T).argmax(1)


@wrong("zero_shot", cell=CLASSES, says="nothing is brought to length 1")
def dot_products(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    return torch.einsum("bd,cpd->bc", images, prompts).argmax(1)


@wrong("zero_shot", cell=CLASSES, says="distances to means that are not of length 1")
def nearest_by_distance(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    classes = F.normalize(prompts, dim=-1).mean(1)
    return torch.cdist(F.normalize(images, dim=-1), classes).argmin(1)


@wrong("zero_shot", cell=CLASSES, says="the nearest single prompt decides")
def nearest_prompt(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    cosines = F.normalize(images, dim=-1) @ F.normalize(prompts.flatten(0, 1), dim=-1).T
    return cosines.argmax(1) // prompts.shape[1]


@wrong("zero_shot", cell=CLASSES, says="the sign of the cosine is lost")
def sign_lost(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)
    return (F.normalize(images, dim=-1) @ classes.T).square().argmax(1)


@wrong("zero_shot", cell=CLASSES, says="classes are counted from 1")
def from_one(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)
    return (images @ classes.T).argmax(1) + 1


@wrong("zero_shot", cell=CLASSES, says="these are the cosines, not the classes")
def cosines_returned(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)
    return F.normalize(images, dim=-1) @ classes.T


@wrong("zero_shot", cell=CLASSES, says="these are the largest cosines, not their places")
def largest_returned(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)
    return (F.normalize(images, dim=-1) @ classes.T).max(1).values


@wrong("zero_shot", cell=CLASSES, says="the mean runs over the classes")
def mean_over_classes(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(0), dim=-1)
    return (images @ classes.T).argmax(1)


@wrong("zero_shot", cell=SHAPES, says="prompts of two axes: expected ValueError")
def unchecked(images, prompts):
    if images.shape[-1] != prompts.shape[-1]:
        raise ValueError("widths differ")
    prompts = prompts[:, None] if prompts.ndim == 2 else prompts
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)
    return (images @ classes.T).argmax(1)


@right("zero_shot")
def by_loops(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    answer = []
    for image in images:
        best, found = -math.inf, -1
        for number, several in enumerate(prompts):
            mean = sum(p / p.norm() for p in several)
            cosine = float(image @ mean / mean.norm())
            if cosine > best:
                best, found = cosine, number
        answer.append(found)
    return torch.tensor(answer)


@right("zero_shot")
def by_numpy(images, prompts):
    if prompts.ndim != 3:
        raise ValueError("three axes")
    if images.shape[-1] != prompts.shape[-1]:
        raise ValueError("widths")
    p = np.asarray(prompts, dtype=np.float64)
    mean = (p / np.linalg.norm(p, axis=-1, keepdims=True)).sum(1)
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    return torch.from_numpy(np.argmax(np.asarray(images, dtype=np.float64) @ mean.T, axis=1))


@wrong("zero_shot", cell=SHAPES, says="the images after the call")
def images_changed(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    images /= images.norm(dim=-1, keepdim=True)
    classes = F.normalize(F.normalize(prompts, dim=-1).mean(1), dim=-1)
    return (images @ classes.T).argmax(1)


@right("zero_shot")
def by_distance_on_the_sphere(images, prompts):
    if prompts.ndim != 3 or images.shape[-1] != prompts.shape[-1]:
        raise ValueError("shapes do not fit")
    classes = F.normalize(F.normalize(prompts.double(), dim=-1).sum(1), dim=-1)
    return torch.cdist(F.normalize(images.double(), dim=-1), classes).argmin(1)


# Task 2: contrastive_loss -------------------------------------------------------------------------

LOSS, LIMITS = "contrastive_loss-hidden-values", "contrastive_loss-hidden-limits"


@wrong("contrastive_loss", cell=LOSS, says="the lengths count: bring the embeddings to length 1")
def not_normalized(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits, own = images @ texts.T / temperature, torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@wrong("contrastive_loss", cell=LOSS, says="the logits are multiplied by the temperature")
def multiplied(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T * temperature
    own = torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@wrong("contrastive_loss", cell=LOSS, says="the temperature is ignored")
def no_temperature(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@wrong("contrastive_loss", cell=LOSS, says="only the images choose; the texts must choose too")
def one_way(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    return F.cross_entropy(logits, torch.arange(len(images)))


@wrong("contrastive_loss", cell=LOSS, says="only the texts choose; the images must choose too")
def other_way(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(texts, dim=1) @ F.normalize(images, dim=1).T / temperature
    return F.cross_entropy(logits, torch.arange(len(images)))


@wrong("contrastive_loss", cell=LOSS, says="the sum of both directions; it must be their mean")
def both_summed(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    own = torch.arange(len(images))
    return F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)


@wrong("contrastive_loss", cell=LOSS, says="the losses are summed over the batch")
def batch_summed(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    ways = logits.log_softmax(1).trace() + logits.log_softmax(0).trace()
    return -ways / 2


@wrong("contrastive_loss", cell=LOSS, says="one softmax over the whole table")
def whole_table(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    return (logits.logsumexp((0, 1)) - logits.diagonal()).mean()


@wrong("contrastive_loss", cell=LOSS, says="the softmax is taken twice")
def softmax_twice(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    own, rows, columns = torch.arange(len(images)), logits.softmax(1), logits.softmax(0).T
    return (F.cross_entropy(rows, own) + F.cross_entropy(columns, own)) / 2


@wrong("contrastive_loss", cell=LOSS, says="the pair itself is missing among the choices")
def against_the_others(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    others = logits - torch.diag(torch.full((len(logits),), math.inf)).nan_to_num(0, math.inf)
    ways = (others.logsumexp(1) + others.logsumexp(0)).mean() / 2
    return ways - logits.diagonal().mean()


@wrong("contrastive_loss", cell=LOSS, says="each pair is judged alone (a sigmoid)")
def sigmoids(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    return F.binary_cross_entropy_with_logits(logits, torch.eye(len(logits)))


@wrong("contrastive_loss", cell=LOSS, says="nothing keeps the others away")
def only_together(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    return (1 - F.cosine_similarity(images, texts)).mean()


@wrong("contrastive_loss", cell=LOSS, says="each embedding must have length 1")
def normalized_over_the_batch(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=0) @ F.normalize(texts, dim=0).T / temperature
    own = torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@wrong("contrastive_loss", cell=LOSS, says="the sign is turned round")
def negative(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    return (logits.log_softmax(1).diagonal() + logits.log_softmax(0).diagonal()).mean() / 2


@wrong("contrastive_loss", cell=LIMITS, says="exp overflows")
def overflowing(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    odds = (F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature).exp()
    rows, columns = odds / odds.sum(1, keepdim=True), odds / odds.sum(0, keepdim=True)
    return -(rows.diagonal().log() + columns.diagonal().log()).mean() / 2


@wrong("contrastive_loss", cell=LIMITS, says="none reaches the temperature")
def temperature_cut_off(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits = (
        F.normalize(images, dim=1)
        @ F.normalize(texts, dim=1).T
        / torch.as_tensor(temperature).item()
    )
    own = torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@wrong(
    "contrastive_loss",
    cell="contrastive_loss-check-example",
    says="the lengths count: bring the embeddings to length 1",
)
def not_normalized_in_the_example(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    logits, own = images @ texts.T / temperature, torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@wrong("contrastive_loss", cell=LIMITS, says="two images, four texts: expected ValueError")
def shapes_unchecked(images, texts, temperature):
    if images.ndim != 2:
        raise ValueError("two axes")
    logits = F.normalize(images, dim=1) @ F.normalize(texts[: len(images)], dim=1).T / temperature
    own = torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@right("contrastive_loss")
def loss_by_loops(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    B, total = len(images), 0.0
    unit = [[v / v.norm() for v in side.double()] for side in (images, texts)]
    for here, there in (unit, unit[::-1]):
        for i in range(B):
            row = [here[i] @ there[j] / temperature for j in range(B)]
            top = max(row)
            total = total + top + sum((x - top).exp() for x in row).log() - row[i]
    return (total / (2 * B)).float()


@right("contrastive_loss")
def loss_by_log_softmax(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    cosines = F.cosine_similarity(images[:, None], texts[None], dim=-1)
    logits = cosines / temperature
    return -(logits.log_softmax(0) + logits.log_softmax(1)).diagonal().mean() / 2


@right("contrastive_loss")
def loss_by_scaled_sides(images, texts, temperature):
    """Each side is divided by the root of the temperature; logsumexp in place of cross_entropy."""
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    root = torch.as_tensor(temperature, dtype=images.dtype).sqrt()
    u, t = (x / torch.linalg.vector_norm(x, dim=1, keepdim=True) / root for x in (images, texts))
    logits = u.matmul(t.T)
    sums = logits.logsumexp(0).mean() + logits.logsumexp(1).mean()
    return sums / 2 - logits.diagonal().mean()


@wrong("contrastive_loss", cell=LIMITS, says="none reaches anything: stay in torch")
def loss_by_numpy(images, texts, temperature):
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError("shapes do not fit")
    u, t = (np.asarray(x.detach(), dtype=np.float64) for x in (images, texts))
    u, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, t))
    logits = u @ t.T / torch.as_tensor(temperature).item()
    sums = [np.logaddexp.reduce(logits, axis=axis) for axis in (0, 1)]
    value = (np.mean(sums[0]) + np.mean(sums[1])) / 2 - np.mean(np.diag(logits))
    return torch.tensor(value, dtype=torch.float32)


# Task 3: recall -----------------------------------------------------------------------------------

FOUND, TIES = "recall-hidden-values", "recall-hidden-ties"


@wrong("recall", cell=FOUND, says="the two directions have changed places")
def places_changed(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(texts, dim=1) @ F.normalize(images, dim=1).T
    own = scores.diagonal()
    of_images = ((scores >= own[:, None]).sum(1) <= k).float().mean()
    return of_images.item(), ((scores >= own).sum(0) <= k).float().mean().item()


@wrong("recall", cell=FOUND, says="both are of the images")
def images_twice(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    share = ((scores >= scores.diagonal()[:, None]).sum(1) <= k).float().mean().item()
    return share, share


@wrong("recall", cell=FOUND, says="both are of the texts")
def texts_twice(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    share = ((scores >= scores.diagonal()).sum(0) <= k).float().mean().item()
    return share, share


@wrong("recall", cell=FOUND, says="one place too many")
def one_too_many(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = scores.diagonal()
    nearer = (scores > own[:, None]).sum(1), (scores > own[None, :]).sum(0)
    return tuple((n <= k).float().mean().item() for n in nearer)


@wrong("recall", cell=FOUND, says="one place too few")
def one_too_few(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = scores.diagonal()
    places = (scores >= own[:, None]).sum(1), (scores >= own[None, :]).sum(0)
    return tuple((n < k).float().mean().item() for n in places)


@wrong("recall", cell=FOUND, says="k is ignored")
def k_ignored(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = torch.arange(len(scores))
    hits = (scores.argmax(1) == own), (scores.argmax(0) == own)
    return tuple(hit.float().mean().item() for hit in hits)


@wrong("recall", cell=FOUND, says="the lengths count")
def lengths_count(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = images @ texts.T
    own = scores.diagonal()
    places = (scores >= own[:, None]).sum(1), (scores >= own[None, :]).sum(0)
    return tuple((n <= k).float().mean().item() for n in places)


@wrong("recall", cell=FOUND, says="these are numbers of pairs; they must be shares")
def numbers(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = scores.diagonal()
    places = (scores >= own[:, None]).sum(1), (scores >= own[None, :]).sum(0)
    return tuple(float((n <= k).sum()) for n in places)


@wrong("recall", cell=FOUND, says="these are percentages; they must be shares")
def percentages(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = scores.diagonal()
    places = (scores >= own[:, None]).sum(1), (scores >= own[None, :]).sum(0)
    return tuple(100 * (n <= k).float().mean().item() for n in places)


@wrong("recall", cell=FOUND, says="the farthest come first")
def farthest_first(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = scores.diagonal()
    places = (scores <= own[:, None]).sum(1), (scores <= own[None, :]).sum(0)
    return tuple((n <= k).float().mean().item() for n in places)


@wrong("recall", cell=FOUND, says="the mean of both directions")
def mean_of_both(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = scores.diagonal()
    places = (scores >= own[:, None]).sum(1), (scores >= own[None, :]).sum(0)
    share = sum((n <= k).float().mean().item() for n in places) / 2
    return share, share


@wrong("recall", cell=TIES, says="ties count for the partner")
def generous_with_ties(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = scores.diagonal()
    nearer = (scores > own[:, None]).sum(1), (scores > own[None, :]).sum(0)
    return tuple((n < k).float().mean().item() for n in nearer)


@wrong("recall", cell=TIES, says="the partner's cosine is computed anew")
def partner_anew(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    u, t = F.normalize(images, dim=1), F.normalize(texts, dim=1)
    scores, own = u @ t.T, (u * t).sum(1)
    places = (scores >= own[:, None]).sum(1), (scores >= own[None, :]).sum(0)
    return tuple((n <= k).float().mean().item() for n in places)


@wrong("recall", cell="recall-check-ties", says="the partner's cosine is computed anew")
def partner_anew_seen(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    u, t = F.normalize(images, dim=1), F.normalize(texts, dim=1)
    scores, own = u @ t.T, (u * t).sum(1)
    places = (scores >= own[:, None]).sum(1), (scores >= own[None, :]).sum(0)
    return tuple((n <= k).float().mean().item() for n in places)


@wrong("recall", cell=TIES, says="topk takes some of the tied for nearest")
def by_topk(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = torch.arange(len(scores))[:, None]
    return tuple(
        (s.topk(k).indices == own).any(1).float().mean().item() for s in (scores, scores.T)
    )


@wrong("recall", cell="recall-check-ties", says="topk takes some of the tied for nearest")
def by_topk_seen(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = torch.arange(len(scores))[:, None]
    return tuple(
        (s.topk(k).indices == own).any(1).float().mean().item() for s in (scores, scores.T)
    )


@wrong("recall", cell=TIES, says="k = 0: expected ValueError")
def any_k(images, texts, k):
    if images.shape != texts.shape:
        raise ValueError("shapes differ")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = scores.diagonal()
    places = (scores >= own[:, None]).sum(1), (scores >= own[None, :]).sum(0)
    return tuple((n <= k).float().mean().item() for n in places)


@right("recall")
def recall_by_loops(images, texts, k):
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    u, t = F.normalize(images, dim=1), F.normalize(texts, dim=1)
    table = (u @ t.T).tolist()
    B, rows, columns = len(table), 0, 0
    for i in range(B):
        rows += sum(table[i][j] >= table[i][i] for j in range(B)) <= k
        columns += sum(table[j][i] >= table[i][i] for j in range(B)) <= k
    return rows / B, columns / B


@right("recall")
def recall_by_numpy(images, texts, k):
    if k < 1 or tuple(images.shape) != tuple(texts.shape):
        raise ValueError("k or shapes")
    u, t = F.normalize(images, dim=1).numpy(), F.normalize(texts, dim=1).numpy()
    cosines = u @ t.T
    own = np.diag(cosines)
    found = [(cosines >= own[:, None]).sum(1) <= k, (cosines >= own).sum(0) <= k]
    return float(found[0].mean()), float(found[1].mean())


@right("recall")
def recall_by_sorting(images, texts, k):
    """The worst place of one's own value in each sorted row."""
    if images.shape != texts.shape or k < 1:
        raise ValueError("shapes differ, or k below 1")
    scores = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    answer = []
    for table in (scores, scores.T):
        own, kth = table.diagonal(), table.sort(1, descending=True).values
        beyond = kth[:, k:] if k < len(table) else kth[:, :0]
        answer.append(float((beyond < own[:, None]).all(1).float().mean()))
    return answer[0], answer[1]


# Task 4: same_caption_loss_repaired ---------------------------------------------------------------

SAME, ALL = "same_caption_loss_repaired-hidden-values", "same_caption_loss_repaired-hidden-limits"
TASK = "same_caption_loss_repaired"


@wrong(TASK, cell=SAME, says="the targets do not sum to 1: this is the colleague's loss")
def untouched(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    partners = (captions[:, None] == captions[None, :]).float()
    return (F.cross_entropy(logits, partners) + F.cross_entropy(logits.T, partners)) / 2


@wrong(TASK, cell=ALL, says="the targets do not sum to 1: this is the colleague's loss")
def untouched_and_all_equal(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    partners = (captions[:, None] == captions[None, :]).float()
    return -(partners * (logits.log_softmax(1) + logits.log_softmax(0))).sum() / 2 / len(captions)


@wrong(TASK, cell=SAME, says="the captions are ignored")
def captions_ignored(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    own = torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@wrong(TASK, cell=SAME, says="only the images' targets sum to 1")
def half_repaired(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    partners = (captions[:, None] == captions[None, :]).float()
    targets = partners / partners.sum(1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, partners)) / 2


@wrong(TASK, cell=SAME, says="only the images choose; the texts must choose too")
def one_direction(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    partners = (captions[:, None] == captions[None, :]).float()
    return F.cross_entropy(logits, partners / partners.sum(1, keepdim=True))


@wrong(TASK, cell=SAME, says="the targets are a softmax of zeros and ones")
def softmax_of_partners(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    targets = (captions[:, None] == captions[None, :]).float().softmax(1)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


@wrong(TASK, cell=SAME, says="the targets are divided by the batch")
def divided_by_batch(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    targets = (captions[:, None] == captions[None, :]).float() / len(captions)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


@wrong(TASK, cell=SAME, says="all targets together sum to 1; each row must")
def sum_over_everything(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    targets = (captions[:, None] == captions[None, :]).float()
    targets = targets / targets.sum()
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


@wrong(TASK, cell=SAME, says="equal captions are taken out of the choices")
def equal_ones_hidden(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    same = (captions[:, None] == captions[None, :]) & ~torch.eye(len(captions), dtype=torch.bool)
    logits, own = logits.masked_fill(same, -math.inf), torch.arange(len(captions))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@wrong(TASK, cell=SAME, says="the probabilities of the partners are added")
def any_partner_will_do(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    same = captions[:, None] == captions[None, :]
    kept = logits.masked_fill(~same, -math.inf)
    of_images = (logits.logsumexp(1) - kept.logsumexp(1)).mean()
    return (of_images + (logits.logsumexp(0) - kept.logsumexp(0)).mean()) / 2


@wrong(TASK, cell=SAME, says="the sum of both directions; it must be their mean")
def directions_summed(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    partners = (captions[:, None] == captions[None, :]).float()
    targets = partners / partners.sum(1, keepdim=True)
    return F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)


@wrong(TASK, cell=SAME, says="the lengths count")
def lengths_left(images, texts, captions, temperature):
    logits = images @ texts.T / temperature
    partners = (captions[:, None] == captions[None, :]).float()
    targets = partners / partners.sum(1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


@wrong(TASK, cell=SAME, says="only the first of equal captions is a partner")
def first_of_equals(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    first = (captions[:, None] == captions[None, :]).int().argmax(1)
    return (F.cross_entropy(logits, first) + F.cross_entropy(logits.T, first)) / 2


@right(TASK)
def repaired_by_loops(images, texts, captions, temperature):
    u, t = F.normalize(images.double(), dim=1), F.normalize(texts.double(), dim=1)
    logits, B, total = u @ t.T / temperature, len(captions), 0.0
    for table in (logits, logits.T):
        for i in range(B):
            chances = table[i].log_softmax(0)
            same = [float(chances[j]) for j in range(B) if captions[i] == captions[j]]
            total -= sum(same) / len(same)
    return torch.tensor(total / (2 * B), dtype=torch.float32)


@right(TASK)
def repaired_by_weights(images, texts, captions, temperature):
    """One table of weights serves both directions: it is symmetric."""
    cosines = F.cosine_similarity(images[:, None], texts[None], dim=-1)
    logits = cosines / temperature
    _, group, sizes = captions.unique(return_inverse=True, return_counts=True)
    weights = (group[:, None] == group) / sizes[group]
    return -(weights * (logits.log_softmax(0) + logits.log_softmax(1)) / 2).sum() / len(captions)


@right(TASK)
def repaired_by_normalizing(images, texts, captions, temperature):
    logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).mT / temperature
    one_hot = F.one_hot(captions - captions.min()).float()
    targets = F.normalize(one_hot @ one_hot.T, p=1, dim=1)
    ways = F.cross_entropy(logits, targets), F.cross_entropy(logits.mT, targets)
    return torch.stack(ways).mean()
