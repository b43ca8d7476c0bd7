"""Headers that are parsed once for many files: https://clang.llvm.org/docs/PCHInternals.html."""

load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def _precompiled_header_impl(ctx):
    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    pch = ctx.actions.declare_file(ctx.label.name + ".pch")

    # The flags of the files that use it, to the letter: clang takes no header that was made with others. Bazel makes
    # position-independent code for all but optimised binaries.
    variables = cc_common.create_compile_variables(
        feature_configuration = features,
        cc_toolchain = toolchain,
        source_file = ctx.file.header.path,
        output_file = pch.path,
        user_compile_flags = ctx.fragments.cpp.copts + ctx.fragments.cpp.cxxopts,
        quote_include_directories = depset(["."]),
        use_pic = ctx.var["COMPILATION_MODE"] != "opt",
    )
    arguments = cc_common.get_memory_inefficient_command_line(
        feature_configuration = features,
        action_name = "c++-compile",
        variables = variables,
    )
    ctx.actions.run(
        mnemonic = "PrecompiledHeader",
        executable = cc_common.get_tool_for_action(feature_configuration = features, action_name = "c++-compile"),
        arguments = ["-x", "c++-header", "-fpch-instantiate-templates"] + arguments,
        env = cc_common.get_environment_variables(
            feature_configuration = features,
            action_name = "c++-compile",
            variables = variables,
        ),
        inputs = depset([ctx.file.header] + ctx.files.includes, transitive = [toolchain.all_files]),
        outputs = [pch],
        # It names its header by an absolute path, which a sandbox would take away and another clone does not have.
        execution_requirements = {"no-cache": "1", "no-sandbox": "1"},
    )
    context = cc_common.create_compilation_context(headers = depset([ctx.file.header, pch] + ctx.files.includes))
    return [DefaultInfo(files = depset([pch])), CcInfo(compilation_context = context)]

precompiled_header = rule(
    implementation = _precompiled_header_impl,
    attrs = {
        "header": attr.label(allow_single_file = [".h"]),
        "includes": attr.label_list(allow_files = [".h"]),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)
