"""Answers to the convolution exercise: wrong ones, each with what must catch it, and right ones."""

import importlib

import numpy as np
import torch
import torch.nn.functional as F

from tests.bank import right, wrong

# What a student's notebook has by task 3: not an import, so that it is not typed into the answers.
library = importlib.import_module("fmbook.vision.convolution")
patches = library.patches

# Task 1: max_pool -------------------------------------------------------------------------------

POOL, EDGES = "max_pool-hidden-values", "max_pool-hidden-edges"


@wrong("max_pool", cell=POOL, says="this is the mean of the block, not its maximum")
def mean_pool(images, size):
    H, W = images.shape[2] // size, images.shape[3] // size
    whole = images[:, :, : H * size, : W * size]
    return whole.reshape(*images.shape[:2], H, size, W, size).mean((3, 5))


@wrong("max_pool", cell=POOL, says="this is the sum of the block, not its maximum")
def sum_pool(images, size):
    H, W = images.shape[2] // size, images.shape[3] // size
    whole = images[:, :, : H * size, : W * size]
    return whole.reshape(*images.shape[:2], H, size, W, size).sum((3, 5))


@wrong("max_pool", cell=POOL, says="this is the minimum of the block")
def min_pool(images, size):
    H, W = images.shape[2] // size, images.shape[3] // size
    whole = images[:, :, : H * size, : W * size]
    return whole.reshape(*images.shape[:2], H, size, W, size).amin((3, 5))


@wrong("max_pool", cell=POOL, says="this is the first pixel of the block, not its maximum")
def subsampled(images, size):
    H, W = images.shape[2] // size, images.shape[3] // size
    return images[:, :, : H * size : size, : W * size : size]


@wrong("max_pool", cell=POOL, says="this is the largest absolute value")
def largest_size(images, size):
    H, W = images.shape[2] // size, images.shape[3] // size
    whole = images[:, :, : H * size, : W * size].abs()
    return whole.reshape(*images.shape[:2], H, size, W, size).amax((3, 5))


