"""Answers to the exercise on adversarial networks: wrong ones, what catches them, right ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.bank import right, wrong

KINDS = ("saturating", "non-saturating", "hinge")  # as the exercise's set-up has it

# Task 1: losses ---------------------------------------------------------------------------------

LOGISTIC, HINGE = "losses-hidden-logistic", "losses-hidden-hinge"


@wrong("losses", cell=LOGISTIC, says="real and made images have changed places")
def labels_swapped(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 + real).mean() + F.relu(1 - fake).mean(), -fake.mean()
    told = F.softplus(real).mean() + F.softplus(-fake).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=LOGISTIC, says="the part of the made images is missing")
def only_real(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real).mean(), -fake.mean()
    told = F.softplus(-real).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=LOGISTIC, says="the part of the real images is missing")
def only_made(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 + fake).mean(), -fake.mean()
    told = F.softplus(fake).mean()
    return told, -told if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=LOGISTIC, says="the parts are summed over the images; they must be means")
def sums(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real).sum() + F.relu(1 + fake).sum(), -fake.mean()
    told = F.softplus(-real).sum() + F.softplus(fake).sum()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong(
    "losses",
    cell=LOGISTIC,
    says="the sign is turned round: this is what the discriminator maximizes",
)
def value_of_the_game(kind, real, fake):
    if kind == "hinge":
        return -F.relu(1 - real).mean() - F.relu(1 + fake).mean(), -fake.mean()
    told = -F.softplus(-real).mean() - F.softplus(fake).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=LOGISTIC, says="the loss is halved: add the two means")
def halved(kind, real, fake):
    if kind == "hinge":
        return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2, -fake.mean()
    told = (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=LOGISTIC, says="saturating and non-saturating have changed places")
def games_swapped(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, F.softplus(-fake).mean() if kind == "saturating" else -F.softplus(fake).mean()


@wrong("losses", cell=LOGISTIC, says="the sign is turned round: this helps the discriminator")
def generator_helps(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), fake.mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, F.softplus(fake).mean() if kind == "saturating" else -F.softplus(-fake).mean()


@wrong("losses", cell=LOGISTIC, says="the generator's loss is summed over the images")
def generator_sums(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.sum()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, -F.softplus(fake).sum() if kind == "saturating" else F.softplus(-fake).sum()


@wrong("losses", cell=LOGISTIC, says="the generator's loss is that of the real images")
def generator_of_real(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -real.mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, -F.softplus(real).mean() if kind == "saturating" else F.softplus(-real).mean()


@wrong("losses", cell=LOGISTIC, says="scores of 300")
def logarithms(kind, real, fake):
    if kind not in KINDS:
        raise ValueError(kind)
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean()
    p, q = torch.sigmoid(real), torch.sigmoid(fake)
    told = -p.log().mean() - (1 - q).log().mean()
    return told, (1 - q).log().mean() if kind == "saturating" else -q.log().mean()


@wrong("losses", cell=HINGE, says="the hinge is missing: beyond the margin the loss is 0")
def no_hinge(kind, real, fake):
    if kind == "hinge":
        return (1 - real).mean() + (1 + fake).mean(), -fake.mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=HINGE, says="the margin is missing")
def no_margin(kind, real, fake):
    if kind == "hinge":
        return F.relu(-real).mean() + F.relu(fake).mean(), -fake.mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=HINGE, says="the hinge is taken of the mean; each image has its own")
def hinge_of_the_mean(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real.mean()) + F.relu(1 + fake.mean()), -fake.mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=HINGE, says="the generator has a hinge too; its loss is linear")
def generator_hinge(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), F.relu(1 - fake).mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=HINGE, says="the kind 'Hinge': expected ValueError")
def any_kind(kind, real, fake):
    if kind.lower() == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@right("losses")
def by_cross_entropy(kind, real, fake):
    if kind not in ("saturating", "non-saturating", "hinge"):
        raise ValueError(kind)
    if kind == "hinge":
        return (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(), fake.neg().mean()
    entropy = F.binary_cross_entropy_with_logits
    told = entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))
    if kind == "saturating":
        return told, -entropy(fake, torch.zeros_like(fake))
    return told, entropy(fake, torch.ones_like(fake))


@right("losses")
def by_log_sigmoid(kind, real, fake):
    if kind == "hinge":
        return torch.relu(1 - real).mean() + torch.relu(fake + 1).mean(), -torch.mean(fake)
    made = F.logsigmoid(-fake).mean()
    told = -F.logsigmoid(real).mean() - made
    makes = {"saturating": made, "non-saturating": -F.logsigmoid(fake).mean()}
    if kind not in makes:
        raise ValueError(f"unknown kind {kind}")
    return told, makes[kind]


@right("losses")
def by_loops(kind, real, fake):
    if kind not in ("saturating", "non-saturating", "hinge"):
        raise ValueError(kind)

    def soft(x):
        return max(x, 0.0) + math.log1p(math.exp(-abs(x)))

    a, b = real.tolist(), fake.tolist()
    if kind == "hinge":
        told = sum(max(0, 1 - s) for s in a) / len(a) + sum(max(0, 1 + s) for s in b) / len(b)
        fooled = -sum(b) / len(b)
    else:
        told = sum(soft(-s) for s in a) / len(a) + sum(soft(s) for s in b) / len(b)
        fooled = sum(soft(-s) for s in b) / len(b)
        if kind == "saturating":
            fooled = -sum(soft(s) for s in b) / len(b)
    return torch.tensor(told), torch.tensor(fooled)


EXAMPLE = "losses-check-example"


@wrong("losses", cell=EXAMPLE, says="the loss is halved: add the two means, take no mean over both")
def mean_over_both(kind, real, fake):
    if kind == "hinge":
        return torch.cat((F.relu(1 - real), F.relu(1 + fake))).mean(), -fake.mean()
    told = torch.cat((F.softplus(-real), F.softplus(fake))).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=EXAMPLE, says="non-saturating: the part of the made images is missing")
def only_real_non_saturating(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean()
    caught = F.softplus(fake).mean()
    if kind == "saturating":
        return F.softplus(-real).mean() + caught, -caught
    return F.softplus(-real).mean(), F.softplus(-fake).mean()


@wrong("losses", cell=EXAMPLE, says="saturating: the part of the real images is missing")
def only_made_in_the_example(kind, real, fake):
    caught = F.softplus(fake).mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean()
    return caught, -caught if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=EXAMPLE, says="the hinge is missing: beyond the margin the loss is 0")
def linear_discriminator(kind, real, fake):
    if kind == "hinge":
        return (1 - real).mean() + (1 + fake).mean(), -fake.mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell=EXAMPLE, says="saturating and non-saturating have changed places")
def generators_exchanged(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, F.softplus(-fake).mean() if kind == "saturating" else -F.softplus(fake).mean()


@wrong("losses", cell=EXAMPLE, says="the sign is turned round: this helps the discriminator")
def hinge_generator_helps(kind, real, fake):
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), fake.mean()
    told = F.softplus(-real).mean() + F.softplus(fake).mean()
    return told, -F.softplus(fake).mean() if kind == "saturating" else F.softplus(-fake).mean()


@wrong("losses", cell="losses-check-large", says="the logarithm of 0: use softplus")
def logarithm_of_the_probability(kind, real, fake):
    if kind not in KINDS:
        raise ValueError(kind)
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean(), -fake.mean()
    p, q = torch.sigmoid(real), torch.sigmoid(fake)
    told = -p.log().mean() - (1 - q).log().mean()
    return told, (1 - q).log().mean() if kind == "saturating" else -q.log().mean()


# Task 2: frechet_distance -----------------------------------------------------------------------

CLOUDS, LIMITS = "frechet_distance-hidden-clouds", "frechet_distance-hidden-limits"


@wrong("frechet_distance", cell=CLOUDS, says="the covariances are divided by n, not by n - 1")
def biased(a, b):
    x, y = a.double().numpy(), b.double().numpy()
    S, T = (np.atleast_2d(np.cov(z.T, bias=True)) for z in (x, y))
    cross = np.sqrt(np.linalg.eigvals(S @ T).real.clip(0)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(S + T) - 2 * cross)


@wrong("frechet_distance", cell=CLOUDS, says="the distance of the means is not squared")
def means_not_squared(a, b):
    x, y = a.double().numpy(), b.double().numpy()
    S, T = (np.atleast_2d(np.cov(z.T)) for z in (x, y))
    cross = np.sqrt(np.linalg.eigvals(S @ T).real.clip(0)).sum()
    return float(np.linalg.norm(x.mean(0) - y.mean(0)) + np.trace(S + T) - 2 * cross)


@wrong("frechet_distance", cell=CLOUDS, says="only the means are compared")
def only_means(a, b):
    return (a.double().mean(0) - b.double().mean(0)).square().sum().item()


@wrong("frechet_distance", cell=CLOUDS, says="the distance of the means is missing")
def only_covariances(a, b):
    x, y = a.double().numpy(), b.double().numpy()
    S, T = (np.atleast_2d(np.cov(z.T)) for z in (x, y))
    return float(np.trace(S + T) - 2 * np.sqrt(np.linalg.eigvals(S @ T).real.clip(0)).sum())


@wrong("frechet_distance", cell=CLOUDS, says="the term with the roots is missing")
def no_cross(a, b):
    x, y = a.double(), b.double()
    gap = (x.mean(0) - y.mean(0)).square().sum()
    return float(gap + x.var(0).sum() + y.var(0).sum())


@wrong("frechet_distance", cell=CLOUDS, says="the factor 2 before the roots is missing")
def one_cross(a, b):
    x, y = a.double().numpy(), b.double().numpy()
    S, T = (np.atleast_2d(np.cov(z.T)) for z in (x, y))
    cross = np.sqrt(np.linalg.eigvals(S @ T).real.clip(0)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(S + T) - cross)


@wrong("frechet_distance", cell=CLOUDS, says="the root is missing: this is the trace of S T")
def no_root(a, b):
    x, y = a.double().numpy(), b.double().numpy()
    S, T = (np.atleast_2d(np.cov(z.T)) for z in (x, y))
    gap = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(gap + np.trace(S + T) - 2 * np.trace(S @ T))


@wrong("frechet_distance", cell=CLOUDS, says="the root is taken entry by entry")
def entrywise(a, b):
    x, y = a.double().numpy(), b.double().numpy()
    S, T = (np.atleast_2d(np.cov(z.T)) for z in (x, y))
    gap = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(gap + np.trace(S + T) - 2 * np.trace(np.sqrt(np.abs(S @ T))))


@wrong("frechet_distance", cell=CLOUDS, says="only the variances are compared, not the covariances")
def diagonal(a, b):
    x, y = a.double(), b.double()
    return float((x.mean(0) - y.mean(0)).square().sum() + (x.std(0) - y.std(0)).square().sum())


@wrong("frechet_distance", cell=CLOUDS, says="this is the root of the distance")
def rooted(a, b):
    x, y = a.double().numpy(), b.double().numpy()
    S, T = (np.atleast_2d(np.cov(z.T)) for z in (x, y))
    cross = np.sqrt(np.linalg.eigvals(S @ T).real.clip(0)).sum()
    return float(np.sqrt(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(S + T) - 2 * cross))


NOT_THE_PRODUCT = "is not the product of the two roots: S and T need not commute"


@wrong("frechet_distance", cell=CLOUDS, says=NOT_THE_PRODUCT)
def difference_of_roots(a, b):
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError("clouds do not fit")

    def root(matrix):
        values, vectors = torch.linalg.eigh(torch.atleast_2d(matrix))
        return vectors * values.clamp(min=0).sqrt() @ vectors.T

    a, b = a.double(), b.double()
    apart = (root(a.T.cov()) - root(b.T.cov())).square().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + apart)


@wrong("frechet_distance", cell="frechet_distance-check-turned", says=NOT_THE_PRODUCT)
def product_of_roots(a, b):
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError("clouds do not fit")

    def root(matrix):
        values, vectors = torch.linalg.eigh(torch.atleast_2d(matrix))
        return vectors * values.clamp(min=0).sqrt() @ vectors.T

    a, b = a.double(), b.double()
    apart = (root(a.T.cov()) - root(b.T.cov())).square().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + apart)


@wrong("frechet_distance", cell=LIMITS, says="a cloud of one point: expected ValueError")
def a_point_is_a_cloud(a, b):
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError("shapes")
    x, y = a.double(), b.double()
    if min(len(x), len(y)) < 2:
        return (x.mean(0) - y.mean(0)).square().sum().item()
    S, T = torch.atleast_2d(x.T.cov()), torch.atleast_2d(y.T.cov())
    values, vectors = torch.linalg.eigh(S)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ T @ root).clamp(min=0).sqrt().sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + S.trace() + T.trace() - 2 * cross)


@right("frechet_distance")
def by_eigenvalues_of_the_product(a, b):
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or len(a) < 2 or len(b) < 2:
        raise ValueError("clouds do not fit")
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    S, T = (np.atleast_2d(np.cov(z, rowvar=False)) for z in (x, y))
    roots = np.sqrt(np.maximum(np.linalg.eigvals(S @ T).real, 0)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(S) + np.trace(T) - 2 * roots)


@right("frechet_distance")
def by_singular_values(a, b):
    """The trace of the root is the nuclear norm of the product of the centred clouds."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError("clouds do not fit")
    a, b = a.double(), b.double()
    x, y = (a - a.mean(0)) / (len(a) - 1) ** 0.5, (b - b.mean(0)) / (len(b) - 1) ** 0.5
    cross = torch.linalg.svdvals(x @ y.T).sum()
    gap = (a.mean(0) - b.mean(0)).square().sum()
    return (gap + x.square().sum() + y.square().sum() - 2 * cross).item()


