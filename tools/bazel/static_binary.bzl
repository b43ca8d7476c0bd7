"""A program that needs nothing of the machine it runs on."""

load("//tools/bazel:cc.bzl", "cc_binary")

def static_binary(name, deps = [], **kwargs):
    """A cc_binary that is fully static, at an address that each start chooses.

    A sanitizer build of it has the shared C library, which sanitizers need, and the others inside, which makes its start shorter by a
    quarter: the tests start it a thousand times.
    """
    cc_binary(
        name = name,
        linkopts = select({
            "//tools/bazel:sanitized": ["-Wl,-Bstatic"],
            # Relocations in 9 KiB in place of 856.
            "//conditions:default": ["-static-pie", "-Wl,--pack-dyn-relocs=relr"],
        }),
        linkstatic = True,
        deps = deps + select({
            "//tools/bazel:sanitized": ["//tools/deps:shared_again"],
            "//conditions:default": [],
        }),
        **kwargs
    )
