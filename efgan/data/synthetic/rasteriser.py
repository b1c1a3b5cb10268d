"""Triangle rasteriser, vertex normals and box blur in numba.

Kernels in this file call only each other: numba's on-disk cache notices a change of the file a kernel stands in,
not of files it calls into.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def vertex_normals(vertices, triangles):
    """Area-weighted unit normals V×3 of a mesh (float32)."""
    normals = np.zeros_like(vertices)
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2]
        bx, by, bz = vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for c in (i, j, k):
            normals[c, 0] += nx
            normals[c, 1] += ny
            normals[c, 2] += nz
    for v in range(normals.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + np.float32(1e-12)
        normals[v, 0] /= length
        normals[v, 1] /= length
        normals[v, 2] /= length
    return normals


@njit(cache=True)
def soften(normals, triangles, amount):
    """Averages unit normals (V×3, in place) with their neighbours', three times, by `amount` per vertex (0 to 1)."""
    for _ in range(3):
        total = np.zeros_like(normals)
        for t in range(triangles.shape[0]):
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            if amount[i] + amount[j] + amount[k] == 0:
                continue
            for c in range(3):
                mean = normals[i, c] + normals[j, c] + normals[k, c]
                total[i, c] += mean
                total[j, c] += mean
                total[k, c] += mean
        for v in range(normals.shape[0]):
            if amount[v] == 0:
                continue
            length = np.sqrt(total[v, 0] ** 2 + total[v, 1] ** 2 + total[v, 2] ** 2) + np.float32(1e-12)
            for c in range(3):
                normals[v, c] += amount[v] * (total[v, c] / length - normals[v, c])


@njit(cache=True)
def rasterise(points, triangles, triangle, weight, depth):
    """Fills front-facing triangles into the buffers, nearest first.

    Args:
        points: float32, V×3: column, row (pixel centres at .5), depth (smaller is nearer).
        triangles: int32, T×3, counter-clockwise in a y-up view.
        triangle: int32, H×W, the visible triangle or -1. Written.
        weight: float32, H×W×2, barycentric weights of its first two corners. Written.
        depth: float32, H×W. Read and written: only nearer samples are drawn.
    """
    height, width = triangle.shape
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay = points[i, 0], points[i, 1]
        bx, by = points[j, 0], points[j, 1]
        cx, cy = points[k, 0], points[k, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area > -1e-9:
            continue
        x0 = max(int(np.floor(min(ax, bx, cx) - 0.5)), 0)
        x1 = min(int(np.ceil(max(ax, bx, cx) + 0.5)), width)
        y0 = max(int(np.floor(min(ay, by, cy) - 0.5)), 0)
        y1 = min(int(np.ceil(max(ay, by, cy) + 0.5)), height)
        if x0 >= x1 or y0 >= y1:
            continue
        inverse = 1.0 / area
        for y in range(y0, y1):
            py = y + 0.5
            for x in range(x0, x1):
                px = x + 0.5
                w0 = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * inverse
                if w0 < -1e-5:
                    continue
                w1 = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * inverse
                if w1 < -1e-5 or w0 + w1 > 1.00001:
                    continue
                z = w0 * points[i, 2] + w1 * points[j, 2] + (1 - w0 - w1) * points[k, 2]
                if z < depth[y, x]:
                    depth[y, x] = z
                    triangle[y, x] = t
                    weight[y, x, 0] = w0
                    weight[y, x, 1] = w1


@njit(cache=True)
def box_blur(image, radius):
    """Two passes of a separable box blur (close to a Gaussian) of a float32 H×W image, edges clamped."""
    height, width = image.shape
    current = image.copy()
    other = np.empty_like(image)
    scale = np.float32(1.0 / (2 * radius + 1))
    for _ in range(2):
        for y in range(height):
            total = current[y, 0] * (radius + 1)
            for x in range(1, radius + 1):
                total += current[y, min(x, width - 1)]
            for x in range(width):
                other[y, x] = total * scale
                total += current[y, min(x + radius + 1, width - 1)] - current[y, max(x - radius, 0)]
        for x in range(width):
            total = other[0, x] * (radius + 1)
            for y in range(1, radius + 1):
                total += other[min(y, height - 1), x]
            for y in range(height):
                current[y, x] = total * scale
                total += other[min(y + radius + 1, height - 1), x] - other[max(y - radius, 0), x]
    return current