@right("frechet_distance")
def by_the_other_root(a, b):
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError("clouds do not fit")
    a, b = a.to(torch.float64), b.to(torch.float64)

    def covariance(x):
        centred = x - x.mean(0)
        return centred.T @ centred / (len(x) - 1)

    def root(matrix):
        values, vectors = torch.linalg.eigh(matrix)
        return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T

    S, T = covariance(a), covariance(b)
    half = root(T)
    cross = root(half @ S @ half)
    return float((a.mean(0) - b.mean(0)).pow(2).sum() + torch.trace(S + T - 2 * cross))


# Task 3: spectral_norm --------------------------------------------------------------------------

STEPS, NORM = "spectral_norm-hidden-steps", "spectral_norm-hidden-norm"


@wrong("spectral_norm", cell=STEPS, says="this is the square of the norm")
def squared(weight, u, steps=1):
    for _ in range(steps):
        v = F.normalize(weight.T @ u, dim=0)
        u = F.normalize(weight @ v, dim=0)
    return (u @ weight @ v) ** 2, u


@wrong("spectral_norm", cell=STEPS, says="this is the Frobenius norm")
def frobenius(weight, u, steps=1):
    for _ in range(steps):
        v = F.normalize(weight.T @ u, dim=0)
        u = F.normalize(weight @ v, dim=0)
    return weight.square().sum().sqrt(), u


