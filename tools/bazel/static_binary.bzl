"""A program that needs nothing of the machine it runs on."""

load("//tools/bazel:cc.bzl", "cc_binary")

def static_binary(name, **kwargs):
    """A cc_binary that is fully static, at an address that each start chooses, but for a sanitizer build: sanitizers need the shared C library."""
    cc_binary(
        name = name,
        linkopts = select({
            "//tools/bazel:sanitized": [],
            # Relocations in a tenth of the room: a start of rum touches 200 pages fewer.
            "//conditions:default": ["-static-pie", "-Wl,--pack-dyn-relocs=relr"],
        }),
        linkstatic = True,
        **kwargs
    )
