"""Servers and clients, both in this process; the system chooses the port."""

from checks_registry import check


@check("grpcio")
def check_grpcio():
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    def shout(request, context):
        if request == b"wrong":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such word")
        context.set_trailing_metadata((("length", str(len(request))),))
        return request.upper()

    def count(request, context):
        for i in range(int(request)):
            yield str(i).encode()

    def total(requests, context):
        return str(sum(map(int, requests))).encode()

    handlers = {
        "shout": grpc.unary_unary_rpc_method_handler(shout),
        "count": grpc.unary_stream_rpc_method_handler(count),
        "total": grpc.stream_unary_rpc_method_handler(total),
    }
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("own.Words", handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
                call = channel.unary_unary("/own.Words/shout")
                answer, done = call.with_call(b"word", timeout=20)
                futures = [call.future(str(i).encode(), timeout=20) for i in range(20)]
                try:
                    call(b"wrong", timeout=20)
                except grpc.RpcError as error:
                    failure = (error.code().name, error.details())
                return {
                    "answer": answer,
                    "trailing": [tuple(pair) for pair in done.trailing_metadata()],
                    "futures": [future.result() for future in futures],
                    "stream": list(channel.unary_stream("/own.Words/count")(b"5", timeout=20)),
                    "total": channel.stream_unary("/own.Words/total")(iter([b"1", b"2", b"30"]), timeout=20),
                    "error": failure,
                }
        finally:
            server.stop(None).wait()


@check("aiohttp")
def check_aiohttp():
    import asyncio

    import aiohttp
    from aiohttp import web

    async def words(request):
        body = await request.json()
        response = web.json_response(
            {"word": request.match_info["word"], "sum": sum(body["n"]), "q": request.query.getall("q")}
        )
        response.enable_compression()
        return response

    async def echo(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data[::-1])
        return socket

    async def main():
        application = web.Application()
        application.add_routes([web.post("/{word}", words), web.get("/echo", echo)])
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

                async def ask(i):
                    async with session.post(f"/w{i}?q=a&q=é", json={"n": list(range(i * 500))}) as response:
                        return response.status, response.headers.get("Content-Encoding"), await response.json()

                answers = await asyncio.gather(*map(ask, range(5)))
                async with session.ws_connect("/echo") as socket:
                    for size in (3, 70_000):
                        await socket.send_bytes(bytes(i % 251 for i in range(size)))
                        answers.append(await socket.receive_bytes())
                async with session.get("/nothing/here") as response:
                    answers.append((response.status, response.reason))
            return answers
        finally:
            await runner.cleanup()

    return asyncio.run(main())


@check("yarl")
def check_yarl():
    from yarl import URL
    from yarl._quoting import _Quoter

    url = URL("http://me:p%20w@exämple.test:8080/a/../b c/?q=1&q=é#end")
    try:
        URL("http://host:port/")
    except ValueError as error:
        message = str(error)
    return {
        "quoter": _Quoter.__module__,
        "url": str(url),
        "parts": (url.host, url.raw_host, url.password, url.port, url.parts, url.fragment),
        "query": url.query.getall("q"),
        "joined": str(url.join(URL("../x?y#z"))),
        "made": str(URL.build(scheme="https", host="::1", path="/ü", query={"a": ["1", "2"]})),
        "changed": str(url.with_query(a="b c").with_name("näme").with_user(None)),
        "human": url.human_repr(),
        "extended": str((url / "d" % {"k": "v&w"}).origin()),
        "error": message,
    }


@check("multidict")
def check_multidict():
    from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, istr

    headers = CIMultiDict([("Set-Cookie", "a"), ("set-cookie", "b"), ("Host", "h")])
    proxy = CIMultiDictProxy(headers)
    headers.extend({"X-One": "1"})
    headers.popone("HOST")
    numbers = MultiDict(a=1)
    for i in range(300):
        numbers.add(f"k{i % 7}", i)
    numbers.update(k1=-1)
    try:
        proxy["nothing"]
    except KeyError as error:
        message = str(error)
    return {
        "module": MultiDict.__module__,
        "cookies": proxy.getall(istr("SET-COOKIE")),
        "items": [(str(key), value) for key, value in proxy.items()],
        "keys": sorted(set(numbers.keys() & {"k1", "k2", "z"})),
        "lengths": (len(numbers), len(numbers.getall("k2")), numbers.getall("k1")),
        "popped": numbers.popall("k3")[-2:],
        "equal": CIMultiDict(A="1") == {"a": "1"},
        "error": message,
    }


@check("hf-xet")
def check_hf_xet():
    import os
    import tempfile

    import hf_xet

    with tempfile.TemporaryDirectory() as folder:  # uploads and downloads need a server
        paths = [os.path.join(folder, str(i)) for i in range(3)]
        for i, path in enumerate(paths):
            with open(path, "wb") as file:
                file.write(bytes(j * j % 251 for j in range(i * 100_000)))
        hashes = [(part.hash, part.file_size) for part in hf_xet.hash_files(paths)]
        try:
            hf_xet.hash_files([os.path.join(folder, "nothing")])
        except (OSError, RuntimeError) as error:
            message = type(error).__name__
    return hashes, message