@wrong("spectral_norm", cell=STEPS, says="this is the largest entry")
def largest_entry(weight, u, steps=1):
    for _ in range(steps):
        u = F.normalize(weight @ F.normalize(weight.T @ u, dim=0), dim=0)
    return weight.abs().max(), u


@wrong("spectral_norm", cell=STEPS, says="this is the largest length of a row")
def longest_row(weight, u, steps=1):
    for _ in range(steps):
        u = F.normalize(weight @ F.normalize(weight.T @ u, dim=0), dim=0)
    return weight.norm(dim=1).max(), u


@wrong("spectral_norm", cell=STEPS, says="this is the largest length of a column")
def longest_column(weight, u, steps=1):
    for _ in range(steps):
        u = F.normalize(weight @ F.normalize(weight.T @ u, dim=0), dim=0)
    return weight.norm(dim=0).max(), u


@wrong("spectral_norm", cell=STEPS, says="this is the largest sum of a row's sizes")
def largest_row_sum(weight, u, steps=1):
    for _ in range(steps):
        u = F.normalize(weight @ F.normalize(weight.T @ u, dim=0), dim=0)
    return weight.abs().sum(1).max(), u


@wrong("spectral_norm", cell=STEPS, says="the number of steps is ignored: one is taken")
def always_one(weight, u, steps=1):
    v = F.normalize(weight.T @ u, dim=0)
    u = F.normalize(weight @ v, dim=0)
    return u @ weight @ v, u


