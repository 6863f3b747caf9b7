"""Figures, images and fonts."""

from checks_registry import check


@check("matplotlib")
def check_matplotlib():
    import hashlib
    import io

    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.path import Path
    from matplotlib.tri import Triangulation

    figure = Figure(figsize=(4, 3), dpi=80)
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    x = np.linspace(0, 6, 50)
    left.plot(x, np.sin(x), "o--", label=r"$\sin\,\alpha^2$")
    left.set_title("Höhe")
    left.legend()
    right.imshow(np.outer(np.sin(x), np.cos(x)), cmap="magma")
    right.contour(np.outer(np.sin(x), np.cos(x)), levels=[0])
    figure.tight_layout()
    png, svg = io.BytesIO(), io.BytesIO()
    canvas.print_png(png)
    figure.savefig(svg, format="svg", metadata={"Date": None})
    triangles = Triangulation([0, 1, 0, 1.0], [0, 0, 1, 1.0])
    return {
        "pixels": hashlib.sha256(canvas.buffer_rgba()).hexdigest(),
        "shape": np.asarray(canvas.buffer_rgba()).shape,
        "png": png.getvalue()[:4],
        "svg": svg.getvalue().count(b"<path"),
        "inside": Path.unit_circle().contains_points([[0.1, 0.1], [2, 2]]).tolist(),
        "finder": triangles.get_trifinder()([0.1, 0.9], [0.1, 0.8]).tolist(),
    }


@check("pillow")
def check_pillow():
    import io

    from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageFilter, ImageFont, ImageStat, UnidentifiedImageError

    image = Image.new("RGB", (60, 40), "navy")
    draw = ImageDraw.Draw(image)
    draw.ellipse((5, 5, 40, 35), fill="gold", outline="red", width=2)
    draw.text((8, 10), "Ünïcode", font=ImageFont.load_default(14), fill="white")
    results = {"drawn": image.tobytes()}
    for form in ("PNG", "GIF", "TIFF", "JPEG", "WEBP", "JPEG2000"):
        file = io.BytesIO()
        image.filter(ImageFilter.GaussianBlur(2)).save(file, form)
        results[form] = Image.open(file).convert("RGB").tobytes()
    frames = io.BytesIO()
    image.save(frames, "GIF", save_all=True, append_images=[image.rotate(30)], duration=50)
    rgb = ImageCms.createProfile("sRGB")
    lab = ImageCms.profileToProfile(image, rgb, ImageCms.createProfile("LAB"), outputMode="LAB")
    try:
        Image.open(io.BytesIO(b"nothing"))
    except UnidentifiedImageError as error:
        results["error"] = type(error).__name__
    return results | {
        "frames": Image.open(frames).n_frames,
        "resized": image.resize((9, 7), Image.Resampling.LANCZOS).tobytes(),
        "warped": image.transform((20, 20), Image.Transform.AFFINE, (1, 0.2, 0, 0.1, 1, 0)).tobytes(),
        "colours": image.quantize(8).getcolors(),
        "lookup": image.point(lambda value: 255 - value).getpixel((30, 20)),
        "mean": ImageStat.Stat(ImageChops.difference(image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))).mean,
        "lab": lab.getpixel((30, 20)),
    }


@check("opencv-python-headless")
def check_opencv():
    import cv2
    import numpy as np

    image = np.zeros((120, 160, 3), np.uint8)
    cv2.rectangle(image, (20, 20), (70, 80), (0, 200, 255), -1)
    cv2.circle(image, (110, 60), 30, (255, 100, 0), 3)
    cv2.putText(image, "owngil", (30, 110), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 1)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    contours, _ = cv2.findContours(
        cv2.threshold(grey, 50, 255, cv2.THRESH_BINARY)[1], cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )
    png = cv2.imencode(".png", image)[1]
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    points = cv2.ORB_create(50).detect(grey, None)
    turn = cv2.getRotationMatrix2D((80, 60), 30, 1)
    try:
        cv2.cvtColor(grey, cv2.COLOR_BGR2GRAY)
    except cv2.error as error:
        code = error.code
    return {
        "blurred": cv2.GaussianBlur(image, (7, 7), 1.5)[20:24, 18:24],
        "edges": int(cv2.Canny(grey, 50, 150).sum()),
        "areas": sorted(cv2.contourArea(contour) for contour in contours)[-3:],
        "turned": cv2.warpAffine(image, turn, (160, 120)).sum(axis=(0, 1)),
        "png": bool((cv2.imdecode(png, cv2.IMREAD_COLOR) == image).all()),
        "jpeg": cv2.imdecode(jpeg, cv2.IMREAD_COLOR).mean().round(3).item(),
        "orb": sorted((round(p.pt[0], 2), round(p.pt[1], 2)) for p in points),
        "parts": cv2.connectedComponents(grey)[0],
        "histogram": cv2.calcHist([image], [0], None, [4], [0, 256]).ravel(),
        "solved": cv2.solve(np.array([[2.0, 1], [1, 3]]), np.array([[1.0], [2]]))[1].round(10),
        "error": code,
    }


