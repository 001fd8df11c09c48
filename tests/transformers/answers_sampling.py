"""Answers to the sampling exercise: wrong ones, each with what must catch it, and right ones."""

import heapq
import importlib
import math

import numpy as np
import torch
from torch.nn import functional as F

from tests.bank import right, wrong

library = importlib.import_module("fmbook.transformers.sampling")

# Task 1: top_p ----------------------------------------------------------------------------------

VALUES, ROWS = "top_p-hidden-values", "top_p-hidden-rows"


@wrong("top_p", cell=VALUES, says="the token that crosses p is cut")
def crossing_token_cut(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    ordered, places = logits.sort(-1, descending=True)
    dropped = ordered.softmax(-1).cumsum(-1) > p
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -math.inf)


@wrong("top_p", cell=VALUES, says="one token too many stays")
def one_too_many(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    if p == 1:
        return logits
    ordered, places = logits.sort(-1, descending=True)
    chances = ordered.softmax(-1)
    dropped = chances.cumsum(-1) - chances >= p
    dropped[..., 1:] = dropped[..., :-1].clone()
    dropped[..., 0] = False
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -math.inf)


@wrong("top_p", cell=VALUES, says="these are chances; the contract asks for logits")
def chances_returned(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    if p == 1:
        return logits
    ordered, places = logits.sort(-1, descending=True)
    chances = ordered.softmax(-1)
    dropped = chances.cumsum(-1) - chances >= p
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -math.inf).softmax(-1)


