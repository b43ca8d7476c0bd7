"""cc_library, cc_binary and cc_test as Bazel has them, made to compile faster.

* The libraries' headers are parsed once for all (pch.bzl).
* The sources of one target are compiled as one, so that the headers and templates they share are. --config=apart compiles
  each alone.
"""

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

def _as_one(kwargs):
    name = kwargs["name"]
    sources = [s for s in kwargs.get("srcs", []) if s.endswith(".cc")]
    if len(sources) < 2:
        return kwargs
    one = name + ".all.cc"
    native.genrule(
        name = name + "_all",
        outs = [one],
        cmd = "printf '#include \"%s\"\\n' " + " ".join([native.package_name() + "/" + s for s in sources]) + " > $@",
    )
    native.cc_library(name = name + "_sources", testonly = kwargs.get("testonly", False), textual_hdrs = sources)
    kwargs["srcs"] = [s for s in kwargs["srcs"] if s not in sources] + select({
        "//tools/bazel:apart": sources,
        "//conditions:default": [one],
    })
    kwargs["deps"] = kwargs.get("deps", []) + [":" + name + "_sources"]
    return kwargs

def cc_library(**kwargs):
    if not kwargs.get("srcs"):
        native.cc_library(**kwargs)
        return
    native.cc_library(**_as_one(_with_headers(kwargs, kwargs.get("testonly", False))))

def cc_binary(**kwargs):
    native.cc_binary(**_as_one(_with_headers(kwargs, kwargs.get("testonly", False))))

def cc_test(**kwargs):
    native.cc_test(**_as_one(_with_headers(kwargs, True)))
