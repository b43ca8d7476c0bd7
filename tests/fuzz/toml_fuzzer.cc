// Any bytes as a rum.toml: problems with their places, or a configuration that is equal to itself.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "state/diff.h"
#include "state/problem_text.h"
#include "state/toml_reader.h"
#include "state/validate.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const rum::ParsedConfig parsed = rum::ReadToml(text, "/p/rum.toml");
  const std::string problems = rum::RenderProblems("rum.toml", parsed);
  const char* broken = nullptr;
  if (parsed.problems.empty() != problems.empty()) broken = "problems and their text disagree";
  if (!rum::Diff(parsed.config, parsed.config).empty()) broken = "differs from itself";
  const bool valid = rum::Validate(parsed.config, parsed.sources).empty();
  if (parsed.problems.empty() && !valid) broken = "read without problems, but is not valid";
  for (const rum::Problem& problem : parsed.problems) {
    if (problem.message.empty()) broken = "a problem without words";
  }
  if (broken == nullptr) return 0;
  std::fprintf(stderr, "%s\n%s", broken, problems.c_str());
  std::abort();
}
