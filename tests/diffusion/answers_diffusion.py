"""Answers to the exercise on diffusion: wrong ones, what catches them, right ones.

Each stands alone, as a student types it, so what several need is written out in each.
"""

import numpy as np
import torch

from tests.bank import right, wrong

TARGETS = ("noise", "data", "velocity")  # as the exercise's set-up has it


def wide(amounts):  # this one too
    return amounts.reshape(-1, 1, 1, 1)


# Task 1: noised ---------------------------------------------------------------------------------

BATCH, ENDS = "noised-hidden-batch", "noised-hidden-ends"


@wrong("noised", cell=BATCH, says="alpha and sigma have changed places")
def amounts_swapped(data, noise, alpha, sigma):
    return wide(sigma) * data + wide(alpha) * noise


@wrong("noised", cell=BATCH, says="here their roots are taken")
def roots(data, noise, alpha, sigma):
    return wide(alpha).sqrt() * data + wide(sigma).sqrt() * noise


@wrong("noised", cell=BATCH, says="here they are squared")
def squares(data, noise, alpha, sigma):
    return wide(alpha) ** 2 * data + wide(sigma) ** 2 * noise


@wrong("noised", cell=BATCH, says="all images get the amounts of the first")
def first_for_all(data, noise, alpha, sigma):
    return alpha[0] * data + sigma[0] * noise


@wrong("noised", cell=BATCH, says="the amounts are lined up with the columns")
def along_columns(data, noise, alpha, sigma):
    return alpha * data + sigma * noise


@wrong("noised", cell=BATCH, says="the data are not scaled")
def data_unscaled(data, noise, alpha, sigma):
    return data + wide(sigma) * noise


@wrong("noised", cell=BATCH, says="the noise is not scaled")
def noise_unscaled(data, noise, alpha, sigma):
    return wide(alpha) * data + noise


@wrong("noised", cell=BATCH, says="scaled by the same amount")
def one_amount(data, noise, alpha, sigma):
    return wide(alpha) * (data + noise)


@wrong("noised", cell=BATCH, says="the noise is subtracted")
def subtracted(data, noise, alpha, sigma):
    return wide(alpha) * data - wide(sigma) * noise


@wrong("noised", cell=BATCH, says="the squares of the amounts need not sum to 1")
def squares_sum_to_one(data, noise, alpha, sigma):
    return wide(alpha) * data + (1 - wide(alpha) ** 2).clamp(min=0).sqrt() * noise


@wrong("noised", cell=BATCH, says="the amounts need not sum to 1")
def straight_path_only(data, noise, alpha, sigma):
    return wide(alpha) * data + (1 - wide(alpha)) * noise


@wrong("noised", cell=BATCH, says="scaled to variance 1")
def normalized(data, noise, alpha, sigma):
    a, s = wide(alpha), wide(sigma)
    return (a * data + s * noise) / (a**2 + s**2).sqrt()


@right("noised")
def image_by_image(data, noise, alpha, sigma):
    rows = zip(data, noise, alpha.tolist(), sigma.tolist(), strict=True)
    return torch.stack([a * x + s * e for x, e, a, s in rows])


@right("noised")
def by_einsum(data, noise, alpha, sigma):
    scaled = torch.einsum("b,bchw->bchw", alpha, data)
    return scaled + torch.einsum("b,bchw->bchw", sigma, noise)


@right("noised")
def by_numpy(data, noise, alpha, sigma):
    a, s = (np.asarray(x, dtype=np.float64)[:, None, None, None] for x in (alpha, sigma))
    return torch.tensor(a * data.numpy() + s * noise.numpy(), dtype=torch.float32)


@right("noised")
def by_addcmul(data, noise, alpha, sigma):
    return torch.addcmul(alpha[:, None, None, None] * data, sigma[:, None, None, None], noise)


# Task 2: estimates ------------------------------------------------------------------------------

FROM, LIMITS = "estimates-hidden-targets", "estimates-hidden-limits"