@check("scikit-image")
def check_scikit_image():
    import numpy as np
    from skimage import (
        draw,
        exposure,
        feature,
        filters,
        graph,
        measure,
        morphology,
        restoration,
        segmentation,
        transform,
    )

    image = np.zeros((64, 64))
    image[draw.disk((20, 20), 10)] = 1
    image[draw.disk((42, 40), 14)] = 0.6
    smooth = filters.gaussian(image, 1.5)
    labels = measure.label(image > 0)
    return {
        "threshold": round(float(filters.threshold_otsu(smooth)), 6),
        "regions": [
            (region.label, int(region.area), round(region.eccentricity, 6)) for region in measure.regionprops(labels)
        ],
        "edges": int(feature.canny(smooth).sum()),
        "corners": feature.peak_local_max(smooth, min_distance=5),
        "watershed": np.bincount(segmentation.watershed(-smooth, mask=image > 0).ravel()),
        "superpixels": np.unique(segmentation.slic(image, 6, channel_axis=None)).tolist(),
        "skeleton": int(morphology.skeletonize(image > 0).sum()),
        "opened": morphology.opening(image, morphology.disk(3)).sum().round(6).item(),
        "radon": transform.radon(smooth, [0, 45], circle=False)[30].round(6),
        "warped": transform.resize(smooth, (5, 5)).round(6),
        "denoised": restoration.denoise_tv_chambolle(image, 0.1).sum().round(4).item(),
        "equalised": exposure.equalize_adapthist(smooth)[20, 18:22].round(6),
        "route": len(graph.route_through_array(1 - smooth, (0, 0), (63, 63))[0]),
        "contours": [line[:3].round(6).tolist() for line in measure.find_contours(smooth, 0.3)],
    }


@check("contourpy")
def check_contourpy():
    import contourpy
    import numpy as np

    x, y = np.meshgrid(np.linspace(-2, 2, 30), np.linspace(-2, 2, 25))
    z = np.ma.masked_where(x + y > 3, np.exp(-(x**2) - y**2))
    lines = {
        name: [contourpy.contour_generator(x, y, z, name=name).lines(level)[0][0].round(8) for level in (0.3, 0.6)]
        for name in ("mpl2014", "serial")
    }
    threaded = contourpy.contour_generator(
        x, y, z, name="threaded", line_type="Separate", chunk_count=4, thread_count=2
    )
    lines["threaded"] = sorted(line.round(8).tolist() for line in threaded.lines(0.3))
    filled, offsets = contourpy.contour_generator(x, y, z, fill_type="OuterOffset").filled(0.2, 0.7)
    return lines, [part.round(8) for part in filled], offsets


@check("kiwisolver")
def check_kiwisolver():
    import kiwisolver

    left, middle, right = (kiwisolver.Variable(name) for name in ("left", "middle", "right"))
    solver = kiwisolver.Solver()
    limit = (right <= 100) | "strong"
    for constraint in (left >= 0, middle * 2 == left + right, right - left >= 40, limit, (left == 10) | "weak"):
        solver.addConstraint(constraint)
    found = []
    solver.addEditVariable(middle, "strong")
    for wish in (60, 95):
        solver.suggestValue(middle, wish)
        solver.updateVariables()
        found.append((left.value(), middle.value(), right.value()))
    solver.removeConstraint(limit)
    solver.suggestValue(middle, 120)
    solver.updateVariables()
    try:
        solver.addConstraint(left <= -1)
    except kiwisolver.UnsatisfiableConstraint as error:
        message = type(error).__name__
    return found, right.value(), (2 * left + 3).value(), message


@check("fonttools")
def check_fonttools():
    import io

    from fontTools import subset
    from fontTools.cu2qu import curve_to_quadratic
    from fontTools.fontBuilder import FontBuilder
    from fontTools.misc import bezierTools
    from fontTools.pens.momentsPen import MomentsPen
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    from fontTools.ttLib import TTFont
    from fontTools.varLib.iup import iup_delta

    outlines = {}
    for name, top in ((".notdef", 500), ("A", 700), ("B", 650)):
        pen = TTGlyphPen(None)
        pen.moveTo((50, 0))
        pen.lineTo((250, top))
        pen.qCurveTo((400, top), (450, 0))
        pen.closePath()
        outlines[name] = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(list(outlines))
    builder.setupCharacterMap({65: "A", 66: "B"})
    builder.setupGlyf(outlines)
    builder.setupHorizontalMetrics(dict.fromkeys(outlines, (500, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Owngil", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.updateHead(created=3_800_000_000, modified=3_800_000_000)
    builder.font.recalcTimestamp = False
    builder.addOpenTypeFeatures("feature kern { pos A B -40; } kern;")
    file = io.BytesIO()
    builder.save(file)
    font = TTFont(io.BytesIO(file.getvalue()), recalcTimestamp=False)
    subsetter = subset.Subsetter()
    subsetter.populate(text="A")
    subsetter.subset(font)
    small = io.BytesIO()
    font.save(small)
    moments = MomentsPen()
    builder.font.getGlyphSet()["A"].draw(moments)
    cubic = ((0, 0), (10, 80), (90, 80), (100, 0))
    return {
        "font": file.getvalue(),
        "subset": small.getvalue(),
        "glyphs": font.getGlyphOrder(),
        "area": round(moments.area, 6),
        "bounds": bezierTools.calcCubicBounds(*cubic),
        "split": bezierTools.splitCubicAtT(*cubic, 0.5),
        "quadratic": curve_to_quadratic(cubic, 1.0),
        "deltas": iup_delta([(0, 0), None, (10, 10), *[(0, 0)] * 4], [(0, 0), (5, 5), (20, 10), *[(0, 0)] * 4], [2]),
    }