@wrong("top_p", cell=VALUES, says="these are the chances of all tokens, cut but not logits")
def cut_chances_returned(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    if p == 1:
        return logits
    chances, places = logits.softmax(-1).sort(-1, descending=True)
    chances = chances.masked_fill(chances.cumsum(-1) - chances >= p, 0.0)
    return torch.zeros_like(chances).scatter(-1, places, chances)


@wrong("top_p", cell=VALUES, says="what is cut must become minus infinity, not 0")
def cut_to_zero(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    ordered, places = logits.sort(-1, descending=True)
    chances = ordered.softmax(-1)
    dropped = (chances.cumsum(-1) - chances >= p) & (p < 1)
    return logits.masked_fill(dropped.scatter(-1, places, dropped), 0.0)


@wrong("top_p", cell=VALUES, says="the logits come back sorted")
def left_sorted(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    ordered = logits.sort(-1, descending=True).values
    chances = ordered.softmax(-1)
    return ordered.masked_fill((chances.cumsum(-1) - chances >= p) & (p < 1), -math.inf)


@wrong("top_p", cell=VALUES, says="the nucleus is filled from the rarest tokens up")
def sorted_upwards(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    ordered, places = logits.sort(-1)
    chances = ordered.softmax(-1)
    dropped = (chances.cumsum(-1) - chances >= p) & (p < 1)
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -math.inf)


@wrong("top_p", cell=VALUES, says="a token stays if its own chance is p or more")
def own_chance_against_p(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    return logits.masked_fill(logits.softmax(-1) < (p if p < 1 else 0), -math.inf)


@wrong("top_p", cell=VALUES, says="the verdicts are not put back to where the tokens stood")
def not_put_back(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    chances = logits.sort(-1, descending=True).values.softmax(-1)
    return logits.masked_fill((chances.cumsum(-1) - chances >= p) & (p < 1), -math.inf)


@wrong("top_p", cell=VALUES, says="put back by gather; scatter is its inverse")
def put_back_by_gather(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    ordered, places = logits.sort(-1, descending=True)
    chances = ordered.softmax(-1)
    dropped = (chances.cumsum(-1) - chances >= p) & (p < 1)
    return logits.masked_fill(dropped.gather(-1, places), -math.inf)


@wrong("top_p", cell=VALUES, says="a share p of the number of tokens stays")
def share_of_tokens(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    k = max(1, round(p * logits.shape[-1]))
    return logits.masked_fill(logits < logits.topk(k).values[..., -1:], -math.inf)


@wrong("top_p", cell=VALUES, says="the logits are summed; it is their softmax that counts")
def logits_summed(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    ordered, places = logits.sort(-1, descending=True)
    dropped = (ordered.cumsum(-1) - ordered >= p) & (p < 1)
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -math.inf)


@wrong("top_p", cell=VALUES, says="what is kept has been changed")
def kept_renormalized(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    ordered, places = logits.sort(-1, descending=True)
    chances = ordered.softmax(-1)
    dropped = (chances.cumsum(-1) - chances >= p) & (p < 1)
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -math.inf).log_softmax(-1)


@wrong("top_p", cell=ROWS, says="all rows share one nucleus; each has its own")
def one_nucleus_for_all(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    ordered, places = logits.flatten().sort(descending=True)
    chances = ordered.softmax(-1)
    dropped = (chances.cumsum(-1) - chances >= p) & (p < 1)
    return logits.masked_fill(dropped.scatter(0, places, dropped).view_as(logits), -math.inf)


@wrong("top_p", cell=ROWS, says="the softmax runs over the first axis, not the last")
def over_the_first_axis(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    ordered, places = logits.sort(0, descending=True)
    chances = ordered.softmax(0)
    dropped = (chances.cumsum(0) - chances >= p) & (p < 1)
    return logits.masked_fill(dropped.scatter(0, places, dropped), -math.inf)


@wrong("top_p", cell=ROWS, says="every row gets the nucleus of the first")
def nucleus_of_the_first_row(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    first = logits.reshape(-1, logits.shape[-1])[0]
    ordered, places = first.sort(descending=True)
    chances = ordered.softmax(-1)
    dropped = (chances.cumsum(-1) - chances >= p) & (p < 1)
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -math.inf)


@wrong("top_p", cell=ROWS, says="p = -0.1")
def nothing_refused(logits, p):
    if p == 1:
        return logits
    ordered, places = logits.sort(-1, descending=True)
    chances = ordered.softmax(-1)
    dropped = chances.cumsum(-1) - chances >= p
    dropped[..., 0] = False
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -math.inf)


@wrong("top_p", cell=ROWS, says="p = 1 keeps everything, also what has no chance")
def all_only_by_the_sum(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p")
    ordered, places = logits.sort(-1, descending=True)
    chances = ordered.double().softmax(-1)
    dropped = chances.cumsum(-1) - chances >= p
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -math.inf)


@right("top_p")
def row_by_row(logits, p):
    if p <= 0 or p > 1:
        raise ValueError(f"p must lie in (0, 1], got {p}")
    kept = logits.clone()
    for row in kept.reshape(-1, logits.shape[-1]) if kept.is_contiguous() else [kept]:
        chances, total = row.double().softmax(-1), 0.0
        for i in row.argsort(descending=True).tolist():
            if total >= p and p < 1:
                row[i] = -math.inf
            total += chances[i].item()
    return kept


@right("top_p")
def by_numpy(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p must lie in (0, 1]")
    x = np.asarray(logits, dtype=float)
    order = np.argsort(-x, axis=-1)
    chances = np.exp(x - x.max(-1, keepdims=True))
    chances = np.take_along_axis(chances / chances.sum(-1, keepdims=True), order, -1)
    reached = np.cumsum(chances, -1) - chances
    dropped = np.empty(x.shape, bool)
    np.put_along_axis(dropped, order, (reached >= p) & (p < 1), -1)
    return torch.tensor(np.where(dropped, -np.inf, x), dtype=logits.dtype)


@right("top_p")
def by_the_least_chance_kept(logits, p):
    if not (p > 0 and p <= 1):
        raise ValueError("p must lie in (0, 1]")
    if p == 1:
        return logits.clone()
    chances = torch.softmax(logits, dim=-1)
    ordered = chances.sort(dim=-1, descending=True).values
    count = (ordered.cumsum(-1) < p).sum(-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
    return torch.where(chances < ordered.gather(-1, count), -torch.inf, logits)


@right("top_p")
def shifted_as_in_old_transformers(logits, p):
    if not 0 < p <= 1:
        raise ValueError("p must lie in (0, 1]")
    if p == 1:
        return logits
    ordered, places = torch.sort(logits, descending=True)
    dropped = ordered.softmax(-1).cumsum(-1) >= p
    dropped[..., 1:] = dropped[..., :-1].clone()
    dropped[..., 0] = False
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -float("inf"))


# Task 2: KVCache --------------------------------------------------------------------------------

EXTEND, SELECT = "KVCache-hidden-extend", "KVCache-hidden-select"


@wrong("KVCache", cell=EXTEND, says="only the new keys come back")
class OnlyTheNew(library.KVCache):
    def extend(self, layer, k, v):
        super().extend(layer, k, v)
        return k, v


@wrong("KVCache", cell=EXTEND, says="the new keys stand before the old ones")
class NewInFront(library.KVCache):
    def extend(self, layer, k, v):
        if k.shape[-2] + self._held[layer] > self.capacity:
            raise ValueError("full")
        keys, values = k, v
        if layer in self._stores:
            T, end = k.shape[-2], self._held[layer] + k.shape[-2]
            old_k, old_v = (x[..., : end - T, :] for x in self._stores[layer])
            keys, values = torch.cat((k, old_k), -2), torch.cat((v, old_v), -2)
        room = [x.new_empty(*x.shape[:-2], self.capacity, x.shape[-1]) for x in (k, v)]
        self._held[layer] = keys.shape[-2]
        for store, content in zip(room, (keys, values)):
            store[..., : keys.shape[-2], :] = content
        self._stores[layer] = tuple(room)
        return keys, values


@wrong("KVCache", cell=EXTEND, says="these are the values; keys come first")
class Exchanged(library.KVCache):
    def extend(self, layer, k, v):
        return super().extend(layer, v, k)


@wrong("KVCache", cell=EXTEND, says="got shape")
class WholeRoom(library.KVCache):
    def extend(self, layer, k, v):
        super().extend(layer, k, v)
        return self._stores[layer]


@wrong("KVCache", cell=EXTEND, says="this counts what some layer holds")
class LongestLayer(library.KVCache):
    @property
    def length(self):
        return max(self._held)


@wrong("KVCache", cell=EXTEND, says="room for `capacity` positions must be taken at once")
class GrowingByCat(library.KVCache):
    def extend(self, layer, k, v):
        if layer in self._stores and self._held[layer]:
            old_k, old_v = self._stores[layer]
            k, v = torch.cat((old_k, k), -2), torch.cat((old_v, v), -2)
        if k.shape[-2] > self.capacity:
            raise ValueError("full")
        self._stores[layer] = k, v
        self._held[layer] = k.shape[-2]
        return k, v


@wrong("KVCache", cell=EXTEND, says="this is the memory of the keys alone")
class KeysCounted(library.KVCache):
    @property
    def nbytes(self):
        return sum(k.nbytes for k, _ in self._stores.values())


@wrong("KVCache", cell=EXTEND, says="these are numbers, not bytes")
class NumbersCounted(library.KVCache):
    @property
    def nbytes(self):
        return sum(store.numel() for pair in self._stores.values() for store in pair)


@wrong("KVCache", cell=EXTEND, says="the values of layer")
class ValuesLost(library.KVCache):
    def extend(self, layer, k, v):
        keys, _ = super().extend(layer, k, v)
        return keys, keys


@wrong("KVCache", cell=EXTEND, says="ValueError: the cache has room")
class OneStoreForAll(library.KVCache):
    def extend(self, layer, k, v):
        return super().extend(0, k, v)


@wrong("KVCache", cell=EXTEND, says="every layer counts anew; the length is in positions")
class CountsEveryCall(library.KVCache):
    @property
    def length(self):
        return sum(self._held)


@wrong("KVCache", cell=SELECT, says="got shape")
class SelectIgnored(library.KVCache):
    def extend(self, layer, k, v):
        if layer in self._stores and len(self._stores[layer][0]) != len(k):
            room = self._stores[layer]
            return tuple(x[..., : self._held[layer] + k.shape[-2], :] for x in room)
        return super().extend(layer, k, v)

    def select(self, rows):
        pass


@wrong("KVCache", cell=SELECT, says="the values of layer 0 after select")
class KeysSelectedOnly(library.KVCache):
    def select(self, rows):
        cut = torch.arange(len(rows)) % 4
        self._stores = {n: (k[rows], v[cut]) for n, (k, v) in self._stores.items()}


@wrong("KVCache", cell=SELECT, says="the keys of layer 1 after select")
class FirstLayerSelected(library.KVCache):
    def select(self, rows):
        other = torch.arange(len(rows)) % 4
        self._stores = {
            n: (k[other], v[other]) if n else (k[rows], v[rows])
            for n, (k, v) in self._stores.items()
        }


@wrong("KVCache", cell=SELECT, says="only the keys after select are left")
class SelectForgets(library.KVCache):
    def select(self, rows):
        self._kept = list(self._held)
        self._stores = {n: (k[rows], v[rows]) for n, (k, v) in self._stores.items()}
        self._gone = self._held[0]

    def extend(self, layer, k, v):
        keys, values = super().extend(layer, k, v)
        gone = getattr(self, "_gone", 0)
        return keys[..., gone:, :], values[..., gone:, :]


@wrong("KVCache", cell=SELECT, says="clear gives the room away; it only forgets")
class ClearGivesAway(library.KVCache):
    def clear(self):
        self._held = [0] * len(self._held)
        self._stores = {}


@wrong("KVCache", cell=SELECT, says="the length after clear")
class ClearDoesNothing(library.KVCache):
    def clear(self):
        pass


@wrong("KVCache", cell=SELECT, says="6 positions in room for 4")
class SlidesWhenFull(library.KVCache):
    def extend(self, layer, k, v):
        if self._held[layer] + k.shape[-2] > self.capacity:
            self._held[layer] = 0
        return super().extend(layer, k, v)


@wrong("KVCache", cell=SELECT, says="-1 layers")
class AnythingGoes(library.KVCache):
    def __init__(self, layers, capacity):
        self.capacity, self._held, self._stores = capacity, [0] * layers, {}

    @property
    def length(self):
        return min(self._held, default=0)


@wrong("KVCache", cell=SELECT, says="4 positions in room for 4 are refused; they fit exactly")
class RefusesTheLastPlace(library.KVCache):
    def extend(self, layer, k, v):
        if self._held[layer] + k.shape[-2] >= self.capacity:
            raise ValueError("full")
        return super().extend(layer, k, v)


@wrong("KVCache", cell=SELECT, says="5 positions in room for 4")
class OnePositionTooMany(library.KVCache):
    def extend(self, layer, k, v):
        over = self._held[layer] + k.shape[-2] == self.capacity + 1
        return self._stores[layer] if over else super().extend(layer, k, v)


@wrong("KVCache", cell=SELECT, says="this is what the last layer holds")
class LastLayer(library.KVCache):
    @property
    def length(self):
        return self._held[-1]


@wrong("KVCache", cell=EXTEND, says="the type of the keys, given torch.float64")
class RoomInSinglePrecision(library.KVCache):
    def extend(self, layer, k, v):
        return super().extend(layer, k.float(), v.float())


@right("KVCache")
class ListOfTensors:
    def __init__(self, layers, capacity):
        if layers <= 0 or capacity <= 0:
            raise ValueError("layers and capacity must be at least 1")
        self.capacity = capacity
        self.k, self.v, self.held = [None] * layers, [None] * layers, [0] * layers

    @property
    def length(self):
        return min(self.held)

    @property
    def nbytes(self):
        return sum(x.numel() * x.element_size() for x in self.k + self.v if x is not None)

    def extend(self, layer, k, v):
        B, N, T, K = k.shape
        if self.held[layer] + T > self.capacity:
            raise ValueError("the cache is full")
        if self.k[layer] is None:
            self.k[layer] = torch.zeros(B, N, self.capacity, K, dtype=k.dtype, device=k.device)
            self.v[layer] = torch.zeros(B, N, self.capacity, v.shape[-1], dtype=v.dtype)
        at = self.held[layer]
        self.k[layer][:, :, at : at + T].copy_(k)
        self.v[layer][:, :, at : at + T].copy_(v)
        self.held[layer] += T
        return self.k[layer][:, :, : at + T], self.v[layer][:, :, : at + T]

    def select(self, rows):
        self.k = [x if x is None else x.index_select(0, rows) for x in self.k]
        self.v = [x if x is None else x.index_select(0, rows) for x in self.v]

    def clear(self):
        self.held = [0 for _ in self.held]


@right("KVCache")
class KeysAndValuesInOneTensor:
    def __init__(self, layers, capacity):
        if min(layers, capacity) < 1:
            raise ValueError(f"got {layers} layers, room for {capacity}")
        self.layers, self.capacity, self.both, self.at = layers, capacity, {}, {}

    @property
    def length(self):
        return min(self.at.get(layer, 0) for layer in range(self.layers))

    @property
    def nbytes(self):
        return sum(x.nbytes for x in self.both.values())

    def extend(self, layer, k, v):
        at = self.at.get(layer, 0)
        if at + k.shape[2] > self.capacity:
            raise ValueError("no room left")
        if layer not in self.both:
            self.both[layer] = k.new_zeros(2, k.shape[0], k.shape[1], self.capacity, k.shape[3])
        self.at[layer] = at + k.shape[2]
        self.both[layer][:, :, :, at : self.at[layer]] = torch.stack((k, v))
        return tuple(self.both[layer][:, :, :, : self.at[layer]])

    def select(self, rows):
        for layer, both in self.both.items():
            self.both[layer] = both[:, rows]

    def clear(self):
        self.at = {}


@right("KVCache")
class PositionsFirst:
    """Stored as (capacity, B, N, K), so that new positions lie together in memory."""

    def __init__(self, layers, capacity):
        if layers < 1 or capacity < 1:
            raise ValueError("there must be layers and room")
        self.capacity, self.stores, self.held = capacity, {}, dict.fromkeys(range(layers), 0)

    @property
    def length(self):
        return min(self.held.values())

    @property
    def nbytes(self):
        return sum(a.nbytes + b.nbytes for a, b in self.stores.values())

    def extend(self, layer, k, v):
        end = self.held[layer] + k.size(2)
        if end > self.capacity:
            raise ValueError("full")
        if layer not in self.stores:
            self.stores[layer] = tuple(
                torch.empty((self.capacity, *x.shape[:2], x.shape[3]), dtype=x.dtype)
                for x in (k, v)
            )
        for store, x in zip(self.stores[layer], (k, v)):
            store[self.held[layer] : end] = x.permute(2, 0, 1, 3)
        self.held[layer] = end
        a, b = self.stores[layer]
        return a[:end].permute(1, 2, 0, 3), b[:end].permute(1, 2, 0, 3)

    def select(self, rows):
        self.stores = {n: (a[:, rows], b[:, rows]) for n, (a, b) in self.stores.items()}

    def clear(self):
        self.held = dict.fromkeys(self.held, 0)


# Task 3: beam_search ----------------------------------------------------------------------------

BEAMS, CACHED = "beam_search-hidden-values", "beam_search-hidden-cache"


@wrong("beam_search", cell=BEAMS, says="the prompt is still in front")
def prompt_kept(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, unread, scores = tokens[None], tokens[None], torch.zeros(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] + logits[:, -1].log_softmax(-1)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
        if cache is not None:
            cache.select(rows)
    return texts, scores


@wrong("beam_search", cell=BEAMS, says="the likeliest must come first")
def likeliest_last(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, unread, scores = tokens[None], tokens[None], torch.zeros(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] + logits[:, -1].log_softmax(-1)
        scores, best = total.flatten().sort()
        scores, best = scores[-width:], best[-width:]
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
        if cache is not None:
            cache.select(rows)
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=BEAMS, says="each text keeps its own best token")
def no_competition(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    scores, best = model(tokens[None])[0, -1].log_softmax(-1).topk(width)
    texts = torch.cat((tokens.expand(width, -1), best[:, None]), 1)
    for _ in range(length - 1):
        more, best = model(texts)[:, -1].log_softmax(-1).max(-1)
        texts, scores = torch.cat((texts, best[:, None]), 1), scores + more
    scores, order = scores.sort(descending=True)
    return texts[order, len(tokens) :], scores


@wrong("beam_search", cell=BEAMS, says="only the last token is scored")
def past_forgotten(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, unread = tokens[None], tokens[None]
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = logits[:, -1].log_softmax(-1)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
        if cache is not None:
            cache.select(rows)
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=BEAMS, says="logits are summed as they are")
def logits_as_scores(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, unread, scores = tokens[None], tokens[None], torch.zeros(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] + logits[:, -1]
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
        if cache is not None:
            cache.select(rows)
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=BEAMS, says="the probabilities are summed")
def probabilities_added(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, unread, scores = tokens[None], tokens[None], torch.zeros(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] + logits[:, -1].softmax(-1)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
        if cache is not None:
            cache.select(rows)
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=BEAMS, says="this is a beam of one, repeated")
def copies_of_the_prompt(model, tokens, width, length, cache=None):
    """A beam that begins with `width` copies and lets each go its own, same, way."""
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, scores = tokens.expand(width, -1), torch.zeros(width)
    for _ in range(length):
        more, best = model(texts)[:, -1].log_softmax(-1).max(-1)
        texts, scores = torch.cat((texts, best[:, None]), 1), scores + more
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=BEAMS, says="these are probabilities")
def probabilities_returned(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, unread, scores = tokens[None], tokens[None], torch.ones(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] * logits[:, -1].softmax(-1)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
        if cache is not None:
            cache.select(rows)
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=BEAMS, says="these are means over the tokens")
def scores_by_length(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, unread, scores = tokens[None], tokens[None], torch.zeros(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] + logits[:, -1].log_softmax(-1)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
        if cache is not None:
            cache.select(rows)
    return texts[:, len(tokens) :], scores / length


@wrong("beam_search", cell=BEAMS, says="these are logarithms to the base 2")
def scores_in_bits(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, unread, scores = tokens[None], tokens[None], torch.zeros(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] + logits[:, -1].softmax(-1).log2()
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
        if cache is not None:
            cache.select(rows)
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=BEAMS, says="width -1")
def nothing_refused_by_the_beam(model, tokens, width, length, cache=None):
    width = abs(width) or 1
    texts, unread, scores = tokens[None], tokens[None], torch.zeros(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] + logits[:, -1].log_softmax(-1)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
        if cache is not None:
            cache.select(rows)
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=CACHED, says="with a cache")
def cache_not_told(model, tokens, width, length, cache=None):
    """The batch of the cache grows with the beam, but its rows stay where they were."""
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, unread, scores = tokens[None], tokens[None], torch.zeros(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] + logits[:, -1].log_softmax(-1)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        if cache is not None and len(rows) != len(texts):
            cache.select(torch.zeros_like(rows))
        texts = torch.cat((texts[rows], unread), 1)
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=CACHED, says="cache.select(rows) after each choice")
def cache_never_told(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, unread, scores = tokens[None], tokens[None], torch.zeros(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(unread, cache)
        total = scores[:, None] + logits[:, -1].log_softmax(-1)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, unread = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], unread), 1)
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=CACHED, says="the whole text is read again")
def cache_left_aside(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, scores = tokens[None], torch.zeros(1)
    for _ in range(length):
        total = scores[:, None] + model(texts)[:, -1].log_softmax(-1)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, chosen = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], chosen), 1)
    return texts[:, len(tokens) :], scores


@wrong("beam_search", cell=CACHED, says="room for")
def cache_fed_the_whole_text(model, tokens, width, length, cache=None):
    if width < 1 or length < 1:
        raise ValueError("width and length")
    texts, scores = tokens[None], torch.zeros(1)
    for _ in range(length):
        logits = model(texts) if cache is None else model(texts, cache)
        total = scores[:, None] + logits[:, -1].log_softmax(-1)
        scores, best = total.flatten().topk(min(width, total.numel()))
        rows, chosen = best // total.shape[1], best[:, None] % total.shape[1]
        texts = torch.cat((texts[rows], chosen), 1)
        if cache is not None:
            cache.select(rows)
    return texts[:, len(tokens) :], scores


@right("beam_search")
def texts_in_a_list(model, tokens, width, length, cache=None):
    if min(width, length) < 1:
        raise ValueError(f"got width {width}, length {length}")
    beam = [(0.0, tokens.tolist())]
    unread = tokens[None]
    for _ in range(length):
        texts = torch.tensor([text for _, text in beam])
        chances = F.log_softmax((model(texts) if cache is None else model(unread, cache))[:, -1], 1)
        grown = [
            (score + chance, row, token)
            for row, (score, _) in enumerate(beam)
            for token, chance in enumerate(chances[row].tolist())
        ]
        best = heapq.nlargest(width, grown)
        beam = [(score, [*beam[row][1], token]) for score, row, token in best]
        unread = torch.tensor([[token] for _, _, token in best])
        if cache is not None:
            cache.select(torch.tensor([row for _, row, _ in best]))
    found = torch.tensor([text[len(tokens) :] for _, text in beam])
    return found, torch.tensor([score for score, _ in beam])


@right("beam_search")
def topk_of_topk(model, tokens, width, length, cache=None):
    """First the best of each text, then the best of those: the same, with less to sort."""
    if width < 1 or length < 1:
        raise ValueError("width and length must be 1 or more")
    text, new, score = tokens.unsqueeze(0), tokens.unsqueeze(0), torch.zeros(1)
    for _ in range(length):
        logits = (model(text) if cache is None else model(new, cache))[:, -1, :]
        few = min(width, logits.shape[1])
        chance, token = logits.log_softmax(1).topk(few, dim=1)
        total = (chance + score.unsqueeze(1)).reshape(-1)
        score, place = total.sort(descending=True)
        score, place = score[:width], place[:width]
        parent = place // few
        new = token.reshape(-1)[place].unsqueeze(1)
        text = torch.cat([text.index_select(0, parent), new], dim=1)
        if cache is not None:
            cache.select(parent)
    return text[:, tokens.numel() :], score


@right("beam_search")
def products_of_probabilities_in_double(model, tokens, width, length, cache=None):
    if not (width >= 1 and length >= 1):
        raise ValueError("too small")
    texts, chances = tokens[None], torch.ones(1, dtype=torch.float64)
    for step in range(length):
        if cache is None:
            logits = model(texts)
        else:
            logits = model(texts if step == 0 else texts[:, -1:], cache)
        table = chances[:, None] * logits[:, -1].double().softmax(-1)
        V = table.shape[1]
        chances, best = table.view(-1).topk(min(width, table.numel()))
        if cache is not None:
            cache.select(best.div(V, rounding_mode="floor"))
        texts = torch.cat((texts[best.div(V, rounding_mode="floor")], (best % V)[:, None]), 1)
    return texts[:, tokens.shape[0] :], chances.log().float()


# Task 4: cached_attention_repaired --------------------------------------------------------------

REPAIR, CASES = "cached_attention_repaired-hidden-values", "cached_attention_repaired-hidden-cases"


@wrong("cached_attention_repaired", cell=REPAIR, says="this is the buggy answer")
def not_repaired(q, k, v, past_k, past_v):
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if q.shape[-2] > 1:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~allowed, -math.inf)
    return scores.softmax(-1) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="the mask is gone")
def mask_dropped(q, k, v, past_k, past_v):
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="a new position must see itself too")
def itself_hidden(q, k, v, past_k, past_v):
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(past_k.shape[-2] - 1)
    return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="a new position sees one of the future")
def one_of_the_future(q, k, v, past_k, past_v):
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(past_k.shape[-2] + 1)
    return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="the diagonal starts at T")