@wrong("estimates", cell=FROM, says="what is left is not divided by alpha")
def not_divided(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    if target == "noise":
        return solved(noisy - wide(sigma) * predicted, noisy, alpha, sigma)
    return solved(guess(target, predicted, noisy, alpha, sigma), noisy, alpha, sigma)


@wrong("estimates", cell=FROM, says="the noise is not scaled by sigma")
def noise_not_scaled(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    if target == "noise":
        return solved((noisy - predicted) / raised(alpha), noisy, alpha, sigma)
    return solved(guess(target, predicted, noisy, alpha, sigma), noisy, alpha, sigma)


@wrong("estimates", cell=FROM, says="the velocity has the other sign")
def other_sign(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    sign = -1 if target == "velocity" else 1
    return solved(guess(target, sign * predicted, noisy, alpha, sigma), noisy, alpha, sigma)


@wrong("estimates", cell=FROM, says="alpha + sigma is taken for 1")
def straight_velocity(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    if target == "velocity":
        return solved(noisy - wide(sigma) * predicted, noisy, alpha, sigma)
    return solved(guess(target, predicted, noisy, alpha, sigma), noisy, alpha, sigma)


@wrong("estimates", cell=FROM, says="the velocity is alpha noise - sigma data")
def turning_velocity(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    if target == "velocity":
        return solved(wide(alpha) * noisy - wide(sigma) * predicted, noisy, alpha, sigma)
    return solved(guess(target, predicted, noisy, alpha, sigma), noisy, alpha, sigma)


@wrong("estimates", cell=FROM, says="the prediction is taken for the noise")
def always_noise(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    if target not in TARGETS:
        raise ValueError(target)
    return solved(guess("noise", predicted, noisy, alpha, sigma), noisy, alpha, sigma)


@wrong("estimates", cell=FROM, says="the prediction is taken for the data")
def always_data(target, predicted, noisy, alpha, sigma):
    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    if target not in TARGETS:
        raise ValueError(target)
    return solved(predicted, noisy, alpha, sigma)


@wrong("estimates", cell=FROM, says="data and noise have changed places")
def pair_swapped(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    data, noise = solved(guess(target, predicted, noisy, alpha, sigma), noisy, alpha, sigma)
    return noise, data


@wrong("estimates", cell=FROM, says="the noise is not divided by sigma")
def noise_not_divided(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    data = guess(target, predicted, noisy, alpha, sigma).clamp(-1, 1)
    return data, noisy - wide(alpha) * data


@wrong("estimates", cell=FROM, says="the data are clipped to 0 to 1")
def clipped_as_pixels(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    data = guess(target, predicted, noisy, alpha, sigma).clamp(0, 1)
    return data, (noisy - wide(alpha) * data) / wide(sigma)


@wrong("estimates", cell=LIMITS, says="the data are not clipped")
def not_clipped(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    data = guess(target, predicted, noisy, alpha, sigma)
    return data, (noisy - wide(alpha) * data) / wide(sigma)


@wrong("estimates", cell=LIMITS, says="the noise is not what is left after clipping")
def noise_before_clipping(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    data = guess(target, predicted, noisy, alpha, sigma)
    return data.clamp(-1, 1), (noisy - wide(alpha) * data) / wide(sigma)


@wrong("estimates", cell=LIMITS, says="the noise is clipped too")
def noise_clipped(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    data, noise = solved(guess(target, predicted, noisy, alpha, sigma), noisy, alpha, sigma)
    return data, noise.clamp(-1, 1)


@wrong("estimates", cell=LIMITS, says="alpha is not raised to 0.001 before dividing")
def divides_by_zero(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    if target == "noise":
        return solved((noisy - wide(sigma) * predicted) / wide(alpha), noisy, alpha, sigma)
    return solved(guess(target, predicted, noisy, alpha, sigma), noisy, alpha, sigma)


@wrong("estimates", cell=LIMITS, says="also where the noise is computed")
def raised_everywhere(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    data = guess(target, predicted, noisy, alpha, sigma).clamp(-1, 1)
    return data, (noisy - raised(alpha) * data) / wide(sigma)


@wrong("estimates", cell=LIMITS, says="the target 'Noise': expected ValueError")
def any_case(target, predicted, noisy, alpha, sigma):
    def raised(alpha):
        return wide(alpha).clamp(min=1e-3)

    def solved(data, noisy, alpha, sigma):
        data = data.clamp(-1, 1)
        return data, (noisy - wide(alpha) * data) / wide(sigma)

    def guess(target, predicted, noisy, alpha, sigma):
        """The right estimate of the data, before clipping."""
        if target not in TARGETS:
            raise ValueError(target)
        left = noisy - wide(sigma) * predicted
        return {
            "noise": left / raised(alpha),
            "data": predicted,
            "velocity": left / (wide(alpha) + wide(sigma)),
        }[target]

    return solved(guess(target.lower(), predicted, noisy, alpha, sigma), noisy, alpha, sigma)


@right("estimates")
def by_cases(target, predicted, noisy, alpha, sigma):
    a, s = alpha[:, None, None, None], sigma[:, None, None, None]
    match target:
        case "noise":
            data = (noisy - s * predicted) / torch.maximum(a, torch.tensor(0.001))
        case "data":
            data = predicted
        case "velocity":
            data = (noisy - s * predicted) / (s + a)
        case _:
            raise ValueError(f"no {target}")
    data = torch.clip(data, -1, 1)
    return data, (noisy - a * data) / s


@right("estimates")
def image_by_image_solved(target, predicted, noisy, alpha, sigma):
    if target not in ("noise", "data", "velocity"):
        raise ValueError("unknown target")
    pairs = []
    for p, x, a, s in zip(predicted, noisy, alpha.tolist(), sigma.tolist(), strict=True):
        divisor = max(a, 1e-3) if target == "noise" else a + s
        data = p if target == "data" else (x - s * p) / divisor
        data = data.clamp(-1, 1)
        pairs.append((data, (x - a * data) / s))
    return torch.stack([d for d, _ in pairs]), torch.stack([e for _, e in pairs])


@right("estimates")
def in_double_precision(target, predicted, noisy, alpha, sigma):
    if target not in {"velocity", "noise", "data"}:
        raise ValueError(target)
    p, x = predicted.double(), noisy.double()
    a, s = (y.double().reshape(len(x), 1, 1, 1) for y in (alpha, sigma))
    if target == "velocity":  # noise = velocity + data
        data = (x - s * p) / (a + s)
    elif target == "noise":
        data = (x - s * p) / a.clamp(min=0.001)
    else:
        data = p
    data = data.clamp(min=-1, max=1)
    return data.float(), ((x - a * data) / s).float()


# Task 3: step -----------------------------------------------------------------------------------

STILL, FRESH = "step-hidden-still", "step-hidden-fresh"


@wrong("step", cell=STILL, says="these are the amounts of `before`")
def stays(data, noise, before, after, fresh):
    return wide(before[0]) * data + wide(before[1]) * noise


@wrong("step", cell=STILL, says="alpha and sigma have changed places")
def step_swapped(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    _, _, alpha, sigma, kept, rest = parts(before, after)
    if fresh is None:
        return sigma * data + alpha * noise
    return alpha * data + kept * noise + rest * fresh


@wrong("step", cell=STILL, says="without fresh noise all of the noise stays")
def loses_noise(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    _, _, alpha, _, kept, rest = parts(before, after)
    return alpha * data + kept * noise + (0 if fresh is None else rest * fresh)


@wrong("step", cell=STILL, says="the noise is left out")
def only_data(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    _, _, alpha, _, _, rest = parts(before, after)
    return alpha * data + (0 if fresh is None else rest * fresh)


@wrong("step", cell=STILL, says="the noise stays as much as it was")
def noise_stays(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    _, s, alpha, _, kept, rest = parts(before, after)
    return alpha * data + (s * noise if fresh is None else kept * noise + rest * fresh)


@wrong("step", cell=STILL, says="all images get the amounts of the first")
def step_of_the_first(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    first = [(pair[0][:1], pair[1][:1]) for pair in (before, after)]
    _, _, alpha, sigma, kept, rest = parts(*first)
    if fresh is None:
        return alpha * data + sigma * noise
    return alpha * data + kept * noise + rest * fresh


@wrong("step", cell=FRESH, says="the fresh noise is not used")
def never_fresh(data, noise, before, after, fresh):
    return wide(after[0]) * data + wide(after[1]) * noise


@wrong("step", cell=FRESH, says="all noise is replaced")
def all_fresh(data, noise, before, after, fresh):
    return wide(after[0]) * data + wide(after[1]) * (noise if fresh is None else fresh)


@wrong("step", cell=FRESH, says="the fresh noise comes on top")
def on_top(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    _, _, alpha, sigma, _, rest = parts(before, after)
    return alpha * data + sigma * noise + (0 if fresh is None else rest * fresh)


@wrong("step", cell=FRESH, says="it is their squares")
def deviations_sum(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    _, _, alpha, sigma, kept, _ = parts(before, after)
    if fresh is None:
        return alpha * data + sigma * noise
    return alpha * data + kept * noise + (sigma - kept) * fresh


@wrong("step", cell=FRESH, says="the root is missing: this is a variance")
def no_root(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    _, _, alpha, sigma, kept, rest = parts(before, after)
    if fresh is None:
        return alpha * data + sigma * noise
    return alpha * data + kept * noise + rest**2 * fresh


@wrong("step", cell=FRESH, says="sigma' must be squared in k")
def not_squared(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    a, s, alpha, sigma, _, _ = parts(before, after)
    if fresh is None:
        return alpha * data + sigma * noise
    kept = a * sigma / (alpha * s)
    return alpha * data + kept * noise + (sigma**2 - kept**2).clamp(min=0).sqrt() * fresh


@wrong("step", cell=FRESH, says="kept and replaced have changed places")
def parts_swapped(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    _, _, alpha, sigma, kept, rest = parts(before, after)
    if fresh is None:
        return alpha * data + sigma * noise
    return alpha * data + rest * noise + kept * fresh


@wrong("step", cell=FRESH, says="the variance of the forward step, not of the backward one")
def forward_variance(data, noise, before, after, fresh):
    def parts(before, after):
        (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
        kept = a * sigma**2 / (alpha * s)
        return a, s, alpha, sigma, kept, (sigma**2 - kept**2).clamp(min=0).sqrt()

    a, s, alpha, sigma, kept, _ = parts(before, after)
    if fresh is None:
        return alpha * data + sigma * noise
    rest = (s**2 - (a / alpha * sigma) ** 2).clamp(min=0).sqrt()
    return alpha * data + kept * noise + rest * fresh


@right("step")
def by_the_posterior(data, noise, before, after, fresh):
    """As DDPM has it: mean and variance of the image before, given the noisy one and the data."""
    (a, s), (alpha, sigma) = ([x[:, None, None, None] for x in p] for p in (before, after))
    if fresh is None:
        return torch.addcmul(alpha * data, sigma, noise)
    noisy = a * data + s * noise
    ratio = a / alpha
    added = s**2 - ratio**2 * sigma**2  # the variance that the forward step adds
    mean = ratio * sigma**2 / s**2 * noisy + alpha * added / s**2 * data
    return mean + sigma / s * added.clamp(min=0).sqrt() * fresh


@right("step")
def image_by_image_stepped(data, noise, before, after, fresh):
    images = []
    for i in range(len(data)):
        (a, s), (alpha, sigma) = ((float(p[0][i]), float(p[1][i])) for p in (before, after))
        if fresh is None:
            images.append(alpha * data[i] + sigma * noise[i])
            continue
        kept = a * sigma**2 / (alpha * s)
        rest = max(0.0, sigma**2 - kept**2) ** 0.5
        images.append(alpha * data[i] + kept * noise[i] + rest * fresh[i])
    return torch.stack(images)


@right("step")
def by_a_share(data, noise, before, after, fresh):
    shape = (-1, 1, 1, 1)
    alpha, sigma = after[0].reshape(shape).double(), after[1].reshape(shape).double()
    share = (before[0] * after[1] / (after[0] * before[1])).reshape(shape).double()
    if fresh is not None:
        noise = share * noise + (1 - share**2).clamp(min=0).sqrt() * fresh
    return (alpha * data + sigma * noise).float()


# Task 4: filled_repaired ------------------------------------------------------------------------

VALUES = "filled_repaired-hidden-values"


@wrong("filled_repaired", cell=VALUES, says="the known pixels are put in without noise")
def as_it_was(noisy, known, mask, noise, alpha, sigma):
    return torch.where(mask, known, noisy)


@wrong("filled_repaired", cell=VALUES, says="the mask is turned round")
def mask_turned(noisy, known, mask, noise, alpha, sigma):
    return torch.where(mask, noisy, wide(alpha) * known + wide(sigma) * noise)


@wrong("filled_repaired", cell=VALUES, says="dimmed, but have no noise")
def only_dimmed(noisy, known, mask, noise, alpha, sigma):
    return torch.where(mask, wide(alpha) * known, noisy)


@wrong("filled_repaired", cell=VALUES, says="on top of the whole known pixel")
def undimmed(noisy, known, mask, noise, alpha, sigma):
    return torch.where(mask, known + wide(sigma) * noise, noisy)


@wrong("filled_repaired", cell=VALUES, says="alpha and sigma have changed places")
def filled_swapped(noisy, known, mask, noise, alpha, sigma):
    return torch.where(mask, wide(sigma) * known + wide(alpha) * noise, noisy)


@wrong("filled_repaired", cell=VALUES, says="the unknown pixels get noise again")
def noise_again(noisy, known, mask, noise, alpha, sigma):
    return wide(alpha) * torch.where(mask, known, noisy) + wide(sigma) * noise


@wrong("filled_repaired", cell=VALUES, says="the mask is not used")
def no_mask(noisy, known, mask, noise, alpha, sigma):
    return wide(alpha) * known + wide(sigma) * noise


@wrong("filled_repaired", cell=VALUES, says="all images get the amounts of the first")
def filled_by_the_first(noisy, known, mask, noise, alpha, sigma):
    return torch.where(mask, alpha[0] * known + sigma[0] * noise, noisy)


@wrong("filled_repaired", cell=VALUES, says="the image in the making is taken for the noise")
def noisy_as_noise(noisy, known, mask, noise, alpha, sigma):
    return torch.where(mask, wide(alpha) * known + wide(sigma) * noisy, noisy)


@wrong("filled_repaired", cell=VALUES, says="known pixels are mixed with those in the making")
def mixed(noisy, known, mask, noise, alpha, sigma):
    return torch.where(mask, (known + noisy) / 2, noisy)


@wrong("filled_repaired", cell=VALUES, says="the unknown pixels are lost")
def lost(noisy, known, mask, noise, alpha, sigma):
    return mask * (wide(alpha) * known + wide(sigma) * noise)


@right("filled_repaired")
def by_arithmetic(noisy, known, mask, noise, alpha, sigma):
    m = mask.to(noisy.dtype)
    drowned = alpha[:, None, None, None] * known + sigma[:, None, None, None] * noise
    return m * drowned + (1 - m) * noisy


@right("filled_repaired")
def by_masked_scatter(noisy, known, mask, noise, alpha, sigma):
    answer = noisy.clone()
    answer[mask] = (wide(alpha) * known + wide(sigma) * noise)[mask]
    return answer


@right("filled_repaired")
def image_by_image_filled(noisy, known, mask, noise, alpha, sigma):
    images = []
    for x, y, m, e, a, s in zip(noisy, known, mask, noise, alpha, sigma, strict=True):
        images.append(np.where(m.numpy(), (a * y + s * e).numpy(), x.numpy()))
    return torch.tensor(np.stack(images))


# What arguments become, and images with amounts of their own -----------------------------------


@wrong("noised", cell=BATCH, says="the arguments after the call")
def noise_scaled_in_place(data, noise, alpha, sigma):
    noise *= wide(sigma)
    return wide(alpha) * data + noise


@wrong("estimates", cell="estimates-check-example", says="all images get the amounts of the first")
def amounts_of_the_first(target, predicted, noisy, alpha, sigma):
    if target not in TARGETS:
        raise ValueError(target)
    a, s = float(alpha[0]), float(sigma[0])
    data = {
        "noise": (noisy - s * predicted) / max(a, 0.001),
        "data": predicted,
        "velocity": (noisy - s * predicted) / (a + s),
    }[target].clamp(-1, 1)
    return data, (noisy - a * data) / s


@wrong("step", cell="step-check-example", says="alpha and sigma have changed places")
def amounts_swapped_in_the_example(data, noise, before, after, fresh):
    (a, s), (sigma, alpha) = ([wide(x) for x in pair] for pair in (before, after))
    if fresh is None:
        return alpha * data + sigma * noise
    kept = a * sigma**2 / (alpha * s)
    return alpha * data + kept * noise + (sigma**2 - kept**2).clamp(min=0).sqrt() * fresh


@wrong("step", cell="step-hidden-fresh", says="the arguments after the call")
def fresh_scaled_in_place(data, noise, before, after, fresh):
    (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
    if fresh is None:
        return alpha * data + sigma * noise
    kept = a * sigma**2 / (alpha * s)
    fresh.mul_((sigma**2 - kept**2).clamp(min=0).sqrt())
    return alpha * data + kept * noise + fresh


@wrong("step", cell="step-hidden-still", says="the arguments after the call")
def data_scaled_in_place(data, noise, before, after, fresh):
    (a, s), (alpha, sigma) = ([wide(x) for x in pair] for pair in (before, after))
    data *= alpha
    if fresh is None:
        return data + sigma * noise
    kept = a * sigma**2 / (alpha * s)
    return data + kept * noise + (sigma**2 - kept**2).clamp(min=0).sqrt() * fresh


@wrong("filled_repaired", cell="filled_repaired-hidden-values", says="the arguments after the call")
def filled_in_place(noisy, known, mask, noise, alpha, sigma):
    noisy[mask] = (wide(alpha) * known + wide(sigma) * noise)[mask]
    return noisy
