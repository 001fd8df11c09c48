"""Answers to the exercise on LSTM and GRU: wrong ones with what catches them, and right ones."""

import importlib

import numpy as np
import torch

from tests.bank import right, wrong

# What a student's notebook has by task 4: not an import, so that it is not typed into the answers.
lstm_step = importlib.import_module("fmbook.sequences.lstm").lstm_step

# Task 1: lstm_step ------------------------------------------------------------------------------

CELL, STATE = "lstm_step-hidden-cell", "lstm_step-hidden-state"


@wrong("lstm_step", cell=CELL, says="input and forget gate have changed places")
def input_and_forget_exchanged(drive, h, c, W):
    f, i, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="these are read as i, f, o, g")
def candidate_last(drive, h, c, W):
    i, f, o, g = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="these are read as i, o, f, g")
def output_second(drive, h, c, W):
    i, o, f, g = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the old state is not heard")
def state_not_heard(drive, h, c, W):
    i, f, g, o = (drive).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the input is not heard")
def input_not_heard(drive, h, c, W):
    i, f, g, o = (h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the candidate needs a tanh, not the logistic function")
def logistic_candidate(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.sigmoid()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the candidate needs a tanh")
def linear_candidate(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the gates need the logistic function, not a tanh")
def tanh_gates(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.tanh() * c + i.tanh() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the forget gate is missing")
def as_of_1997(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the input gate is missing")
def writes_always(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="what is forgotten is kept")
def gate_turned_round(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = (1 - f.sigmoid()) * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the input gate is tied to the forget gate")
def gates_tied(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + (1 - f.sigmoid()) * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the new cell goes through a tanh")
def cell_squashed(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the old cell is missing")
def cell_forgotten(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="the old cell is replaced by the old state")
def keeps_the_state(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * h + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell=CELL, says="h comes first, then c")
def cell_first(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return c, o.sigmoid() * c.tanh()


@wrong("lstm_step", cell=STATE, says="the old cell is shown")
def shows_the_old_cell(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    old = c
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * old.tanh(), c


@wrong("lstm_step", cell=STATE, says="the cell is shown without its tanh")
def shown_without_tanh(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c, c


@wrong("lstm_step", cell=STATE, says="the output gate is missing")
def shown_always(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return c.tanh(), c


@wrong("lstm_step", cell=STATE, says="the output gate is inside the tanh")
def gate_inside(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return (o.sigmoid() * c).tanh(), c


@wrong(
    "lstm_step", cell="lstm_step-check-old-state", says="the old cell is shown; show the new one"
)
def old_cell_in_the_example(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    new = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), new


@wrong("lstm_step", cell="lstm_step-check-old-state", says="the old state is not heard")
def hears_the_input_only(drive, h, c, W):
    i, f, g, o = drive.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell="lstm_step-check-example", says="these are read as i, f, o, g")
def candidate_read_last(drive, h, c, W):
    i, f, o, g = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm_step", cell="lstm_step-check-example", says="add input gate times candidate")
def nothing_is_written(drive, h, c, W):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    c = f.sigmoid() * c
    return o.sigmoid() * c.tanh(), c


@right("lstm_step")
def four_matrices(drive, h, c, W):
    D = h.shape[1]
    part = [drive[:, k * D : (k + 1) * D] + h @ W[k * D : (k + 1) * D].T for k in range(4)]
    keep, write = torch.sigmoid(part[1]), torch.sigmoid(part[0]) * torch.tanh(part[2])
    new = keep * c + write
    return torch.sigmoid(part[3]) * torch.tanh(new), new


@right("lstm_step")
def in_numpy(drive, h, c, W):
    drive, h, c, W = (np.asarray(a) for a in (drive, h, c, W))
    i, f, g, o = np.split(drive + h @ W.T, 4, axis=-1)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    c = f * c + i * np.tanh(g)
    return torch.tensor(o * np.tanh(c)), torch.tensor(c)


@right("lstm_step")
def by_einsum(drive, h, c, W):
    D = h.shape[-1]
    sums = drive.reshape(-1, 4, D) + torch.einsum("bd,ked->bke", h, W.reshape(4, D, D))
    i, f, o = sums[:, [0, 1, 3]].sigmoid().unbind(1)
    new = torch.addcmul(f * c, i, sums[:, 2].tanh())
    return [o * new.tanh(), new]


@right("lstm_step")
def gate_by_halves(drive, h, c, W):
    """A logistic function is a tanh of half the sum."""
    i, f, g, o = (drive + torch.nn.functional.linear(h, W)).chunk(4, 1)
    i, f, o = ((torch.tanh(gate / 2) + 1) / 2 for gate in (i, f, o))
    c = f * c + i * g.tanh()
    return o * c.tanh(), c


# Task 2: gru_step -------------------------------------------------------------------------------

VALUES, BETWEEN = "gru_step-hidden-values", "gru_step-hidden-between"


@wrong("gru_step", cell=VALUES, says="z is what is kept, not what is replaced")
def replaced_not_kept(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(n + r * (n_old + b))
    return z * n + (1 - z) * h


@wrong("gru_step", cell=VALUES, says="reset and update gate have changed places")
def reset_and_update_exchanged(drive, h, W, b):
    z, r, n = drive.chunk(3, -1)
    z_old, r_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(n + r * (n_old + b))
    return (1 - z) * n + z * h


@wrong("gru_step", cell=VALUES, says="these are read as n, r, z")
def candidate_first(drive, h, W, b):
    n, r, z = drive.chunk(3, -1)
    n_old, r_old, z_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(n + r * (n_old + b))
    return (1 - z) * n + z * h


@wrong("gru_step", cell=VALUES, says="the bias is missing")
def bias_lost(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(n + r * n_old)
    return (1 - z) * n + z * h


@wrong("gru_step", cell=VALUES, says="the reset gate must weigh the bias too")
def bias_outside(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(n + r * n_old + b)
    return (1 - z) * n + z * h


@wrong("gru_step", cell=VALUES, says="the reset gate weighs the input too")
def input_reset_too(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(r * (n + n_old + b))
    return (1 - z) * n + z * h


@wrong("gru_step", cell=VALUES, says="the reset gate has no effect")
def never_resets(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(n + n_old + b)
    return (1 - z) * n + z * h


@wrong("gru_step", cell=VALUES, says="the reset gate comes before the matrix (the paper's form)")
def as_in_the_paper(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(n + (r * h) @ W.chunk(3)[2].T + b)
    return (1 - z) * n + z * h


@wrong(
    "gru_step", cell=VALUES, says="the reset gate comes before the matrix, and the bias is weighed"
)
def before_the_matrix_with_bias(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(n + (r * h) @ W.chunk(3)[2].T + r * b)
    return (1 - z) * n + z * h


@wrong("gru_step", cell=VALUES, says="the old state is not heard by the gates")
def gates_do_not_hear(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r), torch.sigmoid(z)
    n = torch.tanh(n + r * (n_old + b))
    return (1 - z) * n + z * h


@wrong("gru_step", cell=VALUES, says="the candidate needs a tanh")
def logistic_candidate_gru(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.sigmoid(n + r * (n_old + b))
    return (1 - z) * n + z * h


@wrong("gru_step", cell=VALUES, says="the gates need the logistic function")
def tanh_gates_gru(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.tanh(r + r_old), torch.tanh(z + z_old)
    n = torch.tanh(n + r * (n_old + b))
    return (1 - z) * n + z * h


@wrong("gru_step", cell=VALUES, says="the new state is added to the old one")
def added_to_the_state(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(n + r * (n_old + b))
    return (1 - z) * n + z * h + h


@wrong("gru_step", cell=BETWEEN, says="the state after three steps")
def old_part_lost(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    r_old, z_old, n_old = (h @ W.T).chunk(3, -1)
    r, z = torch.sigmoid(r + r_old), torch.sigmoid(z + z_old)
    n = torch.tanh(n + r * (n_old + b))
    return (1 - z) * n


@right("gru_step")
def as_written(drive, h, W, b):
    D = len(b)
    said = h @ W.T
    r = torch.sigmoid(drive[:, :D] + said[:, :D])
    z = torch.sigmoid(drive[:, D : 2 * D] + said[:, D : 2 * D])
    n = torch.tanh(drive[:, 2 * D :] + r * (said[:, 2 * D :] + b))
    return z * h + (1 - z) * n


@right("gru_step")
def by_lerp(drive, h, W, b):
    r, z, n = drive.chunk(3, -1)
    R, Z, N = W.chunk(3)
    n = torch.tanh(n + torch.sigmoid(r + h @ R.T) * torch.addmm(b, h, N.T))
    return torch.lerp(n, h, torch.sigmoid(z + h @ Z.T))


@right("gru_step")
def in_numpy_gru(drive, h, W, b):
    drive, h, W, b = (np.asarray(a) for a in (drive, h, W, b))
    sums, olds = np.split(drive, 3, 1), np.split(h @ W.T, 3, 1)
    with np.errstate(over="ignore"):
        r, z = (1 / (1 + np.exp(-(a + o))) for a, o in zip(sums[:2], olds[:2], strict=True))
    n = np.tanh(sums[2] + r * (olds[2] + b))
    return torch.from_numpy((1 - z) * n + z * h)


# Task 3: lstm_step_back -------------------------------------------------------------------------

BACK, GATES = "lstm_step_back-hidden-cell", "lstm_step_back-hidden-gates"


@wrong("lstm_step_back", cell=BACK, says="what the new state says about the cell is missing")
def state_says_nothing(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=BACK, says="what later steps say about the cell (from_c) is missing")
def later_steps_say_nothing(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_h * o * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=BACK, says="the slope of the cell's tanh is missing")
def cells_slope_missing(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=BACK, says="the output gate is missing on the way")
def output_gate_missing(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=BACK, says="the forget gate is missing on the way to the old cell")
def forget_gate_missing(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell


@wrong("lstm_step_back", cell=BACK, says="the slope is taken at the old cell")
def slope_at_the_old_cell(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - c.tanh() ** 2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=BACK, says="the slope of the tanh is 1 - tanh squared")
def square_missing(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=BACK, says="the input gate stands where the forget gate belongs")
def input_gate_on_the_way_back(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * i


@wrong("lstm_step_back", cell=BACK, says="the slope of the tanh lies on from_c too")
def slope_on_both(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = (from_c + from_h * o) * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=GATES, says="the slopes of the gates' own functions are missing")
def gates_without_slopes(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * g,
        in_cell * c,
        in_cell * i,
        from_h * shown,
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=GATES, says="the candidate has a tanh's slope")
def candidate_as_a_gate(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * g * (1 - g),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=GATES, says="the gates have a logistic function's slope")
def gates_as_candidates(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * g * (1 - i**2),
        in_cell * c * (1 - f**2),
        in_cell * i * (1 - g**2),
        from_h * shown * (1 - o**2),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=GATES, says="input gate and candidate get each other's gradient")
def partners_exchanged(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * i * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * g * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=GATES, says="the forget gate is multiplied with the old cell")
def forget_with_the_new_cell(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * new * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=GATES, says="the parts are in the wrong order")
def order_of_parts(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * c * f * (1 - f),
        in_cell * g * i * (1 - i),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=GATES, says="the parts are in the order i, f, o, g")
def candidate_last_back(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        from_h * shown * o * (1 - o),
        in_cell * i * (1 - g**2),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=GATES, says="the output gate shows the tanh of the cell")
def output_sees_the_cell(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * new * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=GATES, says="the output gate gets nothing")
def output_gate_forgotten(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        torch.zeros_like(h),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, in_drive @ W, in_cell * f


@wrong("lstm_step_back", cell=GATES, says="h gets nothing")
def old_state_gets_nothing(drive, h, c, W, from_h, from_c):
    i, f, g, o = (drive + h @ W.T).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f * c + i * g
    shown = new.tanh()
    in_cell = from_c + from_h * o * (1 - shown**2)
    parts = [
        in_cell * g * i * (1 - i),
        in_cell * c * f * (1 - f),
        in_cell * i * (1 - g**2),
        from_h * shown * o * (1 - o),
    ]
    in_drive = torch.cat(parts, -1)
    return in_drive, torch.zeros_like(h), in_cell * f


@right("lstm_step_back")
def with_numbers_kept(drive, h, c, W, from_h, from_c):
    D = h.shape[1]
    sums = drive + h @ W.T
    i, f, o = (torch.sigmoid(sums[:, k * D : (k + 1) * D]) for k in (0, 1, 3))
    g = torch.tanh(sums[:, 2 * D : 3 * D])
    t = torch.tanh(f * c + i * g)
    in_c = from_c + from_h * o - from_h * o * t * t
    in_drive = torch.empty_like(drive)
    in_drive[:, :D] = in_c * g * (i - i * i)
    in_drive[:, D : 2 * D] = in_c * c * (f - f * f)
    in_drive[:, 2 * D : 3 * D] = in_c * i * (1 - g) * (1 + g)
    in_drive[:, 3 * D :] = from_h * t * (o - o * o)
    return in_drive, torch.mm(in_drive, W), in_c * f


@right("lstm_step_back")
def in_numpy_back(drive, h, c, W, from_h, from_c):
    drive, h, c, W, from_h, from_c = (np.asarray(a) for a in (drive, h, c, W, from_h, from_c))
    i, f, g, o = np.split(drive + h @ W.T, 4, 1)
    i, f, o = (1 / (1 + np.exp(-a)) for a in (i, f, o))
    g = np.tanh(g)
    t = np.tanh(f * c + i * g)
    d = from_c + from_h * o * (1 - t**2)
    parts = (d * g * i * (1 - i), d * c * f * (1 - f), d * i * (1 - g**2), from_h * t * o * (1 - o))
    back = np.concatenate(parts, 1)
    return tuple(torch.from_numpy(a) for a in (back, back @ W, d * f))


@right("lstm_step_back")
def by_matrices_of_derivatives(drive, h, c, W, from_h, from_c):
    """Text by text, with the derivative of the new state and cell written as matrices."""
    rows = []
    for x, s, m, in_h, in_c in zip(drive, h, c, from_h, from_c, strict=True):
        a, b, e, k = (x + W @ s).chunk(4)
        i, f, o, g = a.sigmoid(), b.sigmoid(), k.sigmoid(), e.tanh()
        t = (f * m + i * g).tanh()
        cell = torch.cat(
            [torch.diag(v) for v in (g * i * (1 - i), m * f * (1 - f), i * (1 - g * g), 0 * o)], 1
        )
        state = torch.diag(o * (1 - t * t)) @ cell
        state[:, 3 * len(m) :] += torch.diag(t * o * (1 - o))
        in_x = in_h @ state + in_c @ cell
        rows.append((in_x, W.T @ in_x, (in_c + in_h * o * (1 - t * t)) * f))
    return [torch.stack(column) for column in zip(*rows, strict=True)]


# Task 4: last_states_repaired -------------------------------------------------------------------

LAST, PADDING = "last_states_repaired-hidden-values", "last_states_repaired-hidden-padding"


@wrong("last_states_repaired", cell=LAST, says="this is the buggy answer")
def not_repaired(x, lengths, W, U, b):
    h = c = x.new_zeros(len(x), W.shape[1])
    for t in range(int(lengths.max())):
        h, c = lstm_step(x[:, t] @ U.T + b, h, c, W)
    return h, c


@wrong("last_states_repaired", cell=LAST, says="all texts are read to the end of the table")
def to_the_end_of_the_table(x, lengths, W, U, b):
    h = c = x.new_zeros(len(x), W.shape[1])
    for t in range(x.shape[1]):
        h, c = lstm_step(x[:, t] @ U.T + b, h, c, W)
    return h, c


@wrong("last_states_repaired", cell=LAST, says="zeros instead of padding do not help: the biases")
def padding_zeroed(x, lengths, W, U, b):
    x = x * (torch.arange(x.shape[1]) < lengths[:, None])[..., None]
    h = c = x.new_zeros(len(x), W.shape[1])
    for t in range(int(lengths.max())):
        h, c = lstm_step(x[:, t] @ U.T + b, h, c, W)
    return h, c


@wrong("last_states_repaired", cell=LAST, says="zeros instead of padding do not help, to the end")
def padding_zeroed_to_the_end(x, lengths, W, U, b):
    x = x * (torch.arange(x.shape[1]) < lengths[:, None])[..., None]
    h = c = x.new_zeros(len(x), W.shape[1])
    for t in range(x.shape[1]):
        h, c = lstm_step(x[:, t] @ U.T + b, h, c, W)
    return h, c


@wrong("last_states_repaired", cell=LAST, says="each text stops a step too early")
def a_step_too_early(x, lengths, W, U, b):
    h = c = x.new_zeros(len(x), W.shape[1])
    for t in range(int(lengths.max())):
        alive = (t < lengths - 1)[:, None]
        new_h, new_c = lstm_step(x[:, t] @ U.T + b, h, c, W)
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
    return h, c


@wrong("last_states_repaired", cell=LAST, says="each text goes on for a step too many")
def a_step_too_many(x, lengths, W, U, b):
    h = c = x.new_zeros(len(x), W.shape[1])
    for t in range(x.shape[1]):
        alive = (t <= lengths)[:, None]
        new_h, new_c = lstm_step(x[:, t] @ U.T + b, h, c, W)
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
    return h, c


@wrong("last_states_repaired", cell=LAST, says="all texts stop where the shortest ends")
def with_the_shortest(x, lengths, W, U, b):
    h = c = x.new_zeros(len(x), W.shape[1])
    for t in range(int(lengths.min())):
        h, c = lstm_step(x[:, t] @ U.T + b, h, c, W)
    return h, c


@wrong("last_states_repaired", cell=LAST, says="state and cell have changed places")
def cell_before_state(x, lengths, W, U, b):
    h = c = x.new_zeros(len(x), W.shape[1])
    for t in range(int(lengths.max())):
        alive = (t < lengths)[:, None]
        new_h, new_c = lstm_step(x[:, t] @ U.T + b, h, c, W)
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
    return c, h


@wrong("last_states_repaired", cell=LAST, says="the texts are read from their ends")
def read_from_the_end(x, lengths, W, U, b):
    h = c = x.new_zeros(len(x), W.shape[1])
    for t in reversed(range(int(lengths.max()))):
        alive = (t < lengths)[:, None]
        new_h, new_c = lstm_step(x[:, t] @ U.T + b, h, c, W)
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
    return h, c


@wrong("last_states_repaired", cell=LAST, says="this is the buggy answer")
def only_the_state_is_held(x, lengths, W, U, b):
    """The state is picked at each text's end; the cell goes on."""
    h = c = x.new_zeros(len(x), W.shape[1])
    states = []
    for t in range(int(lengths.max())):
        h, c = lstm_step(x[:, t] @ U.T + b, h, c, W)
        states.append(h)
    return torch.stack(states, 1)[torch.arange(len(x)), lengths - 1], c


@wrong("last_states_repaired", cell=PADDING, says="the padding gets through (NaN times 0 is NaN)")
def held_by_multiplying(x, lengths, W, U, b):
    h = c = x.new_zeros(len(x), W.shape[1])
    for t in range(int(lengths.max())):
        alive = (t < lengths)[:, None].to(x)
        new_h, new_c = lstm_step(x[:, t] @ U.T + b, h, c, W)
        h, c = alive * new_h + (1 - alive) * h, alive * new_c + (1 - alive) * c
    return h, c


@right("last_states_repaired")
def text_by_text(x, lengths, W, U, b):
    states, cells = [], []
    for text, length in zip(x, lengths.tolist(), strict=True):
        h = c = x.new_zeros(1, W.shape[1])
        for seen in text[:length]:
            h, c = lstm_step((seen @ U.T + b)[None], h, c, W)
        states.append(h)
        cells.append(c)
    return torch.cat(states), torch.cat(cells)


@right("last_states_repaired")
def picked_afterwards(x, lengths, W, U, b):
    h = c = x.new_zeros(len(x), W.shape[1])
    states, cells = [], []
    for drive in (x @ U.T + b).unbind(1):
        h, c = lstm_step(drive, h, c, W)
        states.append(h)
        cells.append(c)
    own = torch.arange(len(x)), lengths - 1
    return torch.stack(states, 1)[own], torch.stack(cells, 1)[own]


@right("last_states_repaired")
def only_the_living_are_computed(x, lengths, W, U, b):
    h, c = x.new_zeros(len(x), W.shape[1]), x.new_zeros(len(x), W.shape[1])
    for t in range(x.shape[1]):
        alive = (lengths > t).nonzero()[:, 0]
        if len(alive):
            h[alive], c[alive] = lstm_step(x[alive, t] @ U.T + b, h[alive], c[alive], W)
    return [h, c]