def diagonal_at_new_length(q, k, v, past_k, past_v):
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(q.shape[-2])
    return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="the past is not seen")
def past_left_out(q, k, v, past_k, past_v):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="the new keys stand before the past")
def order_turned_round(q, k, v, past_k, past_v):
    k, v = torch.cat((k, past_k), -2), torch.cat((v, past_v), -2)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(past_k.shape[-2])
    return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="the scores are not divided by sqrt(K)")
def root_lost(q, k, v, past_k, past_v):
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    scores = q @ k.mT
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(past_k.shape[-2])
    return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="the root of the number of keys")
def root_of_length(q, k, v, past_k, past_v):
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    scores = q @ k.mT / math.sqrt(k.shape[-2])
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(past_k.shape[-2])
    return scores.masked_fill(~allowed, -math.inf).softmax(-1) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="the softmax runs over the queries")
def softmax_over_queries(q, k, v, past_k, past_v):
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(past_k.shape[-2])
    return scores.masked_fill(~allowed, -math.inf).softmax(-2) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="exp(0) is still a weight")
def masked_with_zero(q, k, v, past_k, past_v):
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(past_k.shape[-2])
    return scores.masked_fill(~allowed, 0.0).softmax(-1) @ v


@wrong("cached_attention_repaired", cell=REPAIR, says="the mask comes after the softmax")
def masked_late(q, k, v, past_k, past_v):
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return weights.tril(past_k.shape[-2]) @ v


