"""What every sample of the picture looks like: skin, brows, lips, eyes, teeth, hair, under soft light (numba).

One long file on purpose: kernels call each other, and numba's on-disk cache does not notice a change of a called
kernel in another file (see rasteriser.py). Places are rest-space coordinates (see head.py); colours are linear RGB.
Everything here is our decision, chosen by eye.
"""

import numpy as np
from numba import njit


@njit(cache=True, inline="always")
def _step(low, high, x):
    t = (x - low) / (high - low)
    t = 0.0 if t < 0 else (1.0 if t > 1 else t)
    return t * t * (3 - 2 * t)


@njit(cache=True, inline="always")
def _bell(x, centre, width):
    d = (x - centre) / width
    return np.exp(-d * d) if -3.5 < d < 3.5 else 0.0


@njit(cache=True)
def _noise(table, x, y, z):
    """Smooth noise with mean 0 and unit-variance lattice values, period 16 in every direction."""
    x, y, z = x + 4096.0, y + 4096.0, z + 4096.0
    i, j, k = int(x), int(y), int(z)
    u, v, w = x - i, y - j, z - k
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    i0, j0, k0 = i & 15, j & 15, k & 15
    i1, j1, k1 = (i + 1) & 15, (j + 1) & 15, (k + 1) & 15
    a = table[i0, j0, k0] * (1 - w) + table[i0, j0, k1] * w
    b = table[i0, j1, k0] * (1 - w) + table[i0, j1, k1] * w
    c = table[i1, j0, k0] * (1 - w) + table[i1, j0, k1] * w
    d = table[i1, j1, k0] * (1 - w) + table[i1, j1, k1] * w
    return (a * (1 - v) + b * v) * (1 - u) + (c * (1 - v) + d * v) * u


@njit(cache=True)
def scalp_density(x, y, z, ear, scalp):
    """How much hair grows at a rest-space place, 0 to 1."""
    ax = abs(x)
    line = 7.98 + scalp.hairline - 0.30 * _step(0.35, 0.75, ax) + scalp.recession * _bell(ax, 0.36, 0.16)
    line += scalp.fringe * (7.62 - line) * _step(0.66, 0.50, ax)
    top = _step(0.0, 0.07, y - line)
    if scalp.baldness > 0:
        top *= 1 - scalp.baldness * _step(7.55, 7.72, y) * (1 - 0.9 * _step(0.66, 0.72, ax) * _step(8.05, 7.9, y))
    side = _step(0.58, 0.66, ax) * _step(scalp.sideburn, scalp.sideburn + 0.12, y) * _step(0.98, 0.82, z)
    if scalp.baldness > 0:
        side *= 1 - scalp.baldness * _step(7.75, 7.9, y)
    back = _step(0.62, 0.5, z) * _step(6.6, 6.8, y) * (1 - scalp.baldness * _step(7.7, 7.85, y))
    density = max(top, max(side, back))
    if scalp.covers_ears < 0.5:
        density *= 1 - _step(0.05, 0.35, ear)
    return density


@njit(cache=True)
def _brow(x, y, z, look, table):
    """Cover of the painted eyebrow, 0 to 1."""
    ax = abs(x)
    u = (ax - 0.10) / 0.40
    if z < 0.8 or u < -0.1 or u > 1.1 or y < 7.3 or y > 7.62:
        return 0.0
    v = min(max(u, 0.0), 1.0)
    centre = 7.448 + (0.035 + look.brow_arch) * np.sin(np.pi * (0.08 + 0.80 * v))
    half = 0.042 * look.brow_thickness * (1 - 0.60 * v**1.5)
    cover = _step(1.3, 0.4, abs(y - centre) / half) * _step(-0.08, 0.14, u) * _step(1.08, 0.78, u)
    if cover <= 0:
        return 0.0
    sign = 1.0 if x > 0 else -1.0
    hairs = 0.97 + 0.22 * _noise(table, x * 60 + sign * y * 45, y * 24, 3.0 + z)
    return min(cover * min(max(hairs, 0.45), 1.2) * look.brow_density, 0.97)


