"""C++ code of a .proto file, made by Debian's protoc and gRPC plug-in."""

load("//tools/bazel:cc.bzl", "cc_library")

def cc_proto(name, src, deps = [], grpc = False, visibility = None):
    """cc_library `name` with <src>.pb.h and, with grpc = True, <src>.grpc.pb.h.

    deps are other cc_proto targets whose messages src imports, by paths from the workspace's root.
    """
    base = src[:-len(".proto")]
    outs = [base + ".pb.h", base + ".pb.cc"]
    cmd = "protoc -I. --cpp_out=$(GENDIR) "
    if grpc:
        outs += [base + ".grpc.pb.h", base + ".grpc.pb.cc"]
        cmd += "--plugin=protoc-gen-grpc=$$(command -v grpc_cpp_plugin) --grpc_out=$(GENDIR) "
    native.filegroup(
        name = name + "_src",
        srcs = [src] + [d + "_src" for d in deps],
        visibility = ["//visibility:public"],
    )
    native.genrule(
        name = name + "_gen",
        srcs = [":" + name + "_src"],
        outs = outs,
        cmd = cmd + native.package_name() + "/" + src,
    )
    cc_library(
        name = name,
        srcs = [o for o in outs if o.endswith(".cc")],
        hdrs = [o for o in outs if o.endswith(".h")],
        copts = ["-w"],
        deps = deps + ["//tools/deps:grpc" if grpc else "//tools/deps:protobuf"],
        visibility = visibility,
    )