@wrong("cached_attention_repaired", cell=CASES, says="positions 0 to 3")
def whole_past_only_if_there_is_one(q, k, v, past_k, past_v):
    """Right behind a past; without one the mask is forgotten."""
    S = past_k.shape[-2]
    k, v = torch.cat((past_k, k), -2), torch.cat((past_v, v), -2)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if S:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(S)
        scores = scores.masked_fill(~allowed, -math.inf)
    return scores.softmax(-1) @ v


@right("cached_attention_repaired")
def one_by_one(q, k, v, past_k, past_v):
    rows = []
    for t in range(q.shape[-2]):
        keys = torch.cat((past_k, k[..., : t + 1, :]), -2)
        values = torch.cat((past_v, v[..., : t + 1, :]), -2)
        scores = torch.einsum("bnk,bnsk->bns", q[..., t, :], keys) / q.shape[-1] ** 0.5
        rows.append(torch.einsum("bns,bnsk->bnk", scores.softmax(-1), values))
    return torch.stack(rows, 2)


@right("cached_attention_repaired")
def by_places(q, k, v, past_k, past_v):
    S, T = past_k.shape[2], q.shape[2]
    places = torch.arange(S + T)
    k, v = torch.cat((past_k, k), 2), torch.cat((past_v, v), 2)
    scores = torch.einsum("bntk,bnsk->bnts", q, k) * q.shape[-1] ** -0.5
    scores = scores.where(places <= places[S:, None], -torch.inf)
    return torch.einsum("bnts,bnsk->bntk", torch.softmax(scores, -1), v)


@right("cached_attention_repaired")
def past_and_new_apart(q, k, v, past_k, past_v):
    """Two blocks of exponentials, put together by their sums (as flash attention does)."""
    root = math.sqrt(q.shape[-1])
    old, new = (q @ past_k.mT / root).exp(), (q @ k.mT / root).exp().tril()
    total = old.sum(-1, keepdim=True) + new.sum(-1, keepdim=True)
    return (old @ past_v + new @ v) / total


@right("cached_attention_repaired")
def repaired_in_numpy(q, k, v, past_k, past_v):
    q, k, v, past_k, past_v = (np.asarray(x, float) for x in (q, k, v, past_k, past_v))
    k, v = np.concatenate((past_k, k), 2), np.concatenate((past_v, v), 2)
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights *= np.tri(q.shape[2], k.shape[2], past_k.shape[2])
    return torch.tensor(weights / weights.sum(-1, keepdims=True) @ v, dtype=torch.float32)