@njit(cache=True)
def _beard(x, y, z, lips, look, table):
    """Cover of beard and moustache before its strength, 0 to 1."""
    ax = abs(x)
    if y > 7.15 or z < 0.3:
        return 0.0
    jaw = _step(6.72, 6.52, y) * _step(6.0, 6.2, y)
    cheek = _step(0.42, 0.60, ax) * _step(7.12, 6.9, y)
    moustache = np.exp(-(((y - 6.835 + 0.10 * ax) / 0.055) ** 4)) * _step(0.36, 0.25, ax) * (1.0 if z > 1.2 else 0.0)
    if look.beard_style == 0:
        cover = max(max(jaw, cheek), moustache)
    elif look.beard_style == 1:
        chin = _step(0.34, 0.24, ax) * _step(6.66, 6.56, y) * _step(6.0, 6.2, y)
        sides = _step(0.26, 0.30, ax) * _step(0.40, 0.35, ax) * _step(6.88, 6.80, y) * _step(6.5, 6.56, y)
        cover = max(max(chin, moustache), sides)
    else:
        cover = moustache
    return cover * (1 - _step(0.15, 0.6, lips)) * (0.78 + 0.22 * _noise(table, x * 42, y * 42, z * 42))


@njit(cache=True)
def _fold_normal(x, y, z, look):
    """Tilt (dx, dy) of the skin's normal by folds, and how much they darken the skin."""
    f = look.folds
    ax = abs(x)
    sign = 1.0 if x > 0 else -1.0
    bend = look.fold_phase
    dx, dy, dark = 0.0, 0.0, 0.0
    if y > 7.5:
        area = _step(7.5, 7.58, y) * _step(7.96, 7.82, y) * _step(0.55, 0.35, ax) * (1.0 if z > 0.6 else 0.0)
        dy += area * f[0] * np.sin((y + 0.02 * np.sin(x * 8 + bend) + 0.03 * ax) * 2 * np.pi / 0.088 + bend)
    if 7.15 < y < 7.75 and ax < 0.25:
        area = _bell(y, 7.45, 0.11) * _bell(ax, 0.055, 0.05)
        dx += area * f[1] * np.sin((ax - 0.02) * 2 * np.pi / 0.08) * sign
        dark += 0.22 * f[1] * _bell(y, 7.45, 0.09) * _bell(ax, 0.052 + 0.01 * np.sin(bend), 0.018)
        dy += _bell(y, 7.27, 0.07) * _bell(x, 0.0, 0.1) * f[2] * 0.7 * np.sin(y * 2 * np.pi / 0.06 + bend)
    if 0.45 < ax < 0.75 and 7.0 < y < 7.5:
        area = _bell(ax, 0.59, 0.06) * _bell(y, 7.24, 0.1)
        dy += area * f[3] * np.sin((y + abs(y - 7.25) * 0.4 + bend * 0.01) * 2 * np.pi / 0.055)
    if 6.5 < y < 7.1 and z > 0.9:
        line = 0.20 + 0.20 * _step(6.98, 6.62, y)
        area = _step(6.55, 6.68, y) * _step(7.05, 6.92, y)
        crease = area * _bell(ax, line, 0.035)
        dark += 0.20 * f[4] * crease
        dimple = f[6] if x > 0 else f[7]
        dark += (
            0.42 * dimple * _bell(ax, 0.385 + 0.015 * np.sin(bend), 0.030) * _bell(y, 6.74 + 0.02 * np.cos(bend), 0.065)
        )
        dx += 0.28 * f[4] * area * sign * (_bell(ax, line - 0.03, 0.03) - _bell(ax, line + 0.03, 0.03))
    if 6.2 < y < 6.6 and z > 1.0 and f[5] > 0:
        area = _bell(y, 6.42, 0.09) * _bell(x, 0.0, 0.16)
        dx += area * f[5] * 0.35 * np.sin(x * 2 * np.pi / 0.07 + 2 * bend)
        dy += area * f[5] * 0.35 * np.sin(y * 2 * np.pi / 0.075 + bend)
    return dx, dy, dark