@wrong("max_pool", cell=POOL, says="0 is taken for a pixel")
def starts_at_zero(images, size):
    B, C, H, W = images.shape
    out = torch.zeros(B, C, H // size, W // size)
    for i in range(H // size):
        for j in range(W // size):
            for u in range(size):
                for v in range(size):
                    pixel = images[:, :, i * size + u, j * size + v]
                    out[:, :, i, j] = torch.maximum(out[:, :, i, j], pixel)
    return out


@wrong("max_pool", cell=POOL, says="the blocks are cut by a plain reshape")
def reshaped(images, size):
    B, C, H, W = images.shape
    whole = images[:, :, : H // size * size, : W // size * size]
    return whole.reshape(B, C, H // size, W // size, size * size).amax(-1)


@wrong("max_pool", cell=POOL, says="the maximum runs over the channels too")
def over_channels(images, size):
    H, W = images.shape[2] // size, images.shape[3] // size
    whole = images[:, :, : H * size, : W * size]
    blocks = whole.reshape(*images.shape[:2], H, size, W, size).amax((1, 3, 5))
    return blocks[:, None].expand(-1, images.shape[1], -1, -1)


@wrong("max_pool", cell=POOL, says="the maximum runs over the images too")
def over_images(images, size):
    H, W = images.shape[2] // size, images.shape[3] // size
    whole = images[:, :, : H * size, : W * size]
    blocks = whole.reshape(*images.shape[:2], H, size, W, size).amax((0, 3, 5))
    return blocks[None].expand(len(images), -1, -1, -1)


@wrong("max_pool", cell=POOL, says="only rows are pooled, then every size-th column is taken")
def rows_only(images, size):
    H = images.shape[2] // size
    rows = images[:, :, : H * size].unflatten(2, (H, size)).amax(3)
    return rows[..., : images.shape[3] // size * size : size]


@wrong("max_pool", cell=EDGES, says="an incomplete block at the edge must be dropped")
def rounds_up(images, size):
    H, W = images.shape[2], images.shape[3]
    if H < size or W < size:
        raise ValueError("too small")
    x = F.pad(images, (0, -W % size, 0, -H % size), value=-torch.inf)
    x = x.unflatten(2, (-1, size)).amax(3)
    return x.unflatten(3, (-1, size)).amax(4)


@wrong("max_pool", cell=EDGES, says="not filled with zeros")
def filled_with_zeros(images, size):
    H, W = images.shape[2], images.shape[3]
    x = F.pad(images, (0, -W % size, 0, -H % size))
    x = x.unflatten(2, (-1, size)).amax(3)
    return x.unflatten(3, (-1, size)).amax(4)


@wrong("max_pool", cell=EDGES, says="the upper and left edge are dropped")
def drops_the_start(images, size):
    H, W = images.shape[2] // size, images.shape[3] // size
    whole = images[:, :, images.shape[2] % size :, images.shape[3] % size :]
    return whole.reshape(*images.shape[:2], H, size, W, size).amax((3, 5))


@wrong("max_pool", cell=EDGES, says="the blocks overlap")
def overlapping(images, size):
    return images.unfold(2, size, 1).unfold(3, size, 1).amax((4, 5))


@wrong("max_pool", cell=EDGES, says="3 x 3 blocks, 2 rows: expected ValueError")
def never_refuses(images, size):
    H, W = images.shape[2] // size, images.shape[3] // size
    whole = images[:, :, : H * size, : W * size]
    return whole.unflatten(2, (H, size)).unflatten(4, (W, size)).amax((3, 5)) if H and W else images


@right("max_pool")
def pool_by_loops(images, size):
    B, C, H, W = images.shape
    if H < size or W < size:
        raise ValueError("no block fits")
    out = torch.empty(B, C, H // size, W // size)
    for i in range(H // size):
        for j in range(W // size):
            block = images[:, :, i * size : (i + 1) * size, j * size : (j + 1) * size]
            out[:, :, i, j] = block.reshape(B, C, -1).max(-1).values
    return out


@right("max_pool")
def pool_by_numpy(images, size):
    x = np.asarray(images, dtype=np.float64)
    H, W = x.shape[2] // size, x.shape[3] // size
    if H * W == 0:
        raise ValueError("no block fits")
    x = x[:, :, : H * size, : W * size].reshape(*x.shape[:2], H, size, W, size)
    return torch.tensor(x.max(axis=(3, 5)), dtype=images.dtype)


@right("max_pool")
def pool_by_windows(images, size):
    if min(images.shape[-2:]) < size:
        raise ValueError("no block fits")
    return images.unfold(2, size, size).unfold(3, size, size).flatten(4).max(-1)[0]


@right("max_pool")
def pool_by_comparing_offsets(images, size):
    H, W = images.shape[2] // size * size, images.shape[3] // size * size
    if not (H and W):
        raise ValueError("no block fits")
    best = images[:, :, :H:size, :W:size]
    for u in range(size):
        for v in range(size):
            best = torch.maximum(best, images[:, :, u:H:size, v:W:size])
    return best


# Task 2: patches --------------------------------------------------------------------------------

ORDER, STRIDE = "patches-hidden-order", "patches-hidden-stride"


@wrong("patches", cell=ORDER, says="within a patch the pixels come column by column")
def pixels_by_column(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4)
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.permute(0, 1, 5, 4, 2, 3).flatten(4).flatten(1, 3)


@wrong("patches", cell=ORDER, says="the places come column by column")
def places_by_column(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4)
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.permute(0, 1, 4, 5, 3, 2).flatten(4).flatten(1, 3)


@wrong("patches", cell=ORDER, says="within a patch the channels come last")
def channels_last(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4)
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.permute(0, 4, 5, 1, 2, 3).flatten(4).flatten(1, 3)


@wrong("patches", cell=ORDER, says="the patches are rows; they must be columns")
def patches_as_rows(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4)
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


@wrong("patches", cell=ORDER, says="the axes are joined in the order of the windows")
def windows_reshaped(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4)
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.reshape(len(x), x.shape[1] * size * size, -1)


@wrong(
    "patches",
    cell="patches-check-stride",
    says="the axes are joined in another order: places and pixels are mixed",
)
def windows_flattened(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4)
    if min(x.shape[-2:]) < size:
        raise ValueError("no patch fits")
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.flatten().reshape(len(x), x.shape[1] * size * size, -1)


@wrong("patches", cell="patches-check-stride", says="the patches are rows; they must be columns")
def patches_a_row_each(images, size, stride=1, padding=0):
    return F.unfold(images, size, stride=stride, padding=padding).mT


@wrong("patches", cell=ORDER, says="the patches are turned round")
def patches_turned(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4)
    w = x.unfold(2, size, stride).unfold(3, size, stride).flip(4, 5)
    return w.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


@wrong("patches", cell=ORDER, says="the last place of each row and column is missing")
def one_place_short(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4)
    columns = []
    for i in range(0, x.shape[2] - size, stride):
        for j in range(0, x.shape[3] - size, stride):
            columns.append(x[:, :, i : i + size, j : j + size].flatten(1))
    return torch.stack(columns, -1)


@wrong("patches", cell=ORDER, says="the stride is 1 unless given")
def tiles(images, size, stride=None, padding=0):
    x, stride = F.pad(images, (padding,) * 4), stride or size
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


@wrong("patches", cell=STRIDE, says="the stride is ignored")
def stride_ignored(images, size, stride=1, padding=0):
    w = F.pad(images, (padding,) * 4).unfold(2, size, 1).unfold(3, size, 1)
    return w.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


@wrong("patches", cell=STRIDE, says="the padding is ignored")
def padding_ignored(images, size, stride=1, padding=0):
    w = images.unfold(2, size, stride).unfold(3, size, stride)
    return w.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


@wrong("patches", cell=STRIDE, says="the frame is on two sides only")
def frame_on_two_sides(images, size, stride=1, padding=0):
    x = F.pad(images, (0, padding, 0, padding))
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


@wrong("patches", cell=STRIDE, says="only the columns are padded, not the rows")
def frame_left_and_right(images, size, stride=1, padding=0):
    x = F.pad(images, (padding, padding))
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


@wrong("patches", cell=STRIDE, says="the frame repeats the border; it must be 0")
def frame_of_neighbours(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4, mode="replicate")
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


@wrong("patches", cell=STRIDE, says="the stride counts for rows only")
def stride_in_rows(images, size, stride=1, padding=0):
    w = F.pad(images, (padding,) * 4).unfold(2, size, stride).unfold(3, size, 1)
    return w.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


@wrong("patches", cell=STRIDE, says="4 x 4 patches, 3 rows: expected ValueError")
def empty_where_nothing_fits(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4)
    if min(x.shape[-2:]) < size:
        return x.new_zeros(len(x), x.shape[1] * size * size, 0)
    w = x.unfold(2, size, stride).unfold(3, size, stride)
    return w.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


@right("patches")
def patches_by_loops(images, size, stride=1, padding=0):
    x = F.pad(images, (padding,) * 4)
    columns = []
    for i in range(0, x.shape[2] - size + 1, stride):
        for j in range(0, x.shape[3] - size + 1, stride):
            columns.append(x[:, :, i : i + size, j : j + size].flatten(1))
    if not columns:
        raise ValueError("no patch fits")
    return torch.stack(columns, -1)


@right("patches")
def patches_by_numpy(images, size, stride=1, padding=0):
    x = np.pad(np.asarray(images), [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    if x.shape[2] < size or x.shape[3] < size:
        raise ValueError("no patch fits")
    w = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    w = w[:, :, ::stride, ::stride].transpose(0, 1, 4, 5, 2, 3)
    return torch.tensor(w.reshape(len(x), x.shape[1] * size**2, -1).copy())


@right("patches")
def patches_by_offsets(images, size, stride=1, padding=0):
    B, C, H, W = images.shape
    x = images.new_zeros(B, C, H + 2 * padding, W + 2 * padding)
    x[:, :, padding : padding + H, padding : padding + W] = images
    rows, columns = ((n + 2 * padding - size) // stride + 1 for n in (H, W))
    if rows < 1 or columns < 1:
        raise ValueError("no patch fits")
    out = x.new_empty(B, C, size, size, rows, columns)
    for u in range(size):
        for v in range(size):
            out[:, :, u, v] = x[:, :, u::stride, v::stride][:, :, :rows, :columns]
    return out.reshape(B, C * size * size, rows * columns)


# Task 3: convolve -------------------------------------------------------------------------------

MAPS, STEPS = "convolve-hidden-values", "convolve-hidden-stride"


@wrong("convolve", cell=MAPS, says="the kernel is turned round; here it is not")
def kernel_turned(images, kernels, bias=None, stride=1, padding=0):
    columns = patches(images, kernels.shape[-1], stride, padding)
    maps = kernels.flip(2, 3).flatten(1) @ columns
    maps = maps.unflatten(
        -1, ((images.shape[2] + 2 * padding - kernels.shape[-1]) // stride + 1, -1)
    )
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=MAPS, says="rows and columns of the kernel have changed places")
def kernel_transposed(images, kernels, bias=None, stride=1, padding=0):
    columns = patches(images, kernels.shape[-1], stride, padding)
    maps = kernels.mT.flatten(1) @ columns
    maps = maps.unflatten(
        -1, ((images.shape[2] + 2 * padding - kernels.shape[-1]) // stride + 1, -1)
    )
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=MAPS, says="the channels are averaged; they must be summed")
def channels_averaged(images, kernels, bias=None, stride=1, padding=0):
    columns = patches(images, kernels.shape[-1], stride, padding)
    maps = kernels.flatten(1) @ columns / images.shape[1]
    maps = maps.unflatten(
        -1, ((images.shape[2] + 2 * padding - kernels.shape[-1]) // stride + 1, -1)
    )
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=MAPS, says="only the first channel is used")
def first_channel(images, kernels, bias=None, stride=1, padding=0):
    columns = patches(images[:, :1], kernels.shape[-1], stride, padding)
    maps = kernels[:, :1].flatten(1) @ columns
    maps = maps.unflatten(
        -1, ((images.shape[2] + 2 * padding - kernels.shape[-1]) // stride + 1, -1)
    )
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=MAPS, says="the kernels are read in another order than the columns")
def kernel_channels_last(images, kernels, bias=None, stride=1, padding=0):
    columns = patches(images, kernels.shape[-1], stride, padding)
    maps = kernels.permute(0, 2, 3, 1).flatten(1) @ columns
    maps = maps.unflatten(
        -1, ((images.shape[2] + 2 * padding - kernels.shape[-1]) // stride + 1, -1)
    )
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=MAPS, says="the products are averaged; they must be summed")
def products_averaged(images, kernels, bias=None, stride=1, padding=0):
    w = F.pad(images, (padding,) * 4)
    w = w.unfold(2, kernels.shape[-1], stride).unfold(3, kernels.shape[-1], stride)
    maps = (w[:, None] * kernels[None, :, :, None, None]).mean((2, 5, 6))
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=MAPS, says="rows and columns of the maps have changed places")
def maps_transposed(images, kernels, bias=None, stride=1, padding=0):
    w = F.pad(images, (padding,) * 4)
    w = w.unfold(2, kernels.shape[-1], stride).unfold(3, kernels.shape[-1], stride)
    maps = torch.einsum("bchwuv,ocuv->bowh", w, kernels)
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=MAPS, says="the maps are cut into rows of the wrong length")
def rows_of_the_height(images, kernels, bias=None, stride=1, padding=0):
    columns = patches(images, kernels.shape[-1], stride, padding)
    maps = kernels.flatten(1) @ columns
    rows = (images.shape[2] + 2 * padding - kernels.shape[-1]) // stride + 1
    maps = maps.unflatten(-1, (-1, rows))
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=MAPS, says="the bias is not added")
def bias_forgotten(images, kernels, bias=None, stride=1, padding=0):
    columns = patches(images, kernels.shape[-1], stride, padding)
    maps = kernels.flatten(1) @ columns
    return maps.unflatten(
        -1, ((images.shape[2] + 2 * padding - kernels.shape[-1]) // stride + 1, -1)
    )


@wrong("convolve", cell=MAPS, says="the bias is added once a channel")
def bias_in_the_sum(images, kernels, bias=None, stride=1, padding=0):
    w = F.pad(images, (padding,) * 4)
    w = w.unfold(2, kernels.shape[-1], stride).unfold(3, kernels.shape[-1], stride)
    each = torch.einsum("bchwuv,ocuv->bochw", w, kernels)
    if bias is not None:
        each = each + bias[:, None, None, None]
    return each.sum(2)


@wrong("convolve", cell=MAPS, says="one bias is added to all maps")
def one_bias(images, kernels, bias=None, stride=1, padding=0):
    columns = patches(images, kernels.shape[-1], stride, padding)
    maps = kernels.flatten(1) @ columns
    maps = maps.unflatten(
        -1, ((images.shape[2] + 2 * padding - kernels.shape[-1]) // stride + 1, -1)
    )
    return maps if bias is None else maps + bias[0]


@wrong(
    "convolve",
    cell="convolve-check-channels",
    says="the bias runs along the columns of a map; give it the shape (O, 1, 1)",
)
def bias_along_the_columns(images, kernels, bias=None, stride=1, padding=0):
    if images.shape[1] != kernels.shape[1]:
        raise ValueError("different channels")
    maps = F.conv2d(images, kernels, None, stride, padding)
    return maps if bias is None else maps + bias


@wrong("convolve", cell="convolve-check-channels", says="each kernel has its own")
def first_bias_for_all(images, kernels, bias=None, stride=1, padding=0):
    if images.shape[1] != kernels.shape[1]:
        raise ValueError("different channels")
    maps = F.conv2d(images, kernels, None, stride, padding)
    return maps if bias is None else maps + bias[0]


@wrong("convolve", cell="convolve-check-channels", says="the bias is added once a channel")
def bias_for_each_channel(images, kernels, bias=None, stride=1, padding=0):
    if images.shape[1] != kernels.shape[1]:
        raise ValueError("different channels")
    maps = F.conv2d(images, kernels, None, stride, padding)
    return maps if bias is None else maps + images.shape[1] * bias[:, None, None]


@wrong("convolve", cell=MAPS, says="2 and 3 channels: expected ValueError")
def channels_unchecked(images, kernels, bias=None, stride=1, padding=0):
    C = min(images.shape[1], kernels.shape[1])
    columns = patches(images[:, :C], kernels.shape[-1], stride, padding)
    maps = kernels[:, :C].flatten(1) @ columns
    maps = maps.unflatten(
        -1, ((images.shape[2] + 2 * padding - kernels.shape[-1]) // stride + 1, -1)
    )
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=STEPS, says="the stride is ignored")
def convolve_at_every_place(images, kernels, bias=None, stride=1, padding=0):
    columns = patches(images, kernels.shape[-1], 1, padding)
    maps = kernels.flatten(1) @ columns
    maps = maps.unflatten(-1, (images.shape[2] + 2 * padding - kernels.shape[-1] + 1, -1))
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=STEPS, says="the padding is ignored")
def convolve_without_frame(images, kernels, bias=None, stride=1, padding=0):
    columns = patches(images, kernels.shape[-1], stride)
    maps = kernels.flatten(1) @ columns
    maps = maps.unflatten(-1, ((images.shape[2] - kernels.shape[-1]) // stride + 1, -1))
    return maps if bias is None else maps + bias[:, None, None]


@wrong("convolve", cell=STEPS, says="the padding is counted on one side only")
def one_padding_too_few(images, kernels, bias=None, stride=1, padding=0):
    size, (H, W) = kernels.shape[-1], images.shape[-2:]
    x = F.pad(images, (padding,) * 4)
    rows, wide = ((n + padding - size) // stride + 1 for n in (H, W))
    maps = torch.zeros(len(x), len(kernels), rows, wide)
    for i in range(rows):
        for j in range(wide):
            patch = x[:, :, i * stride : i * stride + size, j * stride : j * stride + size]
            maps[:, :, i, j] = torch.einsum("bcuv,ocuv->bo", patch, kernels)
    return maps if bias is None else maps + bias[:, None, None]


@right("convolve")
def convolve_by_loops(images, kernels, bias=None, stride=1, padding=0):
    if images.shape[1] != kernels.shape[1]:
        raise ValueError("different channels")
    x, size = F.pad(images, (padding,) * 4), kernels.shape[-1]
    rows, wide = ((n - size) // stride + 1 for n in x.shape[-2:])
    maps = torch.zeros(len(x), len(kernels), rows, wide)
    for i in range(rows):
        for j in range(wide):
            patch = x[:, :, i * stride : i * stride + size, j * stride : j * stride + size]
            maps[:, :, i, j] = torch.einsum("bcuv,ocuv->bo", patch, kernels)
    return maps if bias is None else maps + bias[:, None, None]


@right("convolve")
def convolve_by_shifts(images, kernels, bias=None, stride=1, padding=0):
    if images.shape[1] != kernels.shape[1]:
        raise ValueError("different channels")
    x, size = F.pad(images, (padding,) * 4), kernels.shape[-1]
    rows, wide = ((n - size) // stride + 1 for n in x.shape[-2:])
    maps = torch.zeros(len(x), len(kernels), rows, wide)
    for u in range(size):
        for v in range(size):
            moved = x[:, :, u::stride, v::stride][:, :, :rows, :wide]
            maps += torch.einsum("oc,bchw->bohw", kernels[:, :, u, v], moved)
    return maps if bias is None else maps + bias.reshape(1, -1, 1, 1)


@right("convolve")
def convolve_by_windows(images, kernels, bias=None, stride=1, padding=0):
    if images.shape[1] != kernels.shape[1]:
        raise ValueError("different channels")
    size = kernels.shape[-1]
    w = F.pad(images, (padding,) * 4).unfold(2, size, stride).unfold(3, size, stride)
    maps = torch.tensordot(w.double(), kernels.double(), dims=([1, 4, 5], [1, 2, 3]))
    maps = maps.permute(0, 3, 1, 2).to(images.dtype)
    return maps + (0 if bias is None else bias.view(-1, 1, 1))


# Task 4: fold_repaired --------------------------------------------------------------------------

OVERLAP, SPARSE = "fold_repaired-hidden-overlap", "fold_repaired-hidden-stride"
ONE = "a pixel in several patches still gets one of its numbers, not their sum"


@wrong("fold_repaired", cell=OVERLAP, says=ONE)
def as_it_was(columns, height, width, size, stride=1):
    B, C = columns.shape[0], columns.shape[1] // size**2
    number = torch.arange(height * width, dtype=torch.float64).reshape(1, 1, height, width)
    places = library.patches(number, size, stride)[0].long().flatten()
    image = torch.zeros(B, C, height * width)
    image[:, :, places] += columns.reshape(B, C, -1)
    return image.reshape(B, C, height, width)


@wrong("fold_repaired", cell=SPARSE, says=ONE)
def put_back_one_by_one(columns, height, width, size, stride=1):
    B, C = columns.shape[0], columns.shape[1] // size**2
    rows, wide = (height - size) // stride + 1, (width - size) // stride + 1
    blocks = columns.reshape(B, C, size, size, rows, wide)
    image = torch.zeros(B, C, height, width)
    for u in range(size):
        for v in range(size):
            end = u + stride * (rows - 1) + 1, v + stride * (wide - 1) + 1
            image[:, :, u : end[0] : stride, v : end[1] : stride] = blocks[:, :, u, v]
    return image


@wrong("fold_repaired", cell=OVERLAP, says="the sum is divided by the number of patches")
def averaged(columns, height, width, size, stride=1):
    how = {"output_size": (height, width), "kernel_size": size, "stride": stride}
    return F.fold(columns, **how) / F.fold(torch.ones_like(columns), **how).clamp(min=1)


@wrong("fold_repaired", cell=OVERLAP, says="these are counts: the columns' numbers are not used")
def counted(columns, height, width, size, stride=1):
    return F.fold(torch.ones_like(columns), (height, width), size, stride=stride)


@wrong("fold_repaired", cell=OVERLAP, says="within a patch rows and columns have changed places")
def patch_transposed(columns, height, width, size, stride=1):
    B, P = len(columns), columns.shape[-1]
    turned = columns.reshape(B, -1, size, size, P).transpose(2, 3).reshape(B, -1, P)
    return F.fold(turned, (height, width), size, stride=stride)


@wrong(
    "fold_repaired", cell=OVERLAP, says="the channels are read last; in a column they come first"
)
def channels_read_last(columns, height, width, size, stride=1):
    B, P = len(columns), columns.shape[-1]
    turned = columns.reshape(B, size * size, -1, P).transpose(1, 2).reshape(B, -1, P)
    return F.fold(turned, (height, width), size, stride=stride)


@wrong("fold_repaired", cell=OVERLAP, says="the patches are turned round")
def patches_flipped(columns, height, width, size, stride=1):
    B, P = len(columns), columns.shape[-1]
    turned = columns.reshape(B, -1, size, size, P).flip(2, 3).reshape(B, -1, P)
    return F.fold(turned, (height, width), size, stride=stride)


@wrong("fold_repaired", cell=OVERLAP, says="the channels are added up")
def channels_summed(columns, height, width, size, stride=1):
    image = F.fold(columns, (height, width), size, stride=stride)
    return image.sum(1, keepdim=True).expand_as(image)


@wrong("fold_repaired", cell=OVERLAP, says="the images are added up")
def images_summed(columns, height, width, size, stride=1):
    C = columns.shape[1] // size**2
    number = torch.arange(height * width, dtype=torch.float64).reshape(1, 1, height, width)
    places = library.patches(number, size, stride)[0].long().flatten()
    image = np.zeros((C, height * width), dtype=np.float32)
    for column in columns.numpy():
        np.add.at(image, (slice(None), places.numpy()), column.reshape(C, -1))
    return torch.tensor(image).reshape(1, C, height, width).expand(len(columns), -1, -1, -1)


@wrong("fold_repaired", cell=OVERLAP, says="the sign is turned round")
def negative(columns, height, width, size, stride=1):
    return -F.fold(columns, (height, width), size, stride=stride)


@wrong("fold_repaired", cell=SPARSE, says="the stride is ignored")
def stride_forgotten(columns, height, width, size, stride=1):
    B, C = columns.shape[0], columns.shape[1] // size**2
    rows, wide = (height - size) // stride + 1, (width - size) // stride + 1
    blocks = columns.reshape(B, C, size, size, rows, wide)
    image = torch.zeros(B, C, height, width)
    for u in range(size):
        for v in range(size):
            image[:, :, u : u + rows, v : v + wide] += blocks[:, :, u, v]
    return image


@wrong(
    "fold_repaired",
    cell="fold_repaired-check-example",
    says="index_add makes a new tensor; its result was dropped",
)
def index_add_dropped(columns, height, width, size, stride=1):
    B, C = columns.shape[0], columns.shape[1] // size**2
    number = torch.arange(height * width, dtype=torch.float64).reshape(1, 1, height, width)
    places = library.patches(number, size, stride)[0].long().flatten()
    image = torch.zeros(B, C, height * width, dtype=columns.dtype)
    image.index_add(2, places, columns.reshape(B, C, -1))
    return image.reshape(B, C, height, width)


FLOAT32 = "the image is float32; it must have the dtype of the columns"


@wrong("fold_repaired", cell=OVERLAP, says=FLOAT32)
def always_float32(columns, height, width, size, stride=1):
    B, C = columns.shape[0], columns.shape[1] // size**2
    rows, wide = (height - size) // stride + 1, (width - size) // stride + 1
    blocks = columns.reshape(B, C, size, size, rows, wide)
    image = torch.zeros(B, C, height, width)
    for u in range(size):
        for v in range(size):
            end = u + stride * (rows - 1) + 1, v + stride * (wide - 1) + 1
            image[:, :, u : end[0] : stride, v : end[1] : stride] += blocks[:, :, u, v]
    return image


@wrong("fold_repaired", cell="fold_repaired-check-inner", says=FLOAT32)
def float32_in_the_example(columns, height, width, size, stride=1):
    B, C = columns.shape[0], columns.shape[1] // size**2
    rows, wide = (height - size) // stride + 1, (width - size) // stride + 1
    blocks = columns.reshape(B, C, size, size, rows, wide)
    image = torch.zeros(B, C, height, width)
    for u in range(size):
        for v in range(size):
            end = u + stride * (rows - 1) + 1, v + stride * (wide - 1) + 1
            image[:, :, u : end[0] : stride, v : end[1] : stride] += blocks[:, :, u, v]
    return image


@right("fold_repaired")
def by_slices(columns, height, width, size, stride=1):
    B, C = columns.shape[0], columns.shape[1] // size**2
    rows, wide = (height - size) // stride + 1, (width - size) // stride + 1
    blocks = columns.reshape(B, C, size, size, rows, wide)
    image = columns.new_zeros(B, C, height, width)
    for u in range(size):
        for v in range(size):
            end = u + stride * (rows - 1) + 1, v + stride * (wide - 1) + 1
            image[:, :, u : end[0] : stride, v : end[1] : stride] += blocks[:, :, u, v]
    return image


@right("fold_repaired")
def by_adding_at(columns, height, width, size, stride=1):
    B, C = columns.shape[0], columns.shape[1] // size**2
    number = torch.arange(height * width, dtype=torch.float64).reshape(1, 1, height, width)
    places = library.patches(number, size, stride)[0].long().flatten().numpy()
    image = np.zeros((B, C, height * width))
    np.add.at(image, (slice(None), slice(None), places), np.asarray(columns).reshape(B, C, -1))
    return torch.tensor(image, dtype=columns.dtype).reshape(B, C, height, width)


@right("fold_repaired")
def by_autograd(columns, height, width, size, stride=1):
    """The gradient of patches, taken by torch."""
    C = columns.shape[1] // size**2
    image = torch.zeros(len(columns), C, height, width, dtype=columns.dtype, requires_grad=True)
    (library.patches(image, size, stride) * columns).sum().backward()
    return image.grad


@right("fold_repaired")
def by_a_matrix(columns, height, width, size, stride=1):
    """One matrix of zeros and ones that says which number goes to which pixel."""
    B, C = columns.shape[0], columns.shape[1] // size**2
    each = torch.eye(height * width, dtype=torch.float64).reshape(-1, 1, height, width)
    goes = library.patches(each, size, stride).flatten(1)  # (pixels, size size P)
    image = columns.double().reshape(B, C, -1) @ goes.T
    return image.to(columns.dtype).reshape(B, C, height, width)
