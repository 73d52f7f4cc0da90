"""What the interpreter is started with: takes the modules from its standard input, and goes on with them.

It is then a template, or a child that a template has started.
"""


def load():
    import importlib.abc
    import importlib.util
    import json
    import linecache
    import os
    import socket
    import struct
    import sys

    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def read(size):
        data = b""
        while len(data) < size:
            piece = channel.recv(size - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return data

    prefix = read(8)
    length, head = struct.unpack(">II", prefix)
    frame = read(length - 4)
    sources = json.loads(frame[head:])

    class Sources(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
        """Finds modules and what belongs to them among what was read: texts by their paths."""

        def find_spec(self, name, path=None, target=None):
            package, module = name.replace(".", "/") + "/__init__.py", name.replace(".", "/") + ".py"
            path = package if package in sources else module
            # The package of this file has nothing to say.
            if path not in sources and name != "_celeriac":
                return None
            spec = importlib.util.spec_from_loader(name, self, origin=f"<carried>/{path}", is_package=path == package or name == "_celeriac")
            spec.has_location = True
            return spec

        def is_package(self, name):
            return name == "_celeriac" or name.replace(".", "/") + "/__init__.py" in sources

        def get_source(self, name):
            path = name.replace(".", "/")
            return sources.get(f"{path}/__init__.py", sources.get(f"{path}.py", ""))

        def get_data(self, path):
            try:
                return sources[os.path.relpath(path, "<carried>").replace(os.sep, "/")].encode()
            except KeyError:
                raise FileNotFoundError(path) from None

        def exec_module(self, module):
            name, source = module.__name__, self.get_source(module.__name__)
            place = f"<{name}>"
            # Tracebacks show the lines.
            linecache.cache[place] = (len(source), None, source.splitlines(True), place)
            exec(compile(source, place, "exec"), module.__dict__)

    sys.meta_path.insert(0, Sources())
    # As in any program that is started in the folder of an application.
    if "" not in sys.path:
        sys.path.insert(0, "")
    import _celeriac

    # A child that is started as a fresh interpreter gets them too.
    _celeriac.sources = prefix + frame
    if "CELERIAC_SPAWNED" in os.environ:
        from _celeriac import spawn

        spawn.main(channel)
    else:
        from _celeriac import template

        template.main(channel)


load()