@njit(cache=True)
def _skin_colour(x, y, z, lips, ear, lid, mouth, look, table):
    """Colour of the body part at a rest-space place, its shininess and gloss exponent, and the hair-like cover."""
    ax = abs(x)
    blotch = 0.5 * _noise(table, x * 3, y * 3, z * 3) + 0.35 * _noise(table, x * 9 + 5, y * 9, z * 9)
    blotch += 0.2 * _noise(table, x * 30, y * 30, z * 30)
    tone = 1 + 0.05 * blotch
    red = _bell(ax, 0.42, 0.2) * _bell(y, 6.98, 0.16) + 0.8 * ear
    if z > 1.4:
        red += 0.8 * _bell(x, 0.0, 0.1) * _bell(y, 6.95, 0.09)
    red *= (look.redness + 0.35 * look.makeup) * 0.30 * (1 - 0.6 * look.melanin)
    under = 0.16 * _bell(ax, 0.29, 0.15) * _bell(y, 7.13, 0.05)
    socket = 0.22 * lid + under * (0.6 + 0.8 * look.age)
    r = look.skin[0] * tone * (1 - 0.05 * red) * (1 - 0.5 * socket)
    g = look.skin[1] * tone * (1 - 0.55 * red) * (1 - 0.8 * socket)
    b = look.skin[2] * tone * (1 - 0.50 * red) * (1 - 0.7 * socket)
    if look.makeup > 0.05:
        shade = look.makeup * 0.45 * _bell(ax, 0.33, 0.17) * _bell(y, 7.37, 0.045) * (1.0 if z > 1.1 else 0.0)
        r, g, b = r * (1 - 0.6 * shade), g * (1 - 0.75 * shade), b * (1 - 0.65 * shade)
    if look.freckles > 0:
        spot = _noise(table, x * 48 + 3, y * 48, z * 48) - 1.0
        if spot > 0:
            spot = min(spot, 1.0) * _bell(y, 7.05, 0.25) * look.freckles
            r, g, b = r * (1 - 0.25 * spot), g * (1 - 0.45 * spot), b * (1 - 0.5 * spot)
    shine, gloss = 0.26, 22.0
    lip = _step(0.25, 0.75, lips) * 0.95
    if lip > 0:
        line = 1 + 0.07 * blotch
        r = r * (1 - lip) + look.lip[0] * lip * line
        g = g * (1 - lip) + look.lip[1] * lip * line
        b = b * (1 - lip) + look.lip[2] * lip * line
        shine, gloss = shine + 0.30 * lip, gloss + 15 * lip
    inner = _step(0.2, 0.7, mouth)
    r, g, b = r * (1 - inner) + 0.15 * inner, g * (1 - inner) + 0.03 * inner, b * (1 - inner) + 0.032 * inner
    cover = 0.0
    if look.beard > 0 or look.stubble > 0:
        cover = min(_beard(x, y, z, lips, look, table) * look.beard * 0.95, 0.9)
        if look.stubble > 0.02:
            jaw = max(_step(6.74, 6.5, y) * _step(6.0, 6.2, y), _step(0.42, 0.62, ax) * _step(7.1, 6.9, y))
            jaw = max(jaw, _bell(y, 6.84, 0.05) * _step(0.36, 0.25, ax)) * (1.0 if z > 0.35 else 0.0)
            cover = max(cover, jaw * look.stubble * 0.42 * (1 - lip))
        r = r * (1 - cover) + (look.hair[0] * 0.6 + 0.10 * look.skin[0]) * cover
        g = g * (1 - cover) + (look.hair[1] * 0.6 + 0.10 * look.skin[1]) * cover
        b = b * (1 - cover) + (look.hair[2] * 0.6 + 0.10 * look.skin[2]) * cover
    brow = _brow(x, y, z, look, table)
    r, g, b = (
        r * (1 - brow) + look.brow[0] * brow,
        g * (1 - brow) + look.brow[1] * brow,
        b * (1 - brow) + look.brow[2] * brow,
    )
    return r, g, b, shine * (1 - 0.8 * max(cover, brow)), gloss, inner


@njit(cache=True)
def _eye_colour(dx, dy, dz, gaze, look, table):
    """Colour of the eyeball in the unit direction (dx, dy, dz) from its centre."""
    angle = np.arccos(min(max(dx * gaze[0] + dy * gaze[1] + dz * gaze[2], -1.0), 1.0))
    iris = 0.44
    turn = np.arctan2(dy, dx)
    spokes = 0.85 + 0.25 * _noise(table, turn * 4, angle * 8, 1.0) + 0.2 * _step(0.18, 0.40, angle)
    white = 1 - 0.22 * _step(0.55, 1.1, angle)
    edge = _step(iris - 0.035, iris + 0.045, angle)
    ring = 1 - 0.7 * _bell(angle, iris, 0.055)
    pupil = 0.03 + 0.97 * _step(0.15, 0.20, angle)
    shadow = 0.34 + 0.66 * _step(0.58, 0.12, dy)  # cast by the upper lid
    scale = ring * pupil * shadow
    return (
        (look.eye[0] * spokes * 1.15 * (1 - edge) + 0.62 * white * edge) * scale,
        (look.eye[1] * spokes * 1.15 * (1 - edge) + 0.585 * white * edge) * scale,
        (look.eye[2] * spokes * 1.15 * (1 - edge) + 0.565 * white * edge) * scale,
    )


