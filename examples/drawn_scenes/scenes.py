"""Draws scenes and asks about them.

A scene is one or two pictures and a few dialogues about them; everything comes from one
`random.Random`, so a seed names a scene. `Mark`s say what stands where: training uses them for its
extra losses, questions are made from the same facts.
"""

import functools
import math
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

SHAPES = ["circle", "square", "triangle", "star", "heart", "diamond", "cross"]
COLOURS = {
    "red": (222, 38, 38),
    "orange": (247, 140, 20),
    "yellow": (240, 214, 30),
    "green": (38, 158, 62),
    "blue": (38, 88, 222),
    "purple": (128, 48, 170),
    "pink": (246, 132, 190),
    "black": (28, 28, 28),
}
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
WORDS = """ACT AIR ANT APPLE ARM ART BAG BAKE BALL BAND BANK BAR BATH BEACH BEAR BED BEE BELL BIKE BIRD
BLUE BOAT BOOK BOX BOY BREAD BUS BUSH CAFE CAKE CALL CAMP CAR CARD CAT CHAIR CITY CLOCK CLUB COAT
COLD COOK COW CUP DANCE DAY DESK DOG DOOR DOWN DREAM DUCK EAR EARTH EAST EGG EXIT EYE FACE FARM
FAST FIRE FISH FLAG FLY FOOD FOOT FOX FROG FRUIT FUN GAME GATE GIFT GIRL GLASS GO GOAT GOLD GRASS
GREEN HALL HAND HAT HELLO HELP HEN HILL HOME HORSE HOT HOTEL HOUSE ICE IN INK IRON JAM JAZZ JOB
JUICE JUMP KEY KING KITE LAKE LAMP LEAF LEFT LEMON LIGHT LION LOVE MAP MARKET MEAL MENU MILK MIX
MOON MOUSE MUSIC NEST NIGHT NO NORTH NUT OAK OCEAN OFF OLD ON OPEN OUT OWL PAINT PARK PEN PHONE
PIANO PIG PIZZA PLANE PLANT PLAY POND PULL PUSH QUEEN QUICK QUIET RADIO RAIN RED RICE RING RIVER
ROAD ROBOT ROCK ROOM ROSE SALE SALT SAND SEA SHEEP SHIP SHOE SHOP SKY SLOW SNOW SOAP SONG SOUP
SOUTH SPOON STAR STOP SUGAR SUN SWIM TABLE TAXI TEA TENT TIGER TOWN TOY TRAIN TREE TRUCK UP VAN
VIDEO VOTE WALK WATER WAVE WEST WHITE WIND WOLF WOOD YES ZEBRA ZERO ZOO""".split()
WORDS = [word for word in WORDS if len(word) <= 5]
PLACES = {
    "top left": (0.25, 0.25),
    "top right": (0.75, 0.25),
    "bottom left": (0.25, 0.75),
    "bottom right": (0.75, 0.75),
    "center": (0.5, 0.5),
}
NUMBER_WORDS = ["no", "one", "two", "three", "four", "five", "six"]
TILE_PIXELS = 112
MAX_TILES = 4
MAX_COUNT = 6


@dataclass
class Mark:
    """What stands in a box (fractions of the picture's width and height); 0 means none."""

    box: tuple
    shape: int = 0
    colour: int = 0
    character: int = 0


@dataclass
class Turn:
    question: str
    answers: list  # the first one is taught, all are accepted
    kind: str


@dataclass
class Thing:
    shape: str
    colour: str
    place: str = ""


@dataclass
class Picture:
    image: Image.Image
    things: list = field(default_factory=list)
    text: str = ""
    marks: list = field(default_factory=list)


@dataclass
class Scene:
    pictures: list
    max_tiles: int
    dialogues: list  # of lists of Turn


# ---------------------------------------------------------------------------------------- drawing


@functools.lru_cache(maxsize=None)
def font(size):
    return ImageFont.load_default(size)


