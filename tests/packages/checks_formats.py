"""Markup, serialisation and schemas."""

from checks_registry import check


@check("lxml")
def check_lxml():
    import io

    from lxml import etree, html, objectify

    source = "<books><book year='1888'>Os Maias</book><book year='1572'>Os Lus&#237;adas</book><!-- x --></books>"
    tree = etree.fromstring(source)

    def shout(context, text):
        return text.upper()

    style = etree.XSLT(
        etree.XML(
            '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/">'
            '<ul><xsl:for-each select="//book"><xsl:sort select="@year"/><li><xsl:value-of select="."/></li>'
            "</xsl:for-each></ul></xsl:template></xsl:stylesheet>"
        )
    )
    rules = etree.RelaxNG(
        etree.XML(
            '<element name="books" xmlns="http://relaxng.org/ns/structure/1.0"><oneOrMore><element name="book">'
            '<attribute name="year"/><text/></element></oneOrMore></element>'
        )
    )
    wrong = etree.fromstring("<books><page/></books>")
    try:
        etree.fromstring("<a><b></a>")
    except etree.XMLSyntaxError as error:
        message, position = error.msg, error.position
    page = html.fromstring("<p>one <a href='/x'>two<p>three")
    page.make_links_absolute("http://here.test/")
    return {
        "years": tree.xpath("//book/@year", smart_strings=False),
        "shouted": str(tree.xpath("shout(string(//book[1]))", extensions={(None, "shout"): shout})),
        "sheet": str(style(tree)),
        "valid": (rules.validate(tree), rules.validate(wrong), rules.error_log.last_error.type_name),
        "canonical": etree.tostring(tree, method="c14n"),
        "pretty": etree.tostring(tree, pretty_print=True, encoding="unicode"),
        "events": [(event, part.tag) for event, part in etree.iterparse(io.BytesIO(source.encode()), ("start", "end"))],
        "page": [(link[0].tag, link[2]) for link in page.iterlinks()],
        "css": page.text_content(),
        "objects": objectify.fromstring("<a><n>4</n><n>5.5</n></a>").n[1] + 1,
        "error": (message, position),
    }


@check("pydantic")
def check_pydantic():
    import datetime
    import decimal
    import typing

    import pydantic

    class Place(pydantic.BaseModel):
        name: str = pydantic.Field(min_length=2, pattern="^[A-Z]")
        lat: float = pydantic.Field(ge=-90, le=90)

    class Trip(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(str_strip_whitespace=True, extra="forbid")
        day: datetime.date
        cost: decimal.Decimal
        places: list[Place]
        mode: typing.Literal["train", "bus"] = "train"

        @pydantic.field_validator("places")
        @classmethod
        def some(cls, places):
            if not places:
                raise ValueError("no place")
            return places

        @pydantic.computed_field
        @property
        def names(self) -> str:
            return "-".join(place.name for place in self.places)

    trip = Trip.model_validate_json(
        '{"day": "2024-02-29", "cost": "12.50", "places": [{"name": "Porto", "lat": 41.15}]}'
    )
    try:
        Trip(day="nothing", cost=1, places=[], mode="car", other=1)
    except pydantic.ValidationError as error:
        errors = [(part["type"], part["loc"]) for part in error.errors()]
    numbers = pydantic.TypeAdapter(dict[str, tuple[int, ...] | None])
    return {
        "json": trip.model_dump_json(),
        "dumped": trip.model_dump(mode="json", exclude={"cost"}),
        "errors": errors,
        "schema": Trip.model_json_schema(),
        "numbers": numbers.validate_python({"a": ["1", 2], "b": None}),
        "called": pydantic.validate_call(lambda n: n)(3),
        "text": repr(trip),
    }


@check("orjson")
def check_orjson():
    import datetime
    import uuid

    import numpy as np
    import orjson

    value = {
        "b": [1, 2.5, None, "é"],
        "a": datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
        "u": uuid.UUID(int=5),
        "n": np.arange(4.0).reshape(2, 2),
        "s": {7},
    }
    packed = orjson.dumps(
        value, default=list, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2
    )
    try:
        orjson.loads(b'{"a": nope}')
    except orjson.JSONDecodeError as error:
        message = str(error)
    return packed, orjson.loads(packed), message, orjson.dumps(orjson.Fragment(b"[1]"))


@check("msgpack")
def check_msgpack():
    import datetime

    import msgpack

    moment = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)
    packed = msgpack.packb({"a": [1, -(2**40), 2.5, None, b"\xff", "é"], "t": moment}, datetime=True)
    unpacker = msgpack.Unpacker(ext_hook=lambda code, data: (code, data.decode()))
    stream = msgpack.packb([1, 2]) + msgpack.packb(msgpack.ExtType(5, b"ext"))
    parts = []
    for i in range(len(stream)):
        unpacker.feed(stream[i : i + 1])
        parts.extend(unpacker)
    try:
        msgpack.unpackb(b"\xc1")
    except msgpack.FormatError as error:
        message = type(error).__name__
    return {
        "module": msgpack.Packer.__module__,
        "packed": packed,
        "back": msgpack.unpackb(packed, timestamp=3),
        "parts": parts,
        "default": msgpack.unpackb(msgpack.packb(1 + 2j, default=lambda z: [z.real, z.imag])),
        "error": message,
    }


@check("ujson")
def check_ujson():
    import ujson

    value = {"b": [1, 2.5, None, True], "a": "é</x>", "n": 2**63}
    try:
        ujson.loads("[1, 2")
    except ujson.JSONDecodeError as error:
        message = str(error)
    return {
        "sorted": ujson.dumps(value, sort_keys=True, indent=2),
        "html": ujson.dumps(value, ensure_ascii=False, encode_html_chars=True),
        "loaded": ujson.loads('{"a": [1e3, -7, "\\u00e9"]}'),
        "default": ujson.dumps({1j}, default=lambda item: sorted(map(str, item))),
        "error": message,
    }