@njit(cache=True)
def shade_head(
    image, triangle, weight, triangles, part, attributes, occlusion, ss, eyes, gaze, look, light, scalp, table
):
    """Writes the linear colour of every covered sample.

    Args:
        image: float32, H×W×3, holds the background. Written.
        triangle, weight: from `rasterise`.
        triangles, part: the opaque mesh.
        attributes: float32, V×13: normal, position (camera coordinates), rest position, four region masks.
        occlusion: float32, H/ss × W/ss: 1 = open, small = hidden in a crease.
        ss: samples per pixel side.
        eyes: 2×3, eyeball centres. gaze: 3, unit direction of both eyes.
        look, light, scalp: see the named tuples. table: 16³ lattice noise.
    """
    height, width = triangle.shape
    value = np.empty(13, np.float64)
    last = occlusion.shape[0] - 1.0
    for row in range(height):
        for column in range(width):
            t = triangle[row, column]
            if t < 0:
                continue
            w0, w1 = weight[row, column, 0], weight[row, column, 1]
            w2 = 1 - w0 - w1
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            for c in range(13):
                value[c] = w0 * attributes[i, c] + w1 * attributes[j, c] + w2 * attributes[k, c]
            nx, ny, nz = value[0], value[1], value[2]
            x, y, z = value[6], value[7], value[8]
            kind = part[t]
            u, v = (row + 0.5) / ss - 0.5, (column + 0.5) / ss - 0.5
            u, v = min(max(u, 0.0), last), min(max(v, 0.0), last)
            i0, j0 = int(u), int(v)
            i1, j1 = min(i0 + 1, occlusion.shape[0] - 1), min(j0 + 1, occlusion.shape[1] - 1)
            u, v = u - i0, v - j0
            open_ = (occlusion[i0, j0] * (1 - v) + occlusion[i0, j1] * v) * (1 - u)
            open_ += (occlusion[i1, j0] * (1 - v) + occlusion[i1, j1] * v) * u
            shine, gloss, wrap, inner = 0.28, 22.0, 0.05, 0.0
            catch = 0.0
            if kind == 0:
                r, g, b, shine, gloss, inner = _skin_colour(
                    x, y, z, value[9], value[10], value[11], value[12], look, table
                )
                if z > 0.2 and inner < 0.5:
                    tilt_x, tilt_y, dark = _fold_normal(x, y, z, look)
                    nx += tilt_x * 0.8 + 0.05 * _noise(table, x * 60, y * 60, z * 60 + 7)
                    ny += tilt_y * 0.8 + 0.05 * _noise(table, x * 60 + 9, y * 60, z * 60)
                    r, g, b = r * (1 - 0.7 * dark), g * (1 - 0.95 * dark), b * (1 - dark)
                if y > 6.5 and (z < 1.0 or y > 7.5):
                    hair = 0.9 * scalp_density(x, y, z, value[10], scalp)
                    if hair > 0:
                        grain = 0.5 * hair
                        r = r * (1 - hair) + look.hair[0] * grain
                        g = g * (1 - hair) + look.hair[1] * grain
                        b = b * (1 - hair) + look.hair[2] * grain
                        shine *= 1 - 0.8 * hair
                wrap = 0.30
                if y < 6.35:  # the chin's shadow on the neck
                    open_ *= 0.45 + 0.55 * _step(0.9, 1.25, z + 0.9 * (y - 6.0))
            elif kind <= 2:
                e = kind - 1
                ex, ey, ez = value[3] - eyes[e, 0], value[4] - eyes[e, 1], value[5] - eyes[e, 2]
                length = np.sqrt(ex * ex + ey * ey + ez * ez) + 1e-9
                ex, ey, ez = ex / length, ey / length, ez / length
                r, g, b = _eye_colour(ex, ey, ez, gaze, look, table)
                nx, ny, nz = ex * 0.6, ey * 0.6, ez * 0.6 + 0.4
                shine, open_ = 0.0, max(open_, 0.75)
                sx = light.key[0] * 0.25 + gaze[0]
                sy, sz = 0.30 + gaze[1], 0.30 + gaze[2]
                length = np.sqrt(sx * sx + sy * sy + sz * sz)
                catch = _step(0.985, 0.993, (ex * sx + ey * sy + ez * sz) / length) * 0.7
            elif kind <= 4:
                gap = abs(np.sin(x * np.pi / 0.085))
                clean = 0.87 + 0.13 * _step(0.0, 0.25, gap)
                r, g, b = 0.80 * clean, 0.77 * clean, 0.70 * clean
                gum = (kind == 3 and y > 6.775) or (kind == 4 and y < 6.49)
                if gum:
                    r, g, b = 0.42, 0.14, 0.14
                depth = (look.lip_depth - 0.16 - value[5]) / 0.5
                depth = 0.0 if depth < 0 else (1.0 if depth > 1 else depth)
                level = (0.66 + 0.25 * max(nz, 0.0)) * (1 - 0.85 * depth)
                level *= min(1.0, 0.55 + 0.45 * open_) * (1 - 0.8 * _step(0.14, 0.27, abs(x)))
                image[row, column, 0] = r * level
                image[row, column, 1] = g * level
                image[row, column, 2] = b * level
                continue
            elif kind == 5:
                r, g, b, shine = 0.42, 0.13, 0.125, 0.35
            else:
                cloth = 1 + 0.1 * _noise(table, x * 25, y * 25, z * 25)
                r, g, b, shine = look.shirt[0] * cloth, look.shirt[1] * cloth, look.shirt[2] * cloth, 0.02
            if inner > 0.5 or kind == 5:
                depth = (look.lip_depth - 0.10 - value[5]) / 0.5
                depth = 0.0 if depth < 0 else (1.0 if depth > 1 else depth)
                open_ *= 1 - 0.85 * depth
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / length, ny / length, nz / length
            key = nx * light.key[0] + ny * light.key[1] + nz * light.key[2]
            fill = nx * light.fill[0] + ny * light.fill[1] + nz * light.fill[2]
            fresnel = 0.5 + 0.5 * (1 - max(nz, 0.0)) ** 3
            hx, hy, hz = light.key[0], light.key[1], light.key[2] + 1
            length = np.sqrt(hx * hx + hy * hy + hz * hz)
            half = max((nx * hx + ny * hy + nz * hz) / length, 0.0)
            mirror = shine * fresnel * 0.28 * half**gloss * (gloss + 8) / 60 * open_
            soft = open_**0.7
            for c in range(3):
                bleed = wrap * (1.25 if c == 0 else (0.75 if c == 1 else 0.55))  # light scatters in skin, red the most
                direct = light.key_colour[c] * max(key + bleed, 0.0) / (1 + bleed)
                direct += light.fill_colour[c] * max(fill + bleed, 0.0) / (1 + bleed)
                irradiance = direct * soft + light.ambient[c] * (0.7 + 0.3 * ny) * open_
                albedo = r if c == 0 else (g if c == 1 else b)
                image[row, column, c] = albedo * irradiance + mirror * light.key_colour[c] + catch