@wrong("spectral_norm", cell=STEPS, says="one step too many")
def one_more(weight, u, steps=1):
    for _ in range(steps + 1):
        v = F.normalize(weight.T @ u, dim=0)
        u = F.normalize(weight @ v, dim=0)
    return u @ weight @ v, u


@wrong("spectral_norm", cell=STEPS, says="u is not made one long")
def u_not_normalized(weight, u, steps=1):
    for _ in range(steps):
        v = F.normalize(weight.T @ u, dim=0)
        u = weight @ v
    return u.norm(), u


@wrong("spectral_norm", cell=STEPS, says="u is returned as it came")
def old_u(weight, u, steps=1):
    new = u
    for _ in range(steps):
        v = F.normalize(weight.T @ new, dim=0)
        new = F.normalize(weight @ v, dim=0)
    return new @ weight @ v, u


@wrong("spectral_norm", cell=STEPS, says="the sign of u is turned round")
def mirrored(weight, u, steps=1):
    for _ in range(steps):
        v = F.normalize(weight.T @ u, dim=0)
        u = F.normalize(weight @ v, dim=0)
    return u @ weight @ v, -u


@wrong("spectral_norm", cell=STEPS, says="this is v")
def returns_v(weight, u, steps=1):
    for _ in range(steps):
        v = F.normalize(weight.T @ u, dim=0)
        u = F.normalize(weight @ v, dim=0)
    return u @ weight @ v, v