def outline_points(shape, x0, y0, x1, y1):
    """The polygon of a shape inside a box."""
    cx, cy, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    if shape == "square":
        unit = [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]
    elif shape == "triangle":
        unit = [(0, -1), (1, 0.9), (-1, 0.9)]
    elif shape == "diamond":
        unit = [(0, -1), (0.8, 0), (0, 1), (-0.8, 0)]
    elif shape == "cross":
        a, b = 0.34, 1.0
        unit = [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
    elif shape == "star":
        unit = []
        for k in range(10):
            radius, angle = (1.05 if k % 2 == 0 else 0.44), math.pi * k / 5
            unit.append((radius * math.sin(angle), 0.08 - radius * math.cos(angle)))
    elif shape == "heart":
        unit = []
        for k in range(24):
            t = 2 * math.pi * k / 24
            x = math.sin(t) ** 3
            y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
            unit.append((x, -(y + 2.5) / 15))
    else:
        raise ValueError(shape)
    return [(cx + rx * x, cy + ry * y) for x, y in unit]


def shade(rng, rgb, spread=14):
    return tuple(max(0, min(255, c + rng.randint(-spread, spread))) for c in rgb)


def pale(rng):
    """A background colour, light enough that every object colour stands out."""
    base = rng.randint(228, 255)
    return tuple(min(255, max(214, base + rng.randint(-16, 10))) for _ in range(3))


def background(rng, width, height):
    image = Image.new("RGB", (width, height), pale(rng))
    draw = ImageDraw.Draw(image)
    style = rng.random()
    if style < 0.2:  # a horizon
        draw.rectangle((0, int(height * rng.uniform(0.4, 0.85)), width, height), fill=pale(rng))
    elif style < 0.28:  # a frame
        draw.rectangle(
            (0, 0, width - 1, height - 1),
            outline=shade(rng, (150, 150, 150), 60),
            width=max(1, min(width, height) // 50),
        )
    elif style < 0.36:  # stripes
        colour, step = pale(rng), rng.randint(10, 30) * max(1, width // 112)
        for x in range(0, width, 2 * step):
            draw.rectangle((x, 0, x + step, height), fill=colour)
    return image, draw


def draw_thing(rng, draw, size, thing, box):
    """Draws one object in a box of pixels and returns its mark."""
    fill = shade(rng, COLOURS[thing.colour])
    line = (20, 20, 20) if rng.random() < 0.2 else fill
    x0, y0, x1, y1 = box
    if thing.shape == "circle":
        draw.ellipse(box, fill=fill, outline=line)
    else:
        draw.polygon(outline_points(thing.shape, *box), fill=fill, outline=line)
    width, height = size
    return Mark(
        (x0 / width, y0 / height, x1 / width, y1 / height),
        shape=1 + SHAPES.index(thing.shape),
        colour=1 + list(COLOURS).index(thing.colour),
    )


def draw_text(rng, draw, size, text, x, y, height, ink, spacing):
    """Draws characters one by one, top left corner at x, y; returns the right edge and the marks."""
    face, marks = font(max(8, round(height / 0.72))), []
    for c in text:
        advance = face.getlength(c)
        draw.text((x, y + height), c, font=face, fill=ink, anchor="ls")
        box = (x / size[0], y / size[1], (x + advance) / size[0], (y + height) / size[1])
        marks.append(Mark(box, character=1 + CHARACTERS.index(c)))
        x += advance + spacing
    return x - spacing, marks


def text_width(text, height, spacing):
    face = font(max(8, round(height / 0.72)))
    return sum(face.getlength(c) for c in text) + spacing * (len(text) - 1)


def draw_sign(rng, draw, size, text, region):
    """Writes a text somewhere in a region of pixels, on a plate or bare."""
    x0, y0, x1, y1 = region
    unit = min(size) / 112
    height = rng.uniform(13, 27) * unit
    margin = 6 * unit
    spacing = rng.uniform(0.0, 0.14) * height
    room_x, room_y = x1 - x0 - 2 * margin, y1 - y0 - 2 * margin
    height = min(height, room_y, height * room_x / text_width(text, height, spacing))
    spacing = min(spacing, 0.14 * height)
    while height > 9 and text_width(text, height, spacing) > room_x:
        height *= 0.95
    width = text_width(text, height, spacing)
    x = x0 + margin + rng.uniform(0, max(0, room_x - width))
    y = y0 + margin + rng.uniform(0, max(0, room_y - height))
    dark = shade(rng, rng.choice([(20, 20, 20), (20, 20, 110), (120, 15, 15), (10, 80, 30)]), 12)
    plate = rng.random()
    if plate < 0.3:
        paper, ink = pale(rng), dark
    elif plate < 0.5:
        paper, ink = dark, (250, 250, 250)
    else:
        paper, ink = None, dark
    if paper:
        pad = rng.uniform(0.5, 0.95) * margin
        draw.rectangle(
            (x - pad, y - pad, x + width + pad, y + height + pad),
            fill=paper,
            outline=ink if rng.random() < 0.6 else paper,
        )
    return draw_text(rng, draw, size, text, x, y, height, ink, spacing)[1]


def cells_for(rng, n, region):
    """n boxes of pixels that do not overlap, somewhere in a region."""
    x0, y0, x1, y1 = region
    width, height = x1 - x0, y1 - y0
    columns, rows = 1, 1
    while columns * rows < n + rng.randint(0, 2):
        if width / columns >= height / rows:
            columns += 1
        else:
            rows += 1
    cw, ch = width / columns, height / rows
    boxes = []
    for cell in rng.sample(range(columns * rows), n):
        extent = min(cw, ch) * rng.uniform(0.58, 0.92)
        extent = min(extent, rng.uniform(0.55, 0.7) * min(width, height) if n > 1 else extent)
        w, h = extent, extent * rng.uniform(0.93, 1.07)
        h = min(h, 0.95 * ch)
        x = x0 + (cell % columns) * cw + rng.uniform(0.02 * cw, max(0.02 * cw, cw - w))
        y = y0 + (cell // columns) * ch + rng.uniform(0.02 * ch, max(0.02 * ch, ch - h))
        boxes.append((x, y, x + w, y + h))
    return boxes


def box_at(rng, place, size, share):
    width, height = size
    extent = min(width, height) * share
    cx = width * (PLACES[place][0] + rng.uniform(-0.06, 0.06))
    cy = height * (PLACES[place][1] + rng.uniform(-0.06, 0.06))
    return (cx - extent / 2, cy - extent / 2, cx + extent / 2, cy + extent / 2)


def picture_size(rng, columns, rows):
    """Pixels of a picture that is to be cut into columns x rows tiles: mostly about their size."""
    scales = [0.9, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0 if columns * rows == 1 else 1.0]
    unit = TILE_PIXELS * (1.0 if rng.random() < 0.6 else rng.choice(scales))
    stretch = rng.uniform(0.94, 1.06) if rng.random() < 0.5 else 1.0
    return round(unit * columns * stretch), round(unit * rows)


def draw_picture(rng, grid, things, text="", places=False):
    size = picture_size(rng, *grid) if grid else (TILE_PIXELS, TILE_PIXELS)
    image, draw = background(rng, *size)
    width, height = size
    picture = Picture(image, things, text)
    if places:
        for thing in things:
            box = box_at(rng, thing.place, size, rng.uniform(0.24, 0.36))
            picture.marks.append(draw_thing(rng, draw, size, thing, box))
        return picture
    region = (0.02 * width, 0.02 * height, 0.98 * width, 0.98 * height)
    if text:
        sign = region
        if things:  # the sign above or below, the objects in the rest
            cut = rng.uniform(0.42, 0.55)
            upper = (region[0], region[1], region[2], cut * height)
            lower = (region[0], cut * height, region[2], region[3])
            sign, region = (upper, lower) if rng.random() < 0.5 else (lower, upper)
        picture.marks += draw_sign(rng, draw, size, text, sign)
    for thing, box in zip(things, cells_for(rng, len(things), region) if things else []):
        picture.marks.append(draw_thing(rng, draw, size, thing, box))
    return picture


def dense_tile(rng, side=112):
    """One tile full of objects and characters, also cut at its edges: for the tower alone."""
    image, draw = background(rng, side, side)
    size, marks = (side, side), []
    cell = rng.choice([14, 18, 22, 28, 34, 42, 56])
    text_share = rng.choice([0.15, 0.6, 0.95])
    y = -rng.uniform(0, 0.8 * cell)
    while y < side:
        x = -rng.uniform(0, 0.8 * cell)
        if rng.random() < text_share:
            height = max(7.0, cell * rng.uniform(0.45, 0.8))
            ink = shade(rng, rng.choice([(20, 20, 20), (20, 20, 110), (120, 15, 15)]), 12)
            if rng.random() < 0.25:
                draw.rectangle((0, y - 2, side, y + height + 2), fill=ink)
                ink = (250, 250, 250)
            text = "".join(rng.choice(CHARACTERS) for _ in range(2 + int(side / height)))
            marks += draw_text(rng, draw, size, text, x, y, height, ink, rng.uniform(0, 0.14) * height)[1]
            y += height + rng.uniform(0.1, 0.4) * cell + 3
            continue
        while x < side:
            if rng.random() < 0.75:
                thing = Thing(rng.choice(SHAPES), rng.choice(list(COLOURS)))
                extent = cell * rng.uniform(0.65, 0.95)
                marks.append(draw_thing(rng, draw, size, thing, (x, y, x + extent, y + extent)))
            x += cell
        y += cell
    return Picture(image, marks=marks)


# -------------------------------------------------------------------------------------- questions


def plural(shape):
    return "crosses" if shape == "cross" else shape + "s"


def counted(n, colour, shape):
    return f"{NUMBER_WORDS[n]} {colour} {shape if n == 1 else plural(shape)}"


def count_of(things, shape=None, colour=None):
    return sum((not shape or t.shape == shape) and (not colour or t.colour == colour) for t in things)


def noun(shape, colour, many=False):
    """'red circle', 'circles', 'red objects', 'objects'."""
    name = (plural(shape) if many else shape) if shape else ("objects" if many else "object")
    return f"{colour} {name}" if colour else name


def some_description(rng, things):
    """A shape, a colour or both that may or may not be there."""
    seen, other = rng.choice(things), Thing(rng.choice(SHAPES), rng.choice(list(COLOURS)))
    shape, colour = rng.choice([seen, seen, other]).shape, rng.choice([seen, seen, other]).colour
    return rng.choice([(shape, None), (None, colour), (shape, colour)])


def yes(flag):
    return ["yes" if flag else "no"]


def spelt(rng, question):
    return question.replace("color", "colour") if rng.random() < 0.25 else question


def ask_colour(rng, things):
    unique = [s for s in {t.shape: 0 for t in things} if len({t.colour for t in things if t.shape == s}) == 1]
    if not unique:
        return None
    shape = rng.choice(unique)
    colour = next(t.colour for t in things if t.shape == shape)
    if count_of(things, shape) == 1:
        question = rng.choice(
            [
                f"What color is the {shape}?",
                f"Which color does the {shape} have?",
                f"What is the color of the {shape}?",
            ]
        )
    else:
        question = rng.choice(
            [
                f"What color are the {plural(shape)}?",
                f"Which color do the {plural(shape)} have?",
                f"What is the color of the {plural(shape)}?",
            ]
        )
    return Turn(spelt(rng, question), [colour], "colour"), (shape, colour)


def ask_shape(rng, things):
    unique = [
        c for c in {t.colour: 0 for t in things} if len({t.shape for t in things if t.colour == c}) == 1
    ]
    if not unique:
        return None
    colour = rng.choice(unique)
    shape = next(t.shape for t in things if t.colour == colour)
    if len(things) == 1 and rng.random() < 0.5:
        question = "What shape is this?"
    elif count_of(things, colour=colour) == 1:
        question = rng.choice([f"What shape is the {colour} object?", f"Which shape is {colour}?"])
    else:
        question = f"What shape are the {colour} objects?"
    return Turn(question, [shape], "shape"), (shape, colour)


def ask_yes_no(rng, things):
    wanted = rng.random() < 0.5
    for _ in range(20):
        shape, colour = some_description(rng, things)
        found = count_of(things, shape, colour) > 0
        if found == wanted:
            break
    name = noun(shape, colour)
    article = "an" if name[0] in "aeiou" else "a"
    question = rng.choice([f"Is there {article} {name}?", f"Do you see {article} {name}?"])
    return Turn(question, yes(found), "yes/no"), (shape, colour) if found else None


def ask_is_it(rng, things):
    asked = ask_colour(rng, things)
    if not asked or count_of(things, asked[1][0]) != 1:
        return None
    shape, colour = asked[1]
    guess = colour if rng.random() < 0.5 else rng.choice([c for c in COLOURS if c != colour])
    return Turn(f"Is the {shape} {guess}?", yes(guess == colour), "yes/no"), (shape, colour)


def ask_count(rng, things):
    shape, colour = some_description(rng, things) if rng.random() < 0.65 else (None, None)
    name = noun(shape, colour, many=True)
    question = rng.choice(
        [
            f"How many {name} are there?",
            f"How many {name} do you see?",
            f"How many {name}?",
            f"Count the {name}.",
        ]
    )
    return Turn(question, [str(count_of(things, shape, colour))], "count"), (shape, colour)


def ask_where(rng, things):
    thing = rng.choice(things)
    name = rng.choice([noun(thing.shape, None), noun(None, thing.colour), noun(thing.shape, thing.colour)])
    question = rng.choice([f"Where is the {name}?", f"Where in the picture is the {name}?"])
    return Turn(question, [thing.place], "where"), (thing.shape, thing.colour)


def description(things):
    """Accepted sentences: the larger group first is taught, both orders are accepted."""
    groups = {}
    for t in things:
        groups[t.colour, t.shape] = groups.get((t.colour, t.shape), 0) + 1
    order = sorted(groups, key=lambda g: (-groups[g], g))
    sentences = []
    for names in (order, order[::-1]):
        verb = "is" if groups[names[0]] == 1 else "are"
        sentences.append(f"There {verb} " + " and ".join(counted(groups[g], *g) for g in names) + ".")
    return sorted(set(sentences), key=sentences.index)


def ask_describe(rng, things):
    kind = "describe one group" if len({(t.colour, t.shape) for t in things}) == 1 else "describe two groups"
    question = rng.choice(
        ["Describe the picture.", "What is in this picture?", "Describe this image.", "What do you see?"]
    )
    return Turn(question, description(things), kind), None


def ask_text(rng, text):
    kind = "number" if text.isdigit() else "word"
    question = rng.choice(
        [
            f"What {kind} is written here?",
            f"Which {kind} do you see?",
            f"Read the {kind}.",
            "What does the sign say?",
            "What does it say?",
            "Read the text.",
        ]
    )
    return Turn(question, [text], kind)


def follow_up(rng, things, turn, topic):
    """A second turn that needs the first one: it says 'it', 'they' or 'and'."""
    if turn.kind in ("describe one group", "describe two groups") or topic is None:
        new = ask_count(rng, things)[0]
    else:
        shape, colour = topic
        n = count_of(things, shape, colour)
        matching = [
            t for t in things if (not shape or t.shape == shape) and (not colour or t.colour == colour)
        ]
        other = some_description(rng, things) if rng.random() < 0.7 else (None, None)
        number = str(count_of(things, *other))
        options = [Turn(f"And how many {noun(*other, many=True)} are there?", [number], "")]
        if turn.kind == "count":
            options = [Turn(f"And how many {noun(*other, many=True)}?", [number], "")]
        elif n > 1:
            options = [Turn("How many are there?", [str(n)], "")]
        if n and turn.kind != "colour" and not colour and len({t.colour for t in matching}) == 1:
            question = spelt(rng, "What color is it?" if n == 1 else "What color are they?")
            options.append(Turn(question, [matching[0].colour], ""))
        if n and turn.kind != "shape" and not shape and len({t.shape for t in matching}) == 1:
            options.append(
                Turn("What shape is it?" if n == 1 else "What shape are they?", [matching[0].shape], "")
            )
        if n == 1 and matching[0].place and turn.kind != "where":
            options += 2 * [Turn("Where is it?", [matching[0].place], "")]
        new = rng.choice(options)
    return Turn(new.question, new.answers, "second turn")


def dialogue_about(rng, picture, askers):
    asked = None
    while not asked:
        asked = rng.choice(askers)(rng, picture.things)
    turn, topic = asked
    if rng.random() < 0.35:
        return [turn, follow_up(rng, picture.things, turn, topic)]
    return [turn]


def dialogue_about_text(rng, picture):
    turn = ask_text(rng, picture.text)
    if picture.things and rng.random() < 0.3:
        second = rng.choice([ask_yes_no, ask_count])(rng, picture.things)[0]
        return [turn, Turn(second.question, second.answers, "second turn")]
    return [turn]


ORDINALS = ["first", "second"]


def ask_pair(rng, first, second):
    """One question about two pictures."""
    both = first + second
    shape = rng.choice(both).shape if rng.random() < 0.5 else None
    colour = None if shape or rng.random() < 0.7 else rng.choice(both).colour
    a, b = count_of(first, shape, colour), count_of(second, shape, colour)
    name = noun(shape, colour, many=True)
    form = rng.random()
    if form < 0.55:
        question = rng.choice([f"Which picture has more {name}?", f"In which picture are more {name}?"])
        answer = "the first" if a > b else "the second" if b > a else "the same"
        return Turn(question, [answer], "which has more")
    if form < 0.8:
        question = rng.choice(
            [
                f"Do both pictures have the same number of {name}?",
                f"Are there as many {name} in both pictures?",
            ]
        )
        return Turn(question, yes(a == b), "same number")
    return Turn(f"How many {name} are there in both pictures together?", [str(a + b)], "count together")


def ask_one_of_pair(rng, pictures):
    """Questions about one picture of a pair: taught, because they help, but not in the scope."""
    n = rng.randrange(2)
    if rng.random() < 0.6:
        shape, colour = some_description(rng, pictures[n].things) if rng.random() < 0.4 else (None, None)
        name = noun(shape, colour, many=True)
        answer = str(count_of(pictures[n].things, shape, colour))
        return Turn(f"How many {name} are in the {ORDINALS[n]} picture?", [answer], "outside the scope")
    return Turn(f"Describe the {ORDINALS[n]} picture.", description(pictures[n].things), "outside the scope")


# ----------------------------------------------------------------------------------------- scenes


def random_text(rng):
    if rng.random() < 0.5:
        return "".join(rng.choice("0123456789") for _ in range(rng.choice([1, 2, 2, 3, 3, 4, 4, 5, 5])))
    if rng.random() < 0.5:
        return rng.choice(WORDS)
    return "".join(rng.choice(CHARACTERS[:26]) for _ in range(rng.choice([2, 3, 3, 4, 4, 5, 5])))


def group_things(rng, groups, most=MAX_COUNT):
    """Objects in one or two groups of the same colour and shape."""
    shapes, colours = rng.sample(SHAPES, groups), rng.sample(list(COLOURS), groups)
    if groups == 2 and rng.random() < 0.25:
        if rng.random() < 0.5:
            shapes[1] = shapes[0]
        else:
            colours[1] = colours[0]
    if groups == 1:
        sizes = [rng.randint(1, most)]
    else:
        total = rng.randint(2, most) if rng.random() < 0.8 else most
        sizes = [rng.randint(1, total - 1)]
        sizes.append(total - sizes[0])
    return [Thing(s, c) for s, c, n in zip(shapes, colours, sizes) for _ in range(n)]


def mixed_things(rng):
    shapes, colours = rng.sample(SHAPES, 3), rng.sample(list(COLOURS), 3)
    return [Thing(rng.choice(shapes), rng.choice(colours)) for _ in range(rng.choice([2, 3, 4, 5, 5, 6, 6]))]


def random_grid(rng):
    grids = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (1, 3)]
    return rng.choices(grids, weights=[50, 16, 10, 17, 4, 3])[0]


def different(n, talk):
    """Up to n dialogues that do not start with the same question."""
    talks = {}
    for _ in range(2 * n):
        turns = talk()
        talks.setdefault(turns[0].question, turns)
        if len(talks) == n:
            break
    return list(talks.values())


def pair_scene(rng, dialogues, teaching, small):
    layouts = [[(1, 1), (1, 1)], [(2, 1), (1, 1)], [(1, 1), (1, 2)], [(2, 1), (2, 1)]]
    grids = [None, None] if small else rng.choices(layouts, weights=[70, 10, 10, 10])[0]
    first = group_things(rng, rng.randint(1, 2), most=4) if rng.random() < 0.8 else mixed_things(rng)[:4]
    second = group_things(rng, rng.randint(1, 2), most=4) if rng.random() < 0.8 else mixed_things(rng)[:4]
    if rng.random() < 0.5:  # something in common, so that comparing shapes is not trivial
        shape = first[0].shape
        old = second[0].shape
        second = [Thing(shape, t.colour) if t.shape == old else t for t in second]
    if len(first) != len(second) and rng.random() < 0.25:  # equal numbers are rare by chance
        n = min(len(first), len(second))
        first, second = first[:n], second[:n]
    while len(first) + len(second) > MAX_COUNT:
        (first if len(first) > len(second) else second).pop()
    pictures = [draw_picture(rng, g, t) for g, t in zip(grids, (first, second))]

    def talk():
        if teaching and rng.random() < 0.4:
            return [ask_one_of_pair(rng, pictures)]
        turns = [ask_pair(rng, first, second)]
        if rng.random() < 0.2:
            turn = ask_pair(rng, first, second)
            if turn.question != turns[0].question:
                turns.append(Turn(turn.question, turn.answers, "second turn"))
        return turns

    return Scene(pictures, MAX_TILES, different(dialogues, talk))


def draw_scene(rng, dialogues=6, teaching=True, small=False):
    """A random scene.

    Teaching adds questions that help learning but are outside the scope; small keeps every picture
    to exactly one tile, which is cheaper to learn from at first, and has more to read.
    """
    kind = rng.choices(
        ["groups", "mixed", "places", "text", "text and things", "pair"],
        weights=[18, 11, 15, 24, 16, 16] if small else [24, 15, 16, 14, 11, 20],
    )[0]
    if kind == "pair":
        return pair_scene(rng, dialogues, teaching, small)
    grid, max_tiles = (None if small else random_grid(rng)), MAX_TILES
    general = [ask_colour, ask_shape, ask_yes_no, ask_is_it, ask_count]
    if kind == "groups":
        things = group_things(rng, rng.choice([1, 2, 2]))
        picture = draw_picture(rng, grid, things)
        askers = general + [ask_count] + 4 * [ask_describe]
    elif kind == "mixed":
        picture = draw_picture(rng, grid, mixed_things(rng))
        askers = general + 2 * [ask_count]
    elif kind == "places":
        n = rng.choice([1, 2, 2, 2])
        shapes, colours, spots = (rng.sample(list(a), n) for a in (SHAPES, COLOURS, PLACES))
        things = [Thing(*t) for t in zip(shapes, colours, spots)]
        picture = draw_picture(rng, grid, things, places=True)
        askers = general + [ask_describe] + 6 * [ask_where]
    else:
        things = group_things(rng, 1, most=3) if kind == "text and things" else []
        picture = draw_picture(rng, grid, things, random_text(rng))
        askers = general
    if rng.random() < 0.08 and grid == (1, 1):
        max_tiles = 1

    def talk():
        if picture.text and (not picture.things or rng.random() < 0.5):
            return dialogue_about_text(rng, picture)
        return dialogue_about(rng, picture, askers)

    return Scene([picture], max_tiles, different(dialogues if picture.things else min(2, dialogues), talk))