@njit(cache=True)
def shade_lashes(image, triangle, weight, triangles, tips, rest, strength):
    """Darkens the samples under the lash mesh; `tips` is V (0 root, 1 tip), `rest` V×3, `strength` 0 to 1."""
    height, width = triangle.shape
    for row in range(height):
        for column in range(width):
            t = triangle[row, column]
            if t < 0:
                continue
            w0, w1 = weight[row, column, 0], weight[row, column, 1]
            w2 = 1 - w0 - w1
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            x = w0 * rest[i, 0] + w1 * rest[j, 0] + w2 * rest[k, 0]
            tip = w0 * tips[i] + w1 * tips[j] + w2 * tips[k]
            cover = strength * (1 - tip) * (0.80 + 0.2 * np.sin(x * 330))
            cover = max(cover, 0.75 * _step(0.22, 0.10, tip))
            for c in range(3):
                image[row, column, c] = image[row, column, c] * (1 - cover) + 0.01 * cover


@njit(cache=True)
def shade_hair(image, triangle, weight, triangles, attributes, level, sheet, colour, light, scalp, table):
    """Blends one layer of hair over the image.

    Args:
        attributes: float32, V×10: normal, position, then rest position and ear mask for a shell on the scalp, or
            (across, along, density, inside) for a sheet of hanging hair.
        level: 0 (roots) to 1 (outermost layer).
        sheet: False for a shell, True for a sheet.
        colour: linear RGB of the hair.
    """
    height, width = triangle.shape
    for row in range(height):
        for column in range(width):
            t = triangle[row, column]
            if t < 0:
                continue
            w0, w1 = weight[row, column, 0], weight[row, column, 1]
            w2 = 1 - w0 - w1
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            nx = w0 * attributes[i, 0] + w1 * attributes[j, 0] + w2 * attributes[k, 0]
            ny = w0 * attributes[i, 1] + w1 * attributes[j, 1] + w2 * attributes[k, 1]
            nz = w0 * attributes[i, 2] + w1 * attributes[j, 2] + w2 * attributes[k, 2]
            a = w0 * attributes[i, 6] + w1 * attributes[j, 6] + w2 * attributes[k, 6]
            b = w0 * attributes[i, 7] + w1 * attributes[j, 7] + w2 * attributes[k, 7]
            d = w0 * attributes[i, 8] + w1 * attributes[j, 8] + w2 * attributes[k, 8]
            e = w0 * attributes[i, 9] + w1 * attributes[j, 9] + w2 * attributes[k, 9]
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / length, ny / length, nz / length
            shade = 1.0
            if sheet:
                across, along, density, shade = a, b, d, e
                tx, ty, tz = 0.1 * nx, -1.0, 0.15
            else:
                density = scalp_density(a, b, d, e, scalp)
                if density <= 0.02:
                    continue
                if scalp.flow == 0:
                    across, along = np.arctan2(a - scalp.part, 2.1 - d) * 14, b + d
                    tx, ty, tz = (-0.15 if a > 0 else 0.15), 0.75, -0.5
                elif scalp.flow == 1:
                    across, along = (d + 0.5 * b) * 8 + 3 * np.sin(a * 2), abs(a - scalp.part) * 2
                    tx, ty, tz = (0.8 if a > scalp.part else -0.8), -0.6, 0.0
                else:
                    across, along = np.arctan2(a - scalp.part * 0.5, d + 0.3) * 16 + b * scalp.part, b - d
                    tx, ty, tz = 0.1, -0.85, 0.5
            if scalp.curl > 0.5:
                scale = 1.0 / 9 if sheet else 1.0  # a sheet's coordinates are already stretched
                u, v, w = a * scale, b * scale, (0.0 if sheet else d)
                strand = 0.75 * _noise(table, u * 11, v * 11, w * 11) + 0.55 * _noise(
                    table, u * 25, v * 25, w * 25 + level
                )
                tx, ty, tz = nx, ny, nz
            else:
                strand = 0.30 * _noise(table, across * 1.6, along * 1.1, 2.0) + 0.50 * _noise(
                    table, across * 5.1, along * 1.6, 5.0
                )
                strand += 0.45 * _noise(table, across * 13.0, along * 2.0, 9.0)
            if sheet:
                cover = density * 1.9 - 0.2 - 0.25 * level + (0.12 + 0.5 * (1 - density)) * strand * scalp.ragged
            else:
                cover = density * 1.6 - 0.15 - 0.5 * level + 0.5 * strand * scalp.ragged
            cover = min(max(cover * 1.3, 0.0), 1.0)
            if cover <= 0:
                continue
            key = nx * light.key[0] + ny * light.key[1] + nz * light.key[2]
            fill = nx * light.fill[0] + ny * light.fill[1] + nz * light.fill[2]
            hx, hy, hz = light.key[0], light.key[1], light.key[2] + 1
            length = np.sqrt((hx * hx + hy * hy + hz * hz) * (tx * tx + ty * ty + tz * tz))
            along_light = (hx * tx + hy * ty + hz * tz) / length + 0.10 * strand
            gleam = max(1 - along_light * along_light, 0.0) ** 14 * 0.10 * max(key + 0.3, 0.0) * shade
            depth = (0.5 + 0.5 * level) * shade * max(1 + 0.33 * strand, 0.25)
            for c in range(3):
                lit = (
                    light.ambient[c]
                    + 0.85 * light.key_colour[c] * max(0.55 * key + 0.35, 0.0)
                    + 0.6 * light.fill_colour[c] * max(fill, 0.0)
                )
                hue = colour[c] / (0.02 + (colour[0] + colour[1] + colour[2]) / 3)
                value = colour[c] * lit * depth * 1.15 + gleam * light.key_colour[c] * (0.35 + 0.65 * min(hue, 1.6)) * (
                    0.35 + 0.65 * depth
                )
                image[row, column, c] = image[row, column, c] * (1 - cover) + value * cover