@wrong("spectral_norm", cell=NORM, says="this is the sum of the singular values")
def nuclear(weight, u, steps=1):
    for _ in range(steps):
        u = F.normalize(weight @ F.normalize(weight.T @ u, dim=0), dim=0)
    return torch.linalg.svdvals(weight).sum(), u


NO_GRADIENT = "no gradient reaches W: compute the last product outside torch.no_grad()"
THROUGH = "a gradient flows through u and v too: compute them without gradients"


@wrong("spectral_norm", cell="spectral_norm-check-gradient", says=NO_GRADIENT)
def all_without_gradients(weight, u, steps=1):
    with torch.no_grad():
        for _ in range(steps):
            v = F.normalize(weight.T @ u, dim=0)
            u = F.normalize(weight @ v, dim=0)
        return u @ weight @ v, u


@wrong("spectral_norm", cell=NORM, says=NO_GRADIENT)
def detached(weight, u, steps=1):
    W = weight.detach()
    for _ in range(steps):
        v = F.normalize(W.T @ u, dim=0)
        u = F.normalize(W @ v, dim=0)
    return u @ W @ v, u


@wrong("spectral_norm", cell="spectral_norm-check-gradient", says=THROUGH)
def all_with_gradients(weight, u, steps=1):
    for _ in range(steps):
        v = F.normalize(weight.T @ u, dim=0)
        u = F.normalize(weight @ v, dim=0)
    return u @ weight @ v, u


@wrong("spectral_norm", cell=NORM, says=THROUGH)
def length_with_gradients(weight, u, steps=1):
    for _ in range(steps):
        v = F.normalize(weight.T @ u, dim=0)
        u = F.normalize(weight @ v, dim=0)
    return (weight @ v).norm(), u.detach()


@right("spectral_norm")
def by_numpy(weight, u, steps=1):
    W, x = weight.detach().double().numpy(), u.detach().double().numpy()
    for _ in range(steps):
        y = W.T @ x
        y /= np.linalg.norm(y)
        x = W @ y
        x /= np.linalg.norm(x)
    left, right = (torch.tensor(z, dtype=weight.dtype) for z in (x, y))
    return (weight * torch.outer(left, right)).sum(), left


@right("spectral_norm")
def by_the_length_of_the_product(weight, u, steps=1):
    with torch.no_grad():
        for _ in range(steps):
            v = weight.t().mv(u)
            v = v / v.norm()
            u = weight.mv(v)
            u = u / u.norm()
    return weight.mv(v).norm(), u


@right("spectral_norm")
def by_the_square(weight, u, steps=1):
    W = weight.detach().double()
    x = u.double()
    for step in range(steps):
        before = x
        x = F.normalize(W @ W.T @ x, dim=0)
    v = F.normalize(W.T @ before, dim=0)
    return (x @ weight.double() @ v).to(weight.dtype), x.to(weight.dtype)


# Task 4: average_repaired -----------------------------------------------------------------------

VALUE, MEMORY = "average_repaired-hidden-value", "average_repaired-hidden-memory"


@wrong("average_repaired", cell=MEMORY, says="the old average is overwritten")
def as_it_was(average, weights, decay):
    for name, new in weights.items():
        if new.is_floating_point():
            average[name] *= decay
            average[name] += (1 - decay) * new
    return average | {n: w.clone() for n, w in weights.items() if not w.is_floating_point()}


@wrong("average_repaired", cell=MEMORY, says="the weights are overwritten")
def overwrites_the_weights(average, weights, decay):
    for name, new in weights.items():
        if new.is_floating_point():
            new *= 1 - decay
            new += decay * average[name]
    return {name: new.clone() for name, new in weights.items()}


