"""Answers to the tokenizer exercise: wrong ones, each with what must catch it, and right ones."""

import codecs
import importlib
from collections import Counter, defaultdict
from itertools import pairwise

from tests.bank import right, wrong

# What a student's notebook has by task 2: not an import, so that it is not typed into the answers.
library = importlib.import_module("fmbook.transformers.tokenizer")
join = library.join

# Task 1: join -----------------------------------------------------------------------------------

VALUES, LIMITS = "join-hidden-values", "join-hidden-limits"


@wrong("join", cell=VALUES, says="only the first occurrence is joined")
def first_only(ids, pair, new):
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            return ids[:i] + [new] + ids[i + 2 :]
    return list(ids)


@wrong("join", cell=VALUES, says="the pair is joined in either order")
def either_order(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and {ids[i], ids[i + 1]} == set(pair):
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@wrong("join", cell=VALUES, says="the second id of the pair stays")
def second_stays(ids, pair, new):
    out = []
    for i, id in enumerate(ids):
        out.append(new if tuple(ids[i : i + 2]) == pair else id)
    return out


@wrong("join", cell=VALUES, says="the first id of the pair stays")
def first_stays(ids, pair, new):
    out = []
    for i, id in enumerate(ids):
        out.append(new if i and (ids[i - 1], id) == pair else id)
    return out


@wrong("join", cell=VALUES, says="every first id of the pair is replaced, whatever follows")
def neighbours_not_looked_at(ids, pair, new):
    out = []
    for id in ids:
        if id == pair[0]:
            out.append(new)
        elif id != pair[1]:
            out.append(id)
    return out


@wrong("join", cell=VALUES, says="the last id is lost")
def last_lost(ids, pair, new):
    out, i = [], 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@wrong("join", cell=VALUES, says="the pair is taken out, and nothing put in its place")
def taken_out(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@wrong("join", cell=VALUES, says="ids are compared as text")
def as_text(ids, pair, new):
    text = " ".join(str(id) for id in ids).replace(f"{pair[0]} {pair[1]}", str(new))
    return [int(word) for word in text.split()]


@wrong("join", cell=LIMITS, says="the middle ids are used twice")
def middle_used_twice(ids, pair, new):
    hits = [i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) == pair]
    seconds = {i + 1 for i in hits}
    out = []
    for i, id in enumerate(ids):
        if i in hits:
            out.append(new)
        elif i not in seconds:
            out.append(id)
    return out


@wrong("join", cell=LIMITS, says="it is joined from the right; begin at the left")
def from_the_right(ids, pair, new):
    out = []
    for id in reversed(ids):
        if out and (id, out[-1]) == pair:
            out[-1] = new
        else:
            out.append(id)
    return out[::-1]


@wrong("join", cell=LIMITS, says="it was changed; return a new list")
def in_place(ids, pair, new):
    for i in range(len(ids)):
        if tuple(ids[i : i + 2]) == tuple(pair):
            ids[i : i + 2] = [new]
    return ids


@right("join")
def with_an_index(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and ids[i] == pair[0] and ids[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


@right("join")
def by_slices(ids, pair, new):
    ids, i = list(ids), 0
    while i < len(ids) - 1:
        if tuple(ids[i : i + 2]) == tuple(pair):
            ids[i : i + 2] = [new]
        i += 1
    return ids


@right("join")
def as_characters(ids, pair, new):
    text = "".join(map(chr, ids)).replace(chr(pair[0]) + chr(pair[1]), chr(new))
    return tuple(map(ord, text))


# Task 2: replay ---------------------------------------------------------------------------------

WORDS, ENDS = "replay-hidden-values", "replay-hidden-limits"


@wrong("replay", cell=WORDS, says="the leftmost known pair is joined")
def leftmost(ids, joins):
    ids = list(ids)
    while True:
        for pair in pairwise(ids):
            if pair in joins:
                ids = join(ids, pair, joins[pair][1])
                break
        else:
            return ids


@wrong("replay", cell=WORDS, says="the rightmost known pair is joined")
def rightmost(ids, joins):
    ids = list(ids)
    while True:
        known = [pair for pair in pairwise(ids) if pair in joins]
        if not known:
            return ids
        ids = join(ids, known[-1], joins[known[-1]][1])


@wrong("replay", cell=WORDS, says="the pair learned last is joined first")
def last_first(ids, joins):
    ids = list(ids)
    while True:
        known = [pair for pair in pairwise(ids) if pair in joins]
        if not known:
            return ids
        pair = max(known, key=lambda pair: joins[pair][0])
        ids = join(ids, pair, joins[pair][1])


@wrong("replay", cell=WORDS, says="the pair with the smallest new id is joined; ranks decide")
def smallest_id(ids, joins):
    ids = list(ids)
    while True:
        known = [pair for pair in pairwise(ids) if pair in joins]
        if not known:
            return ids
        pair = min(known, key=lambda pair: joins[pair][1])
        ids = join(ids, pair, joins[pair][1])


@wrong("replay", cell=WORDS, says="the smallest pair of ids is joined; ranks decide")
def smallest_pair(ids, joins):
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in joins]:
        ids = join(ids, min(known), joins[min(known)][1])
    return ids


@wrong("replay", cell=ENDS, says="it stops after one merge; look again")
def one_merge(ids, joins):
    known = [pair for pair in pairwise(ids) if pair in joins]
    if not known:
        return list(ids)
    pair = min(known, key=lambda pair: joins[pair])
    return join(ids, pair, joins[pair][1])


@wrong("replay", cell=WORDS, says="each merge is done at one place only")
def one_place(ids, joins):
    ids = list(ids)
    for pair in sorted(joins, key=lambda pair: joins[pair][0]):
        for i in range(len(ids) - 1):
            if (ids[i], ids[i + 1]) == pair:
                ids = ids[:i] + [joins[pair][1]] + ids[i + 2 :]
                break
    return ids


@wrong("replay", cell=WORDS, says="the rank is written in place of the id")
def rank_for_id(ids, joins):
    ids = list(ids)
    while True:
        known = [pair for pair in pairwise(ids) if pair in joins]
        if not known:
            return ids
        pair = min(known, key=lambda pair: joins[pair][0])
        ids = join(ids, pair, joins[pair][0])


@wrong("replay", cell=WORDS, says="one unknown pair ends it; another may be known")
def ended_by_a_stranger(ids, joins):
    ids = list(ids)
    while len(ids) > 1 and all(pair in joins for pair in pairwise(ids)):
        pair = min(pairwise(ids), key=lambda pair: joins[pair][0])
        ids = join(ids, pair, joins[pair][1])
    return ids


@wrong("replay", cell=ENDS, says="ids without a known pair are lost")
def strangers_lost(ids, joins):
    if len(ids) < 2 or not any(pair in joins for pair in pairwise(ids)):
        return list(ids)
    ids = list(ids)
    known = [pair for pair in pairwise(ids) if pair in joins]
    ids = [id for id in ids if any(id in pair for pair in joins)]
    pair = min(known, key=lambda pair: joins[pair][0])
    return join(ids, pair, joins[pair][1])


@wrong("replay", cell=ENDS, says="each merge has one turn; look at all of them again")
def merge_by_merge(ids, joins):
    ids = list(ids)
    for pair in sorted(joins, key=lambda pair: joins[pair][0]):
        ids = join(ids, pair, joins[pair][1])
    return ids


@right("replay")
def from_the_first_rank_again(ids, joins):
    ids, ranked = list(ids), sorted(joins.items(), key=lambda item: item[1])
    while True:
        for pair, (_, new) in ranked:
            if pair in list(pairwise(ids)):
                ids = join(ids, pair, new)
                break
        else:
            return ids


@right("replay")
def one_place_at_a_time(ids, joins):
    ids = list(ids)
    while True:
        found = [(joins[p][0], i) for i, p in enumerate(pairwise(ids)) if p in joins]
        if not found:
            return ids
        _, i = min(found)
        ids[i : i + 2] = [joins[ids[i], ids[i + 1]][1]]


@right("replay")
def with_a_set(ids, joins):
    out = tuple(ids)
    while known := set(zip(out, out[1:])) & set(joins):
        pair = sorted(known, key=lambda pair: joins[pair][0])[0]
        out = tuple(join(out, pair, joins[pair][1]))
    return out


# Task 3: learned_merges -------------------------------------------------------------------------

TAUGHT, EDGES = "learned_merges-hidden-values", "learned_merges-hidden-limits"


@wrong("learned_merges", cell=TAUGHT, says="each word counts once")
def unweighted(words, count):
    split, pieces, merges = {w: list(w) for w in words}, [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = Counter(pair for ids in split.values() for pair in pairwise(ids))
        best = min(seen, key=lambda pair: (-seen[pair], pair), default=None)
        if best is None or seen[best] < 2:
            break
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        split = {w: join(ids, best, len(pieces) - 1) for w, ids in split.items()}
    return merges


@wrong("learned_merges", cell=TAUGHT, says="the length has no part in it")
def weighted_by_length(words, count):
    split, pieces, merges = {w: list(w) for w in words}, [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = Counter()
        for word, n in words.items():
            for pair in pairwise(split[word]):
                seen[pair] += n * len(word)
        best = min(seen, key=lambda pair: (-seen[pair], pair), default=None)
        if best is None or seen[best] < 2:
            break
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        split = {w: join(ids, best, len(pieces) - 1) for w, ids in split.items()}
    return merges


@wrong("learned_merges", cell=TAUGHT, says="a pair that stands twice in a word counts once there")
def once_a_word(words, count):
    split, pieces, merges = {w: list(w) for w in words}, [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = Counter()
        for word, n in words.items():
            for pair in set(pairwise(split[word])):
                seen[pair] += n
        best = min(seen, key=lambda pair: (-seen[pair], pair), default=None)
        if best is None or seen[best] < 2:
            break
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        split = {w: join(ids, best, len(pieces) - 1) for w, ids in split.items()}
    return merges


@wrong("learned_merges", cell=TAUGHT, says="pairs are counted across the ends of words")
def across_words(words, count):
    ids = [byte for word, n in words.items() for byte in word * n]
    pieces, merges = [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = Counter(pairwise(ids))
        best = min(seen, key=lambda pair: (-seen[pair], pair), default=None)
        if best is None or seen[best] < 2:
            break
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        ids = join(ids, best, len(pieces) - 1)
    return merges


@wrong("learned_merges", cell=TAUGHT, says="join before you count again")
def bytes_only(words, count):
    seen = Counter()
    for word, n in words.items():
        for a, b in pairwise(word):
            seen[a, b] += n
    ranked = sorted(seen, key=lambda pair: (-seen[pair], pair))
    return [(bytes([a]), bytes([b])) for a, b in ranked[:count] if seen[a, b] > 1]


@wrong("learned_merges", cell=TAUGHT, says="the rarest pair is taken")
def rarest(words, count):
    split, pieces, merges = {w: list(w) for w in words}, [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = Counter()
        for word, n in words.items():
            for pair in pairwise(split[word]):
                seen[pair] += n
        often = [pair for pair in seen if seen[pair] > 1]
        if not often:
            break
        best = min(often, key=lambda pair: (seen[pair], pair))
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        split = {w: join(ids, best, len(pieces) - 1) for w, ids in split.items()}
    return merges


@wrong("learned_merges", cell=EDGES, says="of equal counts the pair with the older pieces")
def youngest_of_equals(words, count):
    split, pieces, merges = {w: list(w) for w in words}, [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = Counter()
        for word, n in words.items():
            for pair in pairwise(split[word]):
                seen[pair] += n
        best = max(seen, key=lambda pair: (seen[pair], pair), default=None)
        if best is None or seen[best] < 2:
            break
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        split = {w: join(ids, best, len(pieces) - 1) for w, ids in split.items()}
    return merges


@wrong("learned_merges", cell=EDGES, says="its bytes do not decide")
def bytes_of_pieces_decide(words, count):
    split, merges = {w: [bytes([b]) for b in w] for w in words}, []
    while len(merges) < count:
        seen = Counter()
        for word, n in words.items():
            for pair in pairwise(split[word]):
                seen[pair] += n
        best = min(seen, key=lambda pair: (-seen[pair], pair), default=None)
        if best is None or seen[best] < 2:
            break
        merges.append(best)
        split = {w: join(parts, best, b"".join(best)) for w, parts in split.items()}
    return merges


@wrong("learned_merges", cell=EDGES, says="of equal counts the first met is taken; age decides")
def first_met_of_equals(words, count):
    split, pieces, merges = {w: list(w) for w in words}, [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = Counter()
        for word, n in words.items():
            for pair in pairwise(split[word]):
                seen[pair] += n
        if not seen or max(seen.values()) < 2:
            break
        best = seen.most_common(1)[0][0]
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        split = {w: join(ids, best, len(pieces) - 1) for w, ids in split.items()}
    return merges


@wrong("learned_merges", cell=TAUGHT, says="a merge is told as one joined piece; tell the two")
def joined_pieces(words, count):
    split, pieces = {w: list(w) for w in words}, [bytes([b]) for b in range(256)]
    while len(pieces) < 256 + count:
        seen = Counter()
        for word, n in words.items():
            for pair in pairwise(split[word]):
                seen[pair] += n
        best = min(seen, key=lambda pair: (-seen[pair], pair), default=None)
        if best is None or seen[best] < 2:
            break
        pieces.append(pieces[best[0]] + pieces[best[1]])
        split = {w: join(ids, best, len(pieces) - 1) for w, ids in split.items()}
    return pieces[256:]


@wrong("learned_merges", cell=EDGES, says="a pair seen once is merged; stop before")
def to_the_end(words, count):
    split, pieces, merges = {w: list(w) for w in words}, [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = Counter()
        for word, n in words.items():
            for pair in pairwise(split[word]):
                seen[pair] += n
        if not seen:
            break
        best = min(seen, key=lambda pair: (-seen[pair], pair))
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        split = {w: join(ids, best, len(pieces) - 1) for w, ids in split.items()}
    return merges


@wrong("learned_merges", cell=EDGES, says="overlapping pairs count each")
def without_overlaps(words, count):
    split, pieces, merges = {w: list(w) for w in words}, [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = Counter()
        for word, n in words.items():
            ids, i = split[word], 0
            while i < len(ids) - 1:
                seen[ids[i], ids[i + 1]] += n
                i += 2 if ids[i : i + 3] == [ids[i]] * 3 else 1
        best = min(seen, key=lambda pair: (-seen[pair], pair), default=None)
        if best is None or seen[best] < 2:
            break
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        split = {w: join(ids, best, len(pieces) - 1) for w, ids in split.items()}
    return merges


@wrong("learned_merges", cell=TAUGHT, says="one merge too many")
def one_too_many(words, count):
    split, pieces, merges = {w: list(w) for w in words}, [bytes([b]) for b in range(256)], []
    while len(merges) <= count:
        seen = Counter()
        for word, n in words.items():
            for pair in pairwise(split[word]):
                seen[pair] += n
        best = min(seen, key=lambda pair: (-seen[pair], pair), default=None)
        if best is None or seen[best] < 2:
            break
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        split = {w: join(ids, best, len(pieces) - 1) for w, ids in split.items()}
    return merges


@right("learned_merges")
def on_tuples_of_pieces(words, count):
    split = {word: [bytes([byte]) for byte in word] for word in words}
    age = {bytes([byte]): byte for byte in range(256)}
    merges = []
    for _ in range(count):
        seen = defaultdict(int)
        for word, n in words.items():
            for pair in zip(split[word], split[word][1:]):
                seen[pair] += n
        ranked = sorted(seen.items(), key=lambda item: (-item[1], age[item[0][0]], age[item[0][1]]))
        if not ranked or ranked[0][1] < 2:
            break
        a, b = ranked[0][0]
        merges.append((a, b))
        age[a + b] = len(age)
        for word, parts in split.items():
            i = 0
            while i + 1 < len(parts):
                if parts[i] == a and parts[i + 1] == b:
                    parts[i : i + 2] = [a + b]
                i += 1
    return merges


@right("learned_merges")
def by_the_whole_library(words, count):
    split = [(tuple(word), n) for word, n in words.items()]
    pieces, merges = [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = {}
        for ids, n in split:
            for i in range(len(ids) - 1):
                seen[ids[i : i + 2]] = seen.get(ids[i : i + 2], 0) + n
        most = max(seen.values(), default=0)
        if most < 2:
            break
        a, b = min(pair for pair, n in seen.items() if n == most)
        merges.append([pieces[a], pieces[b]])
        pieces.append(pieces[a] + pieces[b])
        split = [(tuple(join(ids, (a, b), len(pieces) - 1)), n) for ids, n in split]
    return merges


@right("learned_merges")
def with_a_joined_text(words, count):
    ids = []
    for word, n in words.items():
        for _ in range(n):
            ids += [*word, -1]
    pieces, merges = [bytes([b]) for b in range(256)], []
    while len(merges) < count:
        seen = Counter(pair for pair in pairwise(ids) if -1 not in pair)
        best = min(seen, key=lambda pair: (-seen[pair], pair), default=None)
        if best is None or seen[best] < 2:
            break
        merges.append((pieces[best[0]], pieces[best[1]]))
        pieces.append(b"".join(merges[-1]))
        ids = join(ids, best, len(pieces) - 1)
    return merges


# Task 4: streamed_repaired ----------------------------------------------------------------------

TEXT, END = "streamed_repaired-hidden-text", "streamed_repaired-hidden-end"


@wrong("streamed_repaired", cell=TEXT, says="this is the buggy answer")
def unchanged(pieces):
    return [piece.decode("utf8", errors="replace") for piece in pieces]


@wrong("streamed_repaired", cell=TEXT, says="halves of a character are dropped")
def halves_dropped(pieces):
    return [piece.decode("utf8", errors="ignore") for piece in pieces]


@wrong("streamed_repaired", cell=TEXT, says="everything is shown at the end")
def all_at_the_end(pieces):
    whole = b"".join(pieces).decode("utf8", errors="replace")
    return [""] * (len(pieces) - 1) + [whole] if pieces else []


@wrong("streamed_repaired", cell=TEXT, says="everything is in one string; give one for each piece")
def one_string(pieces):
    return [b"".join(pieces).decode("utf8", errors="replace")] if pieces else []


@wrong("streamed_repaired", cell=TEXT, says="a piece that ends in half a character is held back")
def held_back(pieces):
    shown, kept = [], b""
    for piece in pieces:
        kept += piece
        try:
            shown.append(kept.decode("utf8"))
            kept = b""
        except UnicodeDecodeError:
            shown.append("")
    if shown and kept:
        shown[-1] += kept.decode("utf8", errors="replace")
    return shown


@wrong("streamed_repaired", cell=TEXT, says="each string holds all so far; show what is new")
def all_so_far(pieces):
    decoder, shown, text = codecs.getincrementaldecoder("utf8")("replace"), [], ""
    for piece in pieces:
        text += decoder.decode(piece)
        shown.append(text)
    return shown


@wrong("streamed_repaired", cell=TEXT, says="each byte is taken for a character")
def byte_by_byte(pieces):
    return ["".join(chr(byte) for byte in piece) for piece in pieces]


@wrong("streamed_repaired", cell=TEXT, says="empty strings are left out; give one for each piece")
def empty_left_out(pieces):
    decoder = codecs.getincrementaldecoder("utf8")("replace")
    shown = [decoder.decode(piece) for piece in pieces] + [decoder.decode(b"", True)]
    return [text for text in shown if text]


@wrong("streamed_repaired", cell=TEXT, says="a character is shown one piece too late")
def too_late(pieces):
    decoder = codecs.getincrementaldecoder("utf8")("replace")
    shown = [decoder.decode(piece) for piece in pieces] + [decoder.decode(b"", True)]
    if not pieces:
        return []
    return ["", *shown[: len(pieces) - 2], "".join(shown[len(pieces) - 2 :])]


@wrong("streamed_repaired", cell=END, says="the rest at the end is lost")
def rest_lost(pieces):
    decoder = codecs.getincrementaldecoder("utf8")("replace")
    return [decoder.decode(piece) for piece in pieces]


@wrong("streamed_repaired", cell=END, says="it belongs to the last")
def rest_on_its_own(pieces):
    decoder = codecs.getincrementaldecoder("utf8")("replace")
    shown = [decoder.decode(piece) for piece in pieces]
    rest = decoder.decode(b"", True)
    return shown + [rest] if rest else shown


@wrong("streamed_repaired", cell=END, says="one mark for each byte; one for the character")
def mark_for_each_byte(pieces):
    decoder = codecs.getincrementaldecoder("utf8")("replace")
    shown = [decoder.decode(piece) for piece in pieces]
    left = len(decoder.getstate()[0])
    if shown:
        shown[-1] += "\ufffd" * left
    return shown


@right("streamed_repaired")
def by_growing_text(pieces):
    shown, before = [], ""
    for i in range(len(pieces)):
        now = b"".join(pieces[: i + 1]).decode("utf8", errors="ignore")
        shown.append(now[len(before) :])
        before = now
    if pieces and len(b"".join(pieces)) > len(before.encode()):
        shown[-1] += "\ufffd"
    return shown


@right("streamed_repaired")
def by_kept_bytes(pieces):
    shown, kept = [], b""
    for piece in pieces:
        kept += piece
        for end in range(len(kept), -1, -1):
            try:
                text = kept[:end].decode("utf8")
                break
            except UnicodeDecodeError:
                continue
        shown.append(text)
        kept = kept[end:]
    if kept:
        shown[-1] += "\ufffd"
    return shown


@right("streamed_repaired")
def by_first_bytes(pieces):
    shown, kept, wanted = [], bytearray(), 0
    for piece in pieces:
        text = ""
        for byte in piece:
            if not kept:
                wanted = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            kept.append(byte)
            if len(kept) == wanted:
                text += kept.decode("utf8")
                kept.clear()
        shown.append(text)
    if kept:
        shown[-1] += "\ufffd"
    return shown
