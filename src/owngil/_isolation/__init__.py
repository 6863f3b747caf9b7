"""Makes extension modules work in interpreters that have a GIL of their own.

CPython loads a shared library once for the whole process. Most extension modules keep state in C statics, so two
interpreters that run in parallel would corrupt it. Here each interpreter gets a private copy of each such library.
"""
