#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/json_text.h"
#include "cli/live_output.h"
#include "cli/render.h"
#include "cli/reports.pb.h"
#include "cli/terminal_text.h"
#include "controller/service/call_status.h"
#include "state/identity.h"
#include "state/problem_text.h"
#include "state/toml_reader.h"

namespace rum {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<control::Control::Stub> Reach(Globals* globals) {
  auto stub = ConnectController(true);
  if (stub.ok()) return *std::move(stub);
  Fail(globals, std::string(stub.status().message()));
  return nullptr;
}

void ListImages(Globals* globals) {
  const auto stub = Reach(globals);
  if (stub == nullptr) return;
  grpc::ClientContext context;
  control::ImagesReply images;
  const grpc::Status called = stub->ListImages(&context, control::ImagesRequest(), &images);
  if (!called.ok()) return Fail(globals, WhyItFailed(called));
  const std::string text =
      globals->output == "json" ? ToJson(images) : RenderImages(images, StyleOf(*globals));
  std::fputs(text.c_str(), stdout);
}

// What the word, or else the file, names.
bool Wanted(const std::string& word, const std::string& sha256, Globals* globals,
            control::PullImageRequest* request) {
  request->set_sha256(sha256);
  if (word.empty() && !globals->machine.empty())
    return Fail(globals, "name the image, or a file with -c: -m names a machine"), false;
  if (word.empty()) {
    const auto identity = IdentityOf(globals->file);
    if (!identity.ok()) return Fail(globals, std::string(identity.status().message())), false;
    const ParsedConfig parsed = ReadTomlFile(identity->config_path);
    if (!parsed.problems.empty())
      return Fail(globals, RenderProblems(globals->file, parsed)), false;
    request->set_base(parsed.config.image().base());
    if (sha256.empty()) request->set_sha256(parsed.config.image().sha256());
    return true;
  }
  std::error_code error;
  const bool path =
      !absl::StrContains(word, "://") && (absl::StrContains(word, "/") || fs::exists(word, error));
  request->set_base(path ? fs::absolute(word, error).string() : word);
  return true;
}

void Pull(const std::string& word, const std::string& sha256, Globals* globals) {
  control::PullImageRequest request;
  if (!Wanted(word, sha256, globals, &request)) return;
  const auto stub = Reach(globals);
  if (stub == nullptr) return;
  grpc::ClientContext context;
  const auto reader = stub->PullImage(&context, request);
  control::PullImageEvent event;
  std::string path;
  LiveOutput live(StyleOf(*globals), globals->quiet, true);
  while (reader->Read(&event)) {
    if (event.has_path()) path = event.path();
    if (event.has_progress()) live.Step(event.progress());
  }
  live.End();
  const grpc::Status called = reader->Finish();
  if (!called.ok()) return Fail(globals, WhyItFailed(called));
  if (globals->output == "json") {
    reports::PulledImage pulled;
    pulled.set_path(path);
    std::fputs(ToJson(pulled).c_str(), stdout);
    return;
  }
  std::printf("%s\n", OneLine(path, StyleOf(*globals).utf8).c_str());
}

void Delete(const std::string& name, Globals* globals) {
  const auto stub = Reach(globals);
  if (stub == nullptr) return;
  grpc::ClientContext context;
  control::DeleteImageRequest request;
  control::ImagesReply reply;
  request.set_name(name);
  const grpc::Status called = stub->DeleteImage(&context, request, &reply);
  if (!called.ok()) return Fail(globals, WhyItFailed(called));
  if (globals->output == "json") {
    reports::DeletedImage deleted;
    deleted.set_name(name);
    std::fputs(ToJson(deleted).c_str(), stdout);
  } else if (!globals->quiet) {
    std::printf("deleted %s\n", OneLine(name, StyleOf(*globals).utf8).c_str());
  }
}

void Prune(Globals* globals) {
  const auto stub = Reach(globals);
  if (stub == nullptr) return;
  grpc::ClientContext context;
  control::ImagesReply images;
  const grpc::Status called = stub->PruneImages(&context, control::ImagesRequest(), &images);
  if (!called.ok()) return Fail(globals, WhyItFailed(called));
  if (globals->output == "json") {
    std::fputs(ToJson(images).c_str(), stdout);
    return;
  }
  const bool utf8 = StyleOf(*globals).utf8;
  for (const control::CachedImage& image : images.images()) {
    std::printf("deleted %s\n", OneLine(image.name(), utf8).c_str());
  }
  if (images.images().empty() && !globals->quiet) std::printf("nothing to delete\n");
}

}  // namespace

void AddImageCommands(CLI::App* app, Globals* globals) {
  CLI::App* image = app->add_subcommand("image", "the base images that were downloaded");
  image->require_subcommand(1);
  image->add_subcommand("list", "what there is, and whether a disk stands on it")
      ->callback([globals] { ListImages(globals); });
  const auto word = std::make_shared<std::string>();
  CLI::App* pull = image->add_subcommand("pull", "fetch an image now; prints where it is");
  pull->add_option("IMAGE", *word, "a shorthand, a URL or a path; otherwise the file's image.base");
  const auto sha256 = std::make_shared<std::string>();
  pull->add_option("--sha256", *sha256,
                   "what the image must match; needed for http:// from another host");
  pull->callback([word, sha256, globals] { Pull(*word, *sha256, globals); });
  const auto name = std::make_shared<std::string>();
  CLI::App* remove = image->add_subcommand("delete", "delete one that no disk stands on");
  remove->add_option("NAME", *name, "as `rum image list` shows it")->required();
  remove->callback([name, globals] { Delete(*name, globals); });
  image->add_subcommand("prune", "delete all that no disk stands on")->callback([globals] {
    Prune(globals);
  });
}

}  // namespace rum
