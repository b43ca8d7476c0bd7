"""cc_library, cc_binary and cc_test as Bazel has them, with the libraries' headers parsed once for all (pch.bzl)."""

def _with_headers(kwargs, test):
    name = "test" if test else "libraries"
    kwargs["deps"] = kwargs.get("deps", []) + ["//tools/bazel/pch:" + name]

    # Bazel rebuilds nothing when a package of Debian's changes a header, and so clang is not to ask either.
    kwargs["copts"] = [
        "-include-pch",
        "$(BINDIR)/tools/bazel/pch/" + name + ".pch",
        "-Xclang",
        "-fno-validate-pch",
    ] + kwargs.get("copts", [])
    return kwargs

def cc_library(**kwargs):
    native.cc_library(**(_with_headers(kwargs, kwargs.get("testonly", False)) if kwargs.get("srcs") else kwargs))

def cc_binary(**kwargs):
    native.cc_binary(**_with_headers(kwargs, kwargs.get("testonly", False)))

def cc_test(**kwargs):
    native.cc_test(**_with_headers(kwargs, True))