@check("PyYAML")
def check_pyyaml():
    import yaml

    class Loader(yaml.CSafeLoader):
        pass

    Loader.add_constructor("!pair", lambda loader, node: tuple(loader.construct_sequence(node)))
    text = (
        "base: &b {x: 1, y: [a, ~, 2.5]}\nmore:\n  <<: *b\n  day: 2024-02-29\n  text: |\n    one\npair: !pair [1, 2]\n"
    )
    value = yaml.load(text, Loader)
    try:
        yaml.load("a: [1, 2", Loader)
    except yaml.YAMLError as error:
        message = str(error)
    return {
        "value": value,
        "dumped": yaml.dump({"k": [1, 2.5, "é"], "m": {"n": None}}, Dumper=yaml.CSafeDumper, allow_unicode=True),
        "documents": list(yaml.load_all("--- 1\n--- [x]\n", Loader)),
        "events": [type(event).__name__ for event in yaml.parse("a: b", yaml.CLoader)],
        "error": message,
    }


@check("regex")
def check_regex():
    import regex

    return {
        "fuzzy": regex.search(r"(?:sea horse){e<=2}", "a see horss swims").fuzzy_counts,
        "overlapped": regex.findall(r"\w{2}", "abcd", overlapped=True),
        "property": regex.findall(r"\p{Lu}\p{Ll}+", "Ágora und Ölberg"),
        "recursive": regex.fullmatch(r"(\((?:[^()]|(?1))*\))", "(a(b)(c(d)))") is not None,
        "captures": regex.match(r"(?:(?P<n>\d)-?)+", "1-2-3").captures("n"),
        "graphemes": regex.findall(r"\X", "e\u0301a"),
        "set": regex.findall(r"(?V1)[[a-z]--[aeiou]]+", "strings are"),
        "split": regex.split(r"(?V1)(?=b)", "abab"),
        "sub": regex.sub(r"(?i)(straße)", lambda m: m[1].upper(), "die Straße"),
        "partial": regex.fullmatch(r"\d{4}", "12", partial=True).partial,
    }


@check("protobuf")
def check_protobuf():
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        json_format,
        message_factory,
        struct_pb2,
        text_format,
        timestamp_pb2,
    )
    from google.protobuf.internal import api_implementation
    from google.protobuf.message import DecodeError

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="own.proto", package="own", syntax="proto3")
    part = file.message_type.add(name="Part")
    part.field.add(name="name", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    part.field.add(name="sizes", number=2, type=field.TYPE_SINT64, label=field.LABEL_REPEATED)
    whole = file.message_type.add(name="Whole")
    whole.field.add(name="parts", number=1, type=field.TYPE_MESSAGE, type_name=".own.Part", label=field.LABEL_REPEATED)
    whole.field.add(name="ratio", number=2, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("own.Whole"))(ratio=0.5)
    message.parts.add(name="é", sizes=[1, -2, 3**30])
    message.parts.add(name="b")
    packed = message.SerializeToString(deterministic=True)
    struct = struct_pb2.Struct()
    struct.update({"a": [1, "x", None], "b": {"c": True}})
    try:
        type(message).FromString(b"\xff")
    except DecodeError as error:
        wrong = type(error).__name__
    return {
        "implementation": api_implementation.Type(),
        "packed": packed,
        "equal": type(message).FromString(packed) == message,
        "json": json_format.MessageToDict(message),
        "text": text_format.MessageToString(message, as_utf8=True),
        "struct": json_format.MessageToJson(struct, sort_keys=True),
        "time": timestamp_pb2.Timestamp(seconds=1709164800).ToJsonString(),
        "fields": [(descriptor.name, value) for descriptor, value in message.parts[1].ListFields()],
        "error": wrong,
    }


@check("msgspec")
def check_msgspec():
    import datetime

    import msgspec

    class Point(msgspec.Struct, tag=True, frozen=True):
        x: int
        y: float = 0.5

    class Path(msgspec.Struct, tag=True, rename="camel"):
        all_points: list[Point]
        day: datetime.date | None = None

    path = Path([Point(1), Point(2, 1.5)], datetime.date(2024, 2, 29))
    encoded = msgspec.json.encode(path)
    packed = msgspec.msgpack.encode(path)
    try:
        msgspec.json.decode(b'{"type": "Path", "allPoints": [{"type": "Point", "x": "1"}]}', type=Point | Path)
    except msgspec.ValidationError as error:
        message = str(error)
    return {
        "json": encoded,
        "msgpack": packed,
        "equal": msgspec.json.decode(encoded, type=Point | Path) == path == msgspec.msgpack.decode(packed, type=Path),
        "builtins": msgspec.to_builtins(path),
        "converted": msgspec.convert({"type": "Point", "x": 3}, Point).x,
        "hash": hash(Point(1)) == hash(Point(1, 0.5)),
        "hook": msgspec.json.encode(1j, enc_hook=lambda z: [z.real, z.imag]),
        "text": repr(path),
        "error": message,
    }


@check("MarkupSafe")
def check_markupsafe():
    import markupsafe

    class Named:
        def __html__(self):
            return "<b>named</b>"

    return {
        "module": markupsafe._escape_inner.__module__,
        "escaped": [str(markupsafe.escape(value)) for value in ("<a href='x'>&\"</a>é", Named(), 5)],
        "formatted": str(markupsafe.Markup("<i>{}</i>").format("<&>")),
        "stripped": markupsafe.Markup("a &lt; <em>b</em>").striptags(),
        "silent": str(markupsafe.escape_silent(None)),
    }
