"""Compression, checksums and cryptography."""

from checks_registry import check

_BYTES = b"".join(b"%d squared is %d;" % (i, i * i) for i in range(3000))


@check("zstandard")
def check_zstandard():
    import io

    import zstandard

    samples = [b"name=%d;kind=%s;" % (i, b"ab" * (i % 5)) for i in range(2000)]
    dictionary = zstandard.train_dictionary(2000, samples, k=64, d=8, level=3)
    small = zstandard.ZstdCompressor(dict_data=dictionary).compress(samples[7])
    packed = zstandard.ZstdCompressor(level=5, write_checksum=True).compress(_BYTES)
    threaded = zstandard.ZstdCompressor(level=3, threads=2).compress(_BYTES)
    file = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as writer:
        for start in range(0, len(_BYTES), 5000):
            writer.write(_BYTES[start : start + 5000])
    with zstandard.ZstdDecompressor().stream_reader(file.getvalue()) as reader:
        streamed = reader.read() == _BYTES
    try:
        zstandard.ZstdDecompressor().decompress(packed[:-9])
    except zstandard.ZstdError as error:
        message = str(error)
    return {
        "backend": zstandard.backend,
        "packed": packed,
        "parameters": zstandard.get_frame_parameters(packed).content_size,
        "back": [zstandard.decompress(part) == _BYTES for part in (packed, threaded)],
        "dictionary": (dictionary.as_bytes(), zstandard.ZstdDecompressor(dict_data=dictionary).decompress(small)),
        "streamed": streamed,
        "many": [bytes(part) for part in zstandard.ZstdCompressor().multi_compress_to_buffer(samples[:3], threads=2)],
        "error": message,
    }


@check("lz4")
def check_lz4():
    import io

    import lz4.block
    import lz4.frame

    block = lz4.block.compress(_BYTES, mode="high_compression", compression=9)
    frame = lz4.frame.compress(_BYTES, content_checksum=True, block_size=lz4.frame.BLOCKSIZE_MAX64KB)
    file = io.BytesIO()
    with lz4.frame.open(file, "wb") as writer:
        writer.write(_BYTES)
    file.seek(0)
    decompressor = lz4.frame.LZ4FrameDecompressor()
    first = decompressor.decompress(frame, max_length=100)
    try:
        lz4.block.decompress(b"\x10\0\0\0nothing")
    except lz4.block.LZ4BlockError as error:
        message = str(error)
    return {
        "block": block,
        "frame": frame,
        "back": (lz4.block.decompress(block) == _BYTES, lz4.frame.decompress(frame) == _BYTES),
        "dictionary": lz4.block.decompress(lz4.block.compress(_BYTES[:99], dict=_BYTES), dict=_BYTES) == _BYTES[:99],
        "file": lz4.frame.open(file).read() == _BYTES,
        "first": first,
        "info": lz4.frame.get_frame_info(frame)["block_size"],
        "error": message,
    }


@check("google-crc32c")
def check_crc32c():
    import io

    import google_crc32c

    whole = google_crc32c.Checksum()
    list(whole.consume(io.BytesIO(_BYTES), 4096))
    return {
        "implementation": google_crc32c.implementation,
        "value": google_crc32c.value(b"123456789"),
        "extended": google_crc32c.extend(google_crc32c.value(b"1234"), b"56789"),
        "whole": (google_crc32c.value(_BYTES), whole.digest(), whole.hexdigest()),
    }


@check("cryptography")
def check_cryptography():
    import datetime

    from cryptography import exceptions, fernet, x509
    from cryptography.hazmat.primitives import hashes, hmac, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
    from cryptography.hazmat.primitives.ciphers import Cipher, aead, algorithms, modes
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    key, nonce = bytes(range(32)), bytes(12)
    signer = ed25519.Ed25519PrivateKey.from_private_bytes(key)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "owngil")])
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, signer.public_key(), 5, start, start + datetime.timedelta(9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(signer, None)
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(b"text")
    sealed = aead.AESGCM(key).encrypt(nonce, b"text", b"extra")
    curve = ec.derive_private_key(12345, ec.SECP256R1())
    curve.public_key().verify(curve.sign(b"text", ec.ECDSA(hashes.SHA256())), b"text", ec.ECDSA(hashes.SHA256()))
    try:
        aead.AESGCM(key).decrypt(nonce, sealed[:-1] + b"?", b"extra")
    except exceptions.InvalidTag as error:
        message = type(error).__name__
    box = fernet.Fernet(fernet.Fernet.generate_key())
    return {
        "signature": signer.sign(b"text"),
        "certificate": pem,
        "names": x509.load_pem_x509_certificate(pem).extensions[0].value.get_values_for_type(x509.DNSName),
        "ctr": encryptor.update(b"text") + encryptor.finalize(),
        "mac": mac.finalize(),
        "sealed": sealed,
        "chacha": aead.ChaCha20Poly1305(key).encrypt(nonce, b"text", None),
        "pbkdf2": PBKDF2HMAC(hashes.SHA256(), 16, b"salt", 1000).derive(b"word"),
        "scrypt": Scrypt(b"salt", 16, 2**8, 8, 1).derive(b"word"),
        "exchange": x25519.X25519PrivateKey.from_private_bytes(key).exchange(
            x25519.X25519PublicKey.from_public_bytes(b"\t" + bytes(31))
        ),
        "curve": curve.public_key().public_numbers().x,
        "fernet": box.decrypt(box.encrypt(b"text")),
        "error": message,
    }