@wrong("average_repaired", cell=MEMORY, says="they go on changing, the whole numbers")
def shares_the_counts(average, weights, decay):
    return {
        name: decay * average[name] + (1 - decay) * new if new.is_floating_point() else new
        for name, new in weights.items()
    }


@wrong("average_repaired", cell=VALUE, says="the decay belongs to the average, not to the weights")
def decay_swapped(average, weights, decay):
    return {
        name: (1 - decay) * average[name] + decay * new if new.is_floating_point() else new.clone()
        for name, new in weights.items()
    }


@wrong("average_repaired", cell=VALUE, says="the new weights count in full")
def momentum(average, weights, decay):
    return {
        name: decay * average[name] + new if new.is_floating_point() else new.clone()
        for name, new in weights.items()
    }


@wrong("average_repaired", cell=VALUE, says="the old average is not decayed")
def only_adds(average, weights, decay):
    return {
        name: average[name] + (1 - decay) * new if new.is_floating_point() else new.clone()
        for name, new in weights.items()
    }


@wrong("average_repaired", cell=VALUE, says="this is the plain mean of the two")
def plain_mean(average, weights, decay):
    return {
        name: (average[name] + new) / 2 if new.is_floating_point() else new.clone()
        for name, new in weights.items()
    }


@wrong("average_repaired", cell=VALUE, says="these are the new weights")
def newest(average, weights, decay):
    return {name: new.clone() for name, new in weights.items()}


@wrong("average_repaired", cell=VALUE, says="this is the old average")
def oldest(average, weights, decay):
    return {name: old.clone() for name, old in average.items()}


@wrong("average_repaired", cell=VALUE, says="whole numbers must be those of the weights")
def old_counts(average, weights, decay):
    return {
        name: decay * old + (1 - decay) * weights[name] if old.is_floating_point() else old.clone()
        for name, old in average.items()
    }


@wrong("average_repaired", cell=VALUE, says="whole numbers are averaged")
def averages_counts(average, weights, decay):
    return {name: decay * average[name] + (1 - decay) * new for name, new in weights.items()}


@wrong("average_repaired", cell=VALUE, says="whole numbers are missing")
def drops_counts(average, weights, decay):
    return {
        name: decay * average[name] + (1 - decay) * new
        for name, new in weights.items()
        if new.is_floating_point()
    }


@wrong("average_repaired", cell=VALUE, says="all is made float32; each entry keeps its dtype")
def all_float(average, weights, decay):
    answer = {}
    for name, new in weights.items():
        mean = decay * average[name] + (1 - decay) * new
        answer[name] = (mean if new.is_floating_point() else new.clone()).float()
    return answer


@wrong(
    "average_repaired",
    cell="average_repaired-check-dtype",
    says="float64 is made float32; each entry keeps its dtype",
)
def floats_float(average, weights, decay):
    return {
        name: decay * average[name].float() + (1 - decay) * new.float()
        if new.is_floating_point()
        else new.clone()
        for name, new in weights.items()
    }


@wrong("average_repaired", cell=VALUE, says="all is made float64; each entry keeps its dtype")
def all_double(average, weights, decay):
    return {
        name: decay * average[name].double() + (1 - decay) * new.double()
        if new.is_floating_point()
        else new.double()
        for name, new in weights.items()
    }


@right("average_repaired")
def by_a_loop(average, weights, decay):
    answer = {}
    for name, new in weights.items():
        answer[name] = new.detach().clone()
        if answer[name].is_floating_point():
            answer[name].mul_(1 - decay).add_(average[name], alpha=decay)
    return answer


@right("average_repaired")
def by_steps_towards_the_weights(average, weights, decay):
    answer = {name: old.clone() for name, old in average.items()}
    for name, new in weights.items():
        if new.is_floating_point():
            answer[name] -= (1 - decay) * (answer[name] - new)
        else:
            answer[name] = new.clone()
    return answer


@right("average_repaired")
def by_numpy_arrays(average, weights, decay):
    answer = {}
    for name, new in weights.items():
        a, w = average[name].numpy(), new.numpy()
        if w.dtype.kind == "f":
            w = (decay * a.astype(np.float64) + (1 - decay) * w).astype(w.dtype)
        answer[name] = torch.tensor(w)
    return answer
